"""vfs: every layer is a whole tree of its own in ``ROOT/vfs/dir/ID``. Works everywhere, as any user."""

from __future__ import annotations

import os

from layerlog.drivers import durable
from layerlog.drivers.homes import Home, StagedTree, failing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from layerlog.drivers.changes import Change
    from layerlog.drivers.driver import IDMap, Lines, Maps, MountOptions, Names, Staged
    from layerlog.drivers.trees import View


class VFS(Home):
    """See ``driver.Driver``. Options: ``sync`` (``full`` or ``none``)."""

    name = "vfs"
    _layers = "dir"
    """The folder of the home that holds the layers, as the original calls it."""
    stands_alone = True

    def __init__(self, root: str, run_root: str = "", options: Sequence[str] = ()) -> None:
        super().__init__(os.path.join(root, self.name), options)

    # --- places

    def path(self, layer_id: str) -> str:
        return os.path.join(self.home, self._layers, layer_id)

    def _folders(self) -> tuple[str, ...]:
        return (os.path.join(self.home, self._layers),)

    def list(self) -> Names:
        return self._names(self._layers)

    def status(self) -> Lines:
        return []

    # --- contents

    def create(self, layer_id: str, chain: Sequence[str]) -> None:
        with failing(self.name, "creation", layer_id):
            if self._there(self.path(layer_id)):
                return
            self._fill(layer_id, chain[0] if chain else None)
            self._move(self._staging(layer_id), self.path(layer_id))

    def stage(self, layer_id: str, chain: Sequence[str], base: str | None = None) -> Staged:
        with failing(self.name, "staging", layer_id):
            scope = durable.SyncScope(self.home, self.sync_mode, self._staging(layer_id))
            try:
                source = base if base is not None else (chain[0] if chain else None)
                entries = self._fill(layer_id, source)
                if base is not None:  # to be committed where it is, and only then placed
                    self._sync_folders(os.path.join(self.home, "staging"))
            except BaseException:
                scope.close()
                raise
            return StagedTree(self.name, layer_id, self._staging(layer_id), scope, fresh=source is None, overlay=False, copied=entries)

    def _fill(self, layer_id: str, source: str | None) -> int:
        """Make ``staging/<id>`` a copy of *source*, or an empty root."""
        staging = self._staging(layer_id)
        self._erase(staging)
        durable.make_folder(staging, 0o555 if os.geteuid() == 0 else 0o755)
        if source is None:
            return 0
        from layerlog.drivers.copytree import copy_tree

        return copy_tree(self.where(source), staging)

    # --- mounts

    def mount(self, layer_id: str, chain: Sequence[str], options: MountOptions) -> str:
        with failing(self.name, "mounting", layer_id):
            os.stat(self.path(layer_id))
        return self.path(layer_id)

    def unmount(self, layer_id: str) -> bool:
        return False

    def mounted(self, layer_id: str) -> bool:
        return False

    # --- diffs

    def changes(
        self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None
    ) -> Iterator[Change]:
        from layerlog.drivers.changes import compare

        with failing(self.name, "comparison", layer_id):
            mine, theirs = self._view(layer_id), self._reference(chain, against)
            if maps is not None:
                mine.maps = maps[0]
                if theirs is not None:
                    theirs.maps = maps[1]
            return compare(theirs, mine)

    def diff(
        self,
        layer_id: str,
        chain: Sequence[str],
        against: Sequence[str] | None = None,
        uid_maps: Sequence[IDMap] = (),
        gid_maps: Sequence[IDMap] = (),
        maps: Maps | None = None,
    ) -> Iterator[bytes]:
        from layerlog.drivers.tarwrite import DiffWriter

        with failing(self.name, "diff", layer_id):
            yield from DiffWriter(self._view(layer_id), uid_maps, gid_maps).run(self.changes(layer_id, chain, against, maps))

    def diff_size(self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None) -> int:
        from layerlog.drivers.sizes import size_of

        with failing(self.name, "measuring", layer_id):
            return size_of(self.changes(layer_id, chain, against, maps))

    def open_file(self, layer_id: str, path: bytes) -> IO[bytes]:
        from layerlog.drivers.resolve import open_regular

        return os.fdopen(open_regular(self.own_tree(layer_id), path), "rb", buffering=0)

    def own_tree(self, layer_id: str) -> str:
        return self.where(layer_id)

    def _view(self, layer_id: str) -> View:
        from layerlog.drivers.trees import View

        return View([self.where(layer_id)], overlay=False)

    def _reference(self, chain: Sequence[str], against: Sequence[str] | None) -> View | None:
        chain = chain if against is None else against
        return self._view(chain[0]) if chain else None
