"""overlay: every layer holds only what it changes; the kernel shows a chain of them as one tree.

On disk as the original shapes it (contract/semantics.md §5)::

    ROOT/overlay/ID/diff     the layer's own contents: the upper folder of its mount
    ROOT/overlay/ID/link     its short name, 26 capitals and digits, derived from the ID
    ROOT/overlay/ID/lower    l/AAA:l/BBB: the short names of its ancestors, nearest first
    ROOT/overlay/ID/diff1    what is below the layer, under other ID maps than there (drivers/idmaps.py)
    ROOT/overlay/ID/work     the kernel's own
    ROOT/overlay/ID/merged   the mount point
    ROOT/overlay/ID/empty    instead of ``lower`` in a layer without parent: an empty lower folder
    ROOT/overlay/l/LINK      -> ../ID/diff

Short names and ``lower`` are derived: they are written for other tools, made again when
missing, and never believed. The chain is always the caller's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from layerlog.drivers import durable, mounts
from layerlog.drivers.contents_swap import begun, swap_contents
from layerlog.drivers.homes import Home, StagedTree, failing
from layerlog.eventstore.errors import InvalidID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from layerlog.drivers.changes import Change
    from layerlog.drivers.driver import IDMap, Lines, Maps, MountOptions, Names, Staged
    from layerlog.drivers.idmaps import IDMaps
    from layerlog.drivers.trees import View

BELOW = "diff1"
"""In the folder of a layer with other ID maps than its parent: everything below it, with its own owners."""
_OURS = frozenset(("l", "staging", "trash"))  # folders of the home that are no layers


class Overlay(Home):
    """See ``driver.Driver``. Options: ``sync`` (``full``, ``none``), ``mountopt`` (comma separated, used when a mount names none)."""

    name = "overlay"

    def __init__(self, root: str, run_root: str = "", options: Sequence[str] = ()) -> None:
        super().__init__(os.path.join(root, "overlay"), options)
        self.rootless = not _may_set_trusted()
        self._shifts: bool | None = None

    # --- places

    def path(self, layer_id: str) -> str:
        if layer_id in _OURS:
            raise InvalidID(asked=layer_id, why="overlay uses that name itself")
        return os.path.join(self.home, layer_id)

    def _diff(self, layer_id: str) -> str:
        """The layer's own contents, here or in a store that lends."""
        return os.path.join(self.where(layer_id), "diff")

    def _folders(self) -> tuple[str, ...]:
        return (os.path.join(self.home, "l"),)

    def list(self) -> Names:
        return [name for name in self._names(".") if name not in _OURS and os.path.isdir(os.path.join(self.home, name, "diff"))]

    def exists(self, layer_id: str) -> bool:
        return os.path.isdir(os.path.join(self.path(layer_id), "diff"))

    def status(self) -> Lines:
        from layerlog.drivers.probing import overlay_status

        return overlay_status(self.home, self.rootless, self.can_shift())

    def chain_on_disk(self, layer_id: str) -> Names | None:
        """Read from ``lower``; an ancestor whose ID cannot be told stands as an empty word. None without ``lower`` and ``empty``."""
        path = self.path(layer_id)
        try:
            with open(os.path.join(path, "lower"), encoding="utf-8", errors="surrogateescape") as file:
                shorts = [one.removeprefix("l/") for one in file.read().split(":") if one]
        except FileNotFoundError:
            return [] if os.path.isdir(os.path.join(path, "empty")) else None
        known = {short_name(one): one for one in self.list()}
        return [known.get(short) or self._linked(short) for short in shorts] or None

    def _linked(self, short: str) -> str:
        """The layer that a short name in ``l/`` leads to; empty when it leads nowhere."""
        try:
            target = os.readlink(os.path.join(self.home, "l", os.path.basename(short)))
        except OSError:
            return ""
        parts = target.split("/")
        return parts[1] if len(parts) == 3 and parts[0] == ".." and parts[2] == "diff" else ""

    def underived(self, layer_id: str, chain: Sequence[str]) -> Names:
        path = self.path(layer_id)
        wrong = [name for name, content in _derived(layer_id, chain) if _content(os.path.join(path, name)) != content]
        short = short_name(layer_id)
        try:
            linked = os.readlink(os.path.join(self.home, "l", short)) == f"../{layer_id}/diff"
        except OSError:
            linked = False
        return [*wrong, *([] if linked else [f"l/{short}"])]

    def derive(self, layer_id: str, chain: Sequence[str]) -> Names:
        wrong = self.underived(layer_id, chain)
        with failing(self.name, "deriving", layer_id):
            for name, content in _derived(layer_id, chain):
                if name in wrong:
                    durable.write_file(os.path.join(self.path(layer_id), name), content, 0o644)
            self._placed(layer_id)
            self._make_derived(layer_id, chain)
        return wrong

    # --- contents

    def create(self, layer_id: str, chain: Sequence[str]) -> None:
        with failing(self.name, "creation", layer_id):
            if self.exists(layer_id):
                return
            self._fill(layer_id, chain, None)
            durable.rename(self._staging(layer_id), self.path(layer_id))
            self._placed(layer_id)

    def stage(self, layer_id: str, chain: Sequence[str], base: str | None = None) -> Staged:
        with failing(self.name, "staging", layer_id):
            scope = durable.SyncScope(self.home, self.sync_mode, self._staging(layer_id))
            try:
                entries = self._fill(layer_id, chain, base)
                if base is not None:  # to be committed where it is, and only then placed
                    self._sync_folders(os.path.join(self.home, "staging"))
            except BaseException:
                scope.close()
                raise
            lowers = self.stack(chain)
            root = os.path.join(self._staging(layer_id), "diff")
            return StagedTree(self.name, layer_id, root, scope, base is None, True, entries, self.rootless, lowers)

    def _fill(self, layer_id: str, chain: Sequence[str], base: str | None) -> int:
        """Make ``staging/<id>`` with an empty ``diff``, or one with the contents of *base*; returns how many."""
        staging = self._staging(layer_id)
        self._unmount_staged(layer_id)
        durable.remove_tree(staging)
        durable.make_folder(staging, 0o700)
        diff = os.path.join(staging, "diff")
        durable.make_folder(diff, 0o555 if os.geteuid() == 0 else 0o755)
        durable.make_folder(os.path.join(staging, "work"), 0o700)
        for name, content in _derived(layer_id, chain):
            durable.write_file(os.path.join(staging, name), content, 0o644)
        copied = 0
        if chain:
            copy_root(self._diff(chain[0]), diff)
        else:
            durable.make_folder(os.path.join(staging, "empty"), 0o700)
        durable.make_folder(os.path.join(staging, "merged"), 0o700)
        if base is not None:
            from layerlog.drivers.copytree import copy_tree

            copied = copy_tree(self._diff(base), diff)
            below = os.path.join(os.path.dirname(self._diff(base)), BELOW)
            if os.path.isdir(below):
                durable.make_folder(os.path.join(staging, BELOW), 0o700)
                copied += copy_tree(below, os.path.join(staging, BELOW))
        return copied

    def discard(self, layer_id: str) -> None:
        with failing(self.name, "discarding", layer_id):
            self._unmount_staged(layer_id)
        super().discard(layer_id)

    def _unmount_staged(self, layer_id: str) -> None:
        """What ``overlaymount.shift_below`` mounted, if it was killed."""
        merged = os.path.join(self._staging(layer_id), "merged")
        if mounts.is_mount_point(merged):
            from layerlog.drivers import syscalls

            syscalls.umount(os.fsencode(merged), syscalls.MNT_DETACH)

    def stack(self, chain: Sequence[str]) -> Names:
        """Folders that make up a chain, nearest first: up to a layer that holds all that is below it under its own ID maps."""
        found: Names = []
        for one in chain:
            folder = self.where(one)
            found.append(os.path.join(folder, "diff"))
            below = os.path.join(folder, BELOW)
            if os.path.isdir(below):
                return [*found, below]
        return found

    def swap(self, layer_id: str) -> None:
        """While it is mounted only what lies in ``diff`` can change place: the kernel holds the rest."""
        if self.mounted(layer_id) or begun(self._staging(layer_id)):
            with failing(self.name, "swapping", layer_id):
                swap_contents(self._staging(layer_id), self.path(layer_id))
        else:
            super().swap(layer_id)

    def _placed(self, layer_id: str) -> None:
        """Make the layer's short name, where it is missing or points elsewhere. What is no link goes to lost+found."""
        short = short_name(layer_id)
        link = os.path.join(self.home, "l", short)
        target = f"../{layer_id}/diff"
        try:
            if os.readlink(link) == target:
                return
            durable.unlink(link)
        except FileNotFoundError:
            durable.make_folder(os.path.dirname(link), 0o700)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.lose_other("l", short)  # a copy that followed links has a whole tree there
        durable.symlink(target, link)

    def _leaving(self, layer_id: str) -> None:
        try:
            durable.unlink(os.path.join(self.home, "l", short_name(layer_id)))
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self.lose_other("l", short_name(layer_id))

    def tidy(self) -> None:
        """Short names whose layer is gone, or that are gone themselves: a power cut may bring back one, and lose another.

        Nobody needs a lease for that: a short name is made after its layer is in place, and again by each mount.
        """
        with failing(self.name, "tidying", "-"):
            folder = os.path.join(self.home, "l")
            for name in self._names("l"):
                if not os.path.exists(os.path.join(folder, name)):
                    durable.unlink(os.path.join(folder, name))
            for layer_id in self.list():
                self._placed(layer_id)

    # --- mounts

    def _merged(self, layer_id: str) -> str:
        return os.path.join(self.path(layer_id), "merged")

    def mount(self, layer_id: str, chain: Sequence[str], options: MountOptions) -> str:
        from layerlog.drivers.overlaymount import mount_layers

        merged = self._merged(layer_id)
        with failing(self.name, "mounting", layer_id):
            if self.mounted(layer_id):
                return merged
            for one in (layer_id, *chain):
                os.stat(self._diff(one))
                if not self.lenders or self.exists(one):
                    self._placed(one)
            self._make_derived(layer_id, chain)
            mount_layers(self, layer_id, chain, options)
        return merged

    def _make_derived(self, layer_id: str, chain: Sequence[str]) -> None:
        """Folders of a mount that a copy or a rescue may have left out."""
        path = self.path(layer_id)
        for name in ("work", "merged", *(() if chain else ("empty",))):
            durable.make_folder(os.path.join(path, name), 0o700)

    def unmount(self, layer_id: str) -> bool:
        from layerlog.drivers import syscalls

        merged = self._merged(layer_id)
        with failing(self.name, "unmounting", layer_id):
            if os.path.isdir(os.path.join(self.path(layer_id), "mapped")):
                from layerlog.drivers import shifting

                shifting.forget(os.path.join(self.path(layer_id), shifting.FOLDER))
            if not self.mounted(layer_id):
                return False
            try:
                syscalls.umount(os.fsencode(merged))
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # Somebody has a file open in it: out of sight at once, gone with the last descriptor, as the original does.
                syscalls.umount(os.fsencode(merged), syscalls.MNT_DETACH)
            return True

    def mounted(self, layer_id: str) -> bool:
        return mounts.is_mount_point(self._merged(layer_id))

    def can_shift(self) -> bool:
        if not self.shifting_allowed:
            return False
        if self._shifts is None:
            from layerlog.drivers.shifting import can_shift

            self._shifts = can_shift(self)
        return self._shifts

    # --- diffs

    def changes(
        self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None
    ) -> Iterator[Change]:
        return self._changes(layer_id, chain, against, maps, look=False)

    def _changes(
        self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None, maps: Maps | None, look: bool
    ) -> Iterator[Change]:
        from layerlog.drivers.changes import compare
        from layerlog.drivers.written import written

        with failing(self.name, "comparison", layer_id):
            mine = self._own_view(layer_id, chain)
            if against is None:
                return written(mine, look)
            mine.maps, theirs = maps or (None, None)
            return compare(self._view(against, theirs), mine)

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
            changes = self._changes(layer_id, chain, against, maps, look=True)
            yield from DiffWriter(self._own_view(layer_id, chain), uid_maps, gid_maps).run(changes)

    def diff_size(self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None) -> int:
        from layerlog.drivers.sizes import size_of
        from layerlog.drivers.written import written_bytes

        with failing(self.name, "measuring", layer_id):
            if against is None:
                return written_bytes(self._own_view(layer_id, chain))
            return size_of(self._changes(layer_id, chain, against, maps, look=True))

    def _own_view(self, layer_id: str, chain: Sequence[str]) -> View:
        view = self._view([layer_id, *chain])
        assert view is not None
        return view

    def _view(self, chain: Sequence[str], maps: IDMaps | None = None) -> View | None:
        from layerlog.drivers.trees import View

        return View(self.stack(chain), overlay=True, maps=maps) if chain else None

    def open_file(self, layer_id: str, path: bytes) -> IO[bytes]:
        from layerlog.drivers.resolve import open_regular

        return os.fdopen(open_regular(self.own_tree(layer_id), path), "rb", buffering=0)

    def own_tree(self, layer_id: str) -> str:
        return self._diff(layer_id)


def short_name(layer_id: str) -> str:
    """The 26 capitals and digits that stand for *layer_id* in ``l/``: always the same, so that a lost link comes back as it was."""
    import base64

    return base64.b32encode(hashlib.sha256(b"layerlog link of " + layer_id.encode()).digest()[:20]).decode()[:26]


def _derived(layer_id: str, chain: Sequence[str]) -> list[tuple[str, bytes]]:
    """Names and contents of the files that say what a layer is called and what lies below it."""
    lower = [("lower", ":".join("l/" + short_name(one) for one in chain).encode())] if chain else []
    return [("link", short_name(layer_id).encode()), *lower]


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def copy_root(source: str, target: str) -> None:
    """The root of a layer looks as that of its parent until its own contents say otherwise."""
    found = os.stat(source)
    own = os.stat(target)
    if (found.st_uid, found.st_gid) != (own.st_uid, own.st_gid):
        os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, stat.S_IMODE(found.st_mode))


def _may_set_trusted() -> bool:
    """``trusted.*`` xattrs need CAP_SYS_ADMIN of the initial user namespace."""
    from layerlog.drivers.attributes import is_privileged

    return is_privileged()
