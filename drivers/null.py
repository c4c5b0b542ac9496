"""null: keeps nothing. For the journal of another store, replayed to see what its records say (bug bundles)."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, NoReturn

from layerlog.eventstore.errors import NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerlog.drivers.changes import Change
    from layerlog.drivers.driver import IDMap, Lines, Maps, MountOptions, Names, Staged


def _no_contents() -> NoReturn:
    raise NotSupported("the null driver keeps no contents: this store is the replay of a journal")


class Null:
    """See ``driver.Driver``. Records can be changed, deleted and restored; whatever needs contents raises NotSupported."""

    name = "null"
    stands_alone = False
    shifting_allowed = False

    def __init__(self, root: str) -> None:
        self.home = os.path.join(root, "null")

    def setup(self) -> None:
        """Nothing to set up."""

    def status(self) -> Lines:
        return [("Contents", "none are kept")]

    # --- what is on disk: nothing, ever

    def list(self) -> Names:
        return []

    def exists(self, layer_id: str) -> bool:
        """Nothing is missing from a replay: ``mount`` and the others say what cannot be had here."""
        return True

    def lend(self, roots: Sequence[str]) -> None: ...

    def found(self, layer_id: str) -> bool:
        return True

    def path(self, layer_id: str) -> str:
        return os.path.join(self.home, layer_id)

    def chain_on_disk(self, layer_id: str) -> Names | None:
        return None

    def derive(self, layer_id: str, chain: Sequence[str]) -> Names:
        return []

    def underived(self, layer_id: str, chain: Sequence[str]) -> Names:
        return []

    def lose_other(self, *parts: str) -> str:
        return ""

    def sync_layer(self, layer_id: str) -> None: ...

    def superseded(self) -> Names:
        return []

    def own_tree(self, layer_id: str) -> str:
        return self.path(layer_id)

    def staged(self) -> Names:
        return []

    def trash(self) -> Names:
        return []

    def in_trash(self, entry: str) -> bool:
        return False

    def mounted(self, layer_id: str) -> bool:
        return False

    # --- effects that leave nothing behind

    def create(self, layer_id: str, chain: Sequence[str]) -> None:
        pass

    def place(self, layer_id: str) -> None:
        pass

    def swap(self, layer_id: str) -> None:
        pass

    def swap_back(self, layer_id: str) -> None:
        pass

    def discard(self, layer_id: str) -> None:
        pass

    def remove(self, layer_id: str) -> None:
        pass

    def put_aside(self, layer_id: str, entry: str) -> bool:
        return True

    def bring_back(self, entry: str, layer_id: str) -> None:
        pass

    def free(self, entry: str) -> None:
        pass

    def sync_places(self) -> None:
        pass

    def sync_home(self) -> None:
        pass

    def tidy(self) -> None:
        pass

    def lose(self, layer_id: str) -> str:
        return self.path(layer_id)

    def unmount(self, layer_id: str) -> bool:
        return False

    # --- what needs contents

    def stage(self, layer_id: str, chain: Sequence[str], base: str | None = None) -> Staged:
        _no_contents()

    def mount(self, layer_id: str, chain: Sequence[str], options: MountOptions) -> str:
        _no_contents()

    def can_shift(self) -> bool:
        return False

    def changes(
        self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None
    ) -> Iterator[Change]:
        _no_contents()

    def diff(
        self,
        layer_id: str,
        chain: Sequence[str],
        against: Sequence[str] | None = None,
        uid_maps: Sequence[IDMap] = (),
        gid_maps: Sequence[IDMap] = (),
        maps: Maps | None = None,
    ) -> Iterator[bytes]:
        _no_contents()

    def diff_size(self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None) -> int:
        _no_contents()

    def open_file(self, layer_id: str, path: bytes) -> IO[bytes]:
        _no_contents()
