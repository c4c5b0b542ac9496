"""What all drivers share: staging, placing, swapping and the trash, in one home folder.

``staging/`` and ``trash/`` lie beside the layers, so that every move is one rename in one mount.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress

from layerlog.drivers import durable
from layerlog.drivers.storage_options import parse_options
from layerlog.eventstore import disk
from layerlog.eventstore.errors import DriverError
from layerlog.eventstore.safety import is_folder, names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from layerlog.drivers.applying import Applied, Limits
    from layerlog.drivers.idmaps import IDMaps, Remap

_NO_RENAME = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EXDEV))
_SUPERSEDED = ".superseded."  # an ID never begins with a dot


@contextmanager
def failing(driver: str, operation: str, layer_id: str) -> Iterator[None]:
    """An OSError inside becomes a DriverError that says whose and what."""
    try:
        yield
    except OSError as error:
        raise DriverError(driver=driver, operation=operation, layer_id=layer_id, cause=error) from error


def _inherits_nothing(folder: str) -> None:
    """What is unpacked below gets no access control list that its archive does not have: acl(5), object creation."""
    try:
        os.removexattr(folder, "system.posix_acl_default")
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
            raise


class Home:
    """Base of the drivers that keep layers as folders. A subclass says where (``path``) and what is derived."""

    name = ""
    stands_alone = False

    def __init__(self, home: str, options: Sequence[str]) -> None:
        self.home = os.path.abspath(home)
        self.options = parse_options(self.name, options)
        self.sync_mode = self.options.get("sync", "full")
        self.lenders: tuple[Home, ...] = ()
        self.shifting_allowed = True

    # --- what a subclass says

    def path(self, layer_id: str) -> str:
        raise NotImplementedError

    def _folders(self) -> tuple[str, ...]:
        """Folders to be made by ``setup``, outermost first."""
        raise NotImplementedError

    def _placed(self, layer_id: str) -> None:
        """Called when a layer has come to its place: what is derived from it."""

    def _leaving(self, layer_id: str) -> None:
        """Called before a layer leaves its place."""

    def _there(self, path: str) -> bool:
        """Whether a layer's folder is at this place of the home."""
        return os.path.isdir(path)

    def _move(self, old: str, new: str) -> None:
        """Give what *old* is in this home the name *new*; atomic, not durable. EEXIST or ENOTEMPTY where something is there."""
        durable.rename(old, new)

    def _erase(self, path: str) -> None:
        """Remove a layer's folder in this home, whatever it holds, if there."""
        durable.remove_tree(path)

    def can_shift(self) -> bool:
        return False

    # --- stores that lend

    def lend(self, roots: Sequence[str]) -> None:
        self.lenders = tuple(type(self)(root, "", ()) for root in roots)  # type: ignore[call-arg]

    def found(self, layer_id: str) -> bool:
        return self.exists(layer_id) or any(one.exists(layer_id) for one in self.lenders)

    def where(self, layer_id: str) -> str:
        """The folder of a layer: its place here, unless it is in a store that lends."""
        if self.lenders and not self.exists(layer_id):
            for one in self.lenders:
                if one.exists(layer_id):
                    return one.path(layer_id)
        return self.path(layer_id)

    # --- folders

    def setup(self) -> None:
        with failing(self.name, "set-up", "-"):
            disk.make_folders(os.path.dirname(self.home))
            own = (*self._folders(), os.path.join(self.home, "staging"), os.path.join(self.home, "trash"))
            missing = [] if os.path.isdir(self.home) else [self.home]
            self._make_folders(missing + [folder for folder in own if not is_folder(folder)])

    def _make_folders(self, missing: list[str]) -> None:
        """Make folders, the outer before the inner; their names are durable, or they are not there."""
        for folder in missing:
            durable.make_folder(folder, 0o700)
            _inherits_nothing(folder)
        try:
            self._sync_folders(*(os.path.dirname(folder) for folder in missing))
        except BaseException:
            for folder in reversed(missing):
                with suppress(OSError):  # somebody may have put something into it
                    os.rmdir(folder)
            raise

    def exists(self, layer_id: str) -> bool:
        return os.path.isdir(self.path(layer_id))

    def _staging(self, layer_id: str) -> str:
        return os.path.join(self.home, "staging", layer_id)

    def _trash(self, entry: str) -> str:
        return os.path.join(self.home, "trash", entry)

    def _names(self, folder: str) -> list[str]:
        return names_in(os.path.join(self.home, folder))

    def _sync_folders(self, *folders: str) -> None:
        if self.sync_mode != "none":
            for folder in dict.fromkeys(folders):
                durable.sync_folder(folder)

    # --- contents

    def place(self, layer_id: str) -> None:
        with failing(self.name, "placing", layer_id):
            staging, path = self._staging(layer_id), self.path(layer_id)
            if not self._there(staging):
                if self._there(path):
                    self._placed(layer_id)
                    return  # done before, by a call that was cut short
                raise FileNotFoundError(errno.ENOENT, "nothing is staged", staging)
            try:
                self._move(staging, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                self._leaving(layer_id)
                self._erase(path)
                self._move(staging, path)
            self._placed(layer_id)
            self._sync_folders(os.path.dirname(path), os.path.dirname(staging))

    def swap(self, layer_id: str) -> None:
        with failing(self.name, "swapping", layer_id):
            staging, path = self._staging(layer_id), self.path(layer_id)
            old = self._staging(_SUPERSEDED + layer_id)
            if self._there(staging):
                # Two renames with a sync between, not RENAME_EXCHANGE: a repeated exchange would undo the first.
                if self._there(path):
                    self._erase(old)
                    self._leaving(layer_id)
                    self._move(path, old)
                    self._sync_folders(os.path.dirname(path), os.path.dirname(old))
                self._move(staging, path)
                self._sync_folders(os.path.dirname(path), os.path.dirname(staging))
            elif self._there(old):
                self._sync_folders(os.path.dirname(path), os.path.dirname(staging))  # whoever renamed may not have come to that
            if self._there(path):
                self._placed(layer_id)
            self._erase(old)

    def staged(self) -> list[str]:
        return [name for name in self._names("staging") if not name.startswith(".")]

    def superseded(self) -> list[str]:
        """IDs whose generation before is still there, after a swap that was cut short."""
        return [name.removeprefix(_SUPERSEDED) for name in self._names("staging") if name.startswith(_SUPERSEDED)]

    def discard(self, layer_id: str) -> None:
        with failing(self.name, "discarding", layer_id):
            self._erase(self._staging(layer_id))

    def remove(self, layer_id: str) -> None:
        with failing(self.name, "removal", layer_id):
            self.unmount(layer_id)
            self._leaving(layer_id)
            self._erase(self.path(layer_id))

    def unmount(self, layer_id: str) -> bool:
        raise NotImplementedError

    # --- trash

    def put_aside(self, layer_id: str, entry: str) -> bool:
        with failing(self.name, "putting aside", layer_id):
            if not self._there(self.path(layer_id)):
                return True
            self.unmount(layer_id)
            self._leaving(layer_id)
            try:
                self._move(self.path(layer_id), self._trash(entry))
            except OSError as error:
                if error.errno not in _NO_RENAME:
                    raise
                return False
            return True

    def bring_back(self, entry: str, layer_id: str) -> None:
        self._bring_back(self._trash(entry), layer_id)

    def swap_back(self, layer_id: str) -> None:
        self._bring_back(self._staging(_SUPERSEDED + layer_id), layer_id)

    def _bring_back(self, aside: str, layer_id: str) -> None:
        with failing(self.name, "bringing back", layer_id):
            path = self.path(layer_id)
            if not self._there(aside) and self._there(path):
                self._placed(layer_id)
                return  # done before
            self._move(aside, path)
            self._placed(layer_id)
            self._sync_folders(os.path.dirname(path), os.path.dirname(aside))

    def in_trash(self, entry: str) -> bool:
        return self._there(self._trash(entry))

    def trash(self) -> list[str]:
        return self._names("trash")

    def free(self, entry: str) -> None:
        with failing(self.name, "freeing", entry):
            self._erase(self._trash(entry))

    def tidy(self) -> None:
        """Nothing is derived beside the layers."""

    def sync_layer(self, layer_id: str) -> None:
        with failing(self.name, "syncing", layer_id):
            scope = durable.SyncScope(self.path(layer_id), self.sync_mode)
            try:
                scope.sync()
            finally:
                scope.close()
            self._sync_folders(os.path.dirname(self.path(layer_id)))

    def sync_places(self) -> None:
        with failing(self.name, "syncing", "-"):
            self._sync_folders(os.path.dirname(self.path("any")), os.path.join(self.home, "trash"))

    def sync_home(self) -> None:
        with failing(self.name, "syncing", "-"):
            self._sync_folders(os.path.dirname(self.home), self.home)

    def lose(self, layer_id: str) -> str:
        with failing(self.name, "moving to lost+found", layer_id):
            self.unmount(layer_id)
            self._leaving(layer_id)
            return self._to_lost_and_found(self.path(layer_id), layer_id)

    def lose_other(self, *parts: str) -> str:
        with failing(self.name, "moving to lost+found", parts[-1]):
            return self._to_lost_and_found(os.path.join(self.home, *parts), "-".join(parts))

    def _to_lost_and_found(self, path: str, name: str) -> str:
        folder = os.path.join(self.home, "lost+found")
        if not os.path.isdir(folder):
            self._make_folders([folder])
        self._sync_folders(self.home)  # also where somebody else, who died, had made it
        place = os.path.join(folder, name)
        count = 1
        while os.path.lexists(place):
            count += 1
            place = os.path.join(folder, f"{name}.{count}")
        self._move(path, place)
        self._sync_folders(os.path.dirname(path), folder)
        return place

    # --- what a rescue asks

    def chain_on_disk(self, layer_id: str) -> list[str] | None:
        """Nothing tells, unless a subclass knows."""
        return None

    def underived(self, layer_id: str, chain: Sequence[str]) -> list[str]:
        return []

    def derive(self, layer_id: str, chain: Sequence[str]) -> list[str]:
        return []


class StagedTree:
    """See ``driver.Staged``. ``root`` lies in ``place`` (the same folder, or overlay's ``diff`` in it)."""

    def __init__(
        self,
        driver: str,
        layer_id: str,
        root: str,
        scope: durable.SyncScope,
        fresh: bool,
        overlay: bool,
        copied: int = 0,
        rootless: bool = False,
        lowers: Sequence[str] = (),
    ) -> None:
        self.layer_id, self.root = layer_id, root
        self._driver, self._scope = driver, scope
        self._fresh, self._overlay, self._rootless, self._lowers = fresh, overlay, rootless, lowers
        self._entries: int | None = copied
        self.maps: IDMaps | None = None

    def shift(self, remap: Remap, based: bool = False) -> None:
        from layerlog.drivers.idmaps import shift_tree

        with failing(self._driver, "mapping", self.layer_id):
            self.maps = remap.new
            if self._overlay:
                from layerlog.drivers.overlaymount import shift_below

                if based or not self._lowers:
                    shift_tree(self.root, remap)
                shift_below(self.root, list(self._lowers), remap)
                below = os.path.join(os.path.dirname(self.root), "diff1")
                self._lowers = [below] if os.path.isdir(below) else []
            else:
                shift_tree(self.root, remap)
            self._entries = None

    def apply(
        self,
        stream: IO[bytes],
        limits: Limits | None = None,
        tar_split: IO[bytes] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Applied:
        from layerlog.drivers import applying
        from layerlog.drivers.extract import Extractor

        with failing(self._driver, "unpacking", self.layer_id):
            fresh = self._fresh and not self._entries and self.maps is None
            if self.maps:
                from layerlog.drivers.mapped_extract import MappedExtractor

                extractor: Extractor = MappedExtractor(self.maps, self.root, fresh, self._overlay, self._rootless, self._lowers)
            else:
                extractor = Extractor(self.root, fresh, self._overlay, self._rootless, self._lowers)
            early = durable.EarlyFlush(self._scope)
            try:
                applied = applying.apply(stream, extractor, limits, tar_split, progress, early.count)
            finally:
                extractor.close()
                early.close()
        if self._entries is not None:
            self._entries += applied.entries
        return applied

    def changed_outside(self) -> None:
        """The caller filled ``root`` itself: how much is in it is not known."""
        self._entries = None

    def sync(self) -> None:
        with failing(self._driver, "syncing", self.layer_id):
            self._scope.sync(self._entries)

    def close(self) -> None:
        self._scope.close()
