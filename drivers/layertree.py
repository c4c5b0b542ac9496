"""The folder that an archive is unpacked into: its folders on the way, their times, and removal inside it.

Knows which of its contents are of this archive, and what layers below show. Makes no member itself.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import whiteouts
from layerlog.drivers.attributes import Attributes, InodeSet
from layerlog.drivers.durable import empty_folder
from layerlog.drivers.resolve import Folders, descend
from layerlog.drivers.trees import Below, View, is_opaque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerlog.drivers.trees import Node

_DIRECTORIES_KEPT = 50_000


class LayerTree:
    """*fresh*: the root was empty, so all in it is of this archive. *overlay*: deletions become whiteouts that a mount
    understands; else they remove. *lowers*: the layers below, nearest first.
    """

    def __init__(self, root: str, fresh: bool, overlay: bool = False, rootless: bool = False, lowers: Sequence[str] = ()) -> None:
        self._folders = Folders(root)
        self._fresh, self._overlay = fresh, overlay
        self._opaque = whiteouts.opaque_xattr(rootless)
        self._lower = View(lowers, overlay=True) if overlay and lowers else None
        self._ours = InodeSet()
        self._later: dict[bytes, tuple[int, int, bytes | None]] = {}  # folder -> (mode, mtime_ns, default ACL) that it has in the end
        self._flushed = False
        self._bare: set[int] = set()  # inodes of folders that were made for nothing but a whiteout in them
        self._for_whiteout = False
        self.root = root
        self.rearranged = False  # whether a path of this archive may lead elsewhere than when it was unpacked
        self.attributes = Attributes(overlay)

    def close(self) -> None:
        self._folders.close()

    # --- folders on the way

    def _parent(self, path: bytes) -> int:
        """The open folder *path*, made if the archive only implies it. Raises InvalidArchive for a path through a file."""
        try:
            fd = self._folders.get(path)
        except (FileNotFoundError, NotADirectoryError):
            fd = self._make_parents(path)
        if self._flushed and path not in self._later:
            found = os.stat(fd)
            self._later[path] = (stat.S_IMODE(found.st_mode), found.st_mtime_ns, None)
        return fd

    def _make_parents(self, path: bytes) -> int:
        """Make what is missing of *path*, below the longest part of it that is there."""
        parts = path.split(b"/")
        there = len(parts)
        fd = -1
        while fd < 0:
            there -= 1
            try:
                fd = self._folders.get(b"/".join(parts[:there]))
            except (FileNotFoundError, NotADirectoryError):
                continue
        if self._lower is not None:
            shown = self._shown_through(parts[:there])
            fd = self._folders.get(b"/".join(parts[:there]))  # those above it were asked for since
        else:
            shown = None
        for depth in range(there, len(parts)):
            name = b"/".join(parts[: depth + 1])
            if shown is not None and self._lower is not None:
                with Below(self._lower, name[: -len(parts[depth]) - 1], shown) as below:
                    shown = below.find(parts[depth])
            shown = self._make_parent(fd, parts[depth], name, shown if shown is not None and shown.is_folder else None)
            fd = self._folders.enter(name, fd)
        return fd

    def _shown_through(self, parts: list[bytes]) -> Node | None:
        """The folder of layers below at these parts of a path, unless a folder of this layer on the way hides it, or it is none."""
        node = self._lower.find(b"/".join(parts)) if self._lower is not None else None
        if node is None or not node.is_folder:
            return None
        for depth in range(1, len(parts) + 1):
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folders.get(b"/".join(parts[:depth])))
            try:
                if is_opaque(fd):
                    return None
            finally:
                os.close(fd)
        return node

    def _make_parent(self, folder: int, base: bytes, path: bytes, below: Node | None) -> Node | None:
        """Make one folder; *below*: the same folder of layers below. Returns it, or None when this one hides it."""
        hides = False
        try:
            os.mkdir(base, 0o755, dir_fd=folder)
        except FileExistsError as error:
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
            if not (self._overlay and whiteouts.is_overlay_whiteout(found)):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error
            os.unlink(base, dir_fd=folder)
            os.mkdir(base, 0o755, dir_fd=folder)
            hides = True
        below = None if hides else below
        self._implied(path, self._folders.enter(path, folder), below)
        if hides:
            self._hide_lower(path)
        return below

    def _implied(self, path: bytes, folder: int, lower: Node | None) -> None:
        """Attributes of a folder that no member describes: those of the same folder below (overlay), else root's, 0755."""
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            if not self._fresh:
                self._ours.add(os.fstat(fd).st_ino)
            if self._for_whiteout:
                self._bare.add(os.fstat(fd).st_ino)
            if lower is None or self._lower is None:
                self.attributes.set_implied(fd, self._inherits())
            else:
                below = self._lower.open(lower.layers[0], path)
                try:
                    later = self.attributes.copy_folder(below, fd)
                finally:
                    os.close(below)
                self._remember(path, *later)
        finally:
            os.close(fd)

    # --- removal

    def _remove(self, folder: int, name: bytes, base: bytes, found: os.stat_result) -> None:
        if stat.S_ISDIR(found.st_mode):
            empty_folder(folder, base)
            os.rmdir(base, dir_fd=folder)
            below = name + b"/"
            for path in [path for path in self._later if path == name or path.startswith(below)]:
                del self._later[path]
        else:
            os.unlink(base, dir_fd=folder)
        if stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
            self.rearranged |= self._folders.aliased
            self._folders.forget()

    def _is_ours(self, found: os.stat_result) -> bool:
        return self._fresh or found.st_ino in self._ours

    def _hide_lower(self, name: bytes) -> None:
        """Mark the folder *name* so that a mount shows nothing that lower layers hold in it.

        Whiteouts inside, and folders made for them alone, have nothing to hide any more, and would be listed: they go.
        """
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folders.get(name))
        try:
            os.setxattr(fd, self._opaque, b"y")
            bare: list[bytes] = []
            todo = [b"."]
            while todo:
                path = todo.pop()
                inner = descend(fd, path)
                try:
                    for base in map(os.fsencode, os.listdir(inner)):
                        found = os.stat(base, dir_fd=inner, follow_symlinks=False)
                        if stat.S_ISDIR(found.st_mode):
                            todo.append(path + b"/" + base)
                            if found.st_ino in self._bare:
                                bare.append(path + b"/" + base)
                        elif whiteouts.is_overlay_whiteout(found):
                            os.unlink(base, dir_fd=inner)
                finally:
                    os.close(inner)
            for path in reversed(bare):
                self._remove_bare(fd, path)
        finally:
            os.close(fd)

    def _remove_bare(self, folder: int, path: bytes) -> bool:
        """Remove a folder that was made for a whiteout alone; False when something came into it since."""
        parent, _, base = path.rpartition(b"/")
        inner = descend(folder, parent or b".")
        try:
            os.rmdir(base, dir_fd=inner)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        finally:
            os.close(inner)
        self._folders.forget()
        return True

    # --- times of folders

    def _inherits(self) -> bool:
        """Whether folders are there with an ACL that they hand down to what is made in them."""
        return not self._fresh or self._flushed

    def _remember(self, name: bytes, mode: int, mtime_ns: int, acl: bytes | None) -> None:
        self._later[name] = (mode, mtime_ns, acl)
        if len(self._later) > _DIRECTORIES_KEPT:
            self.finish()
            self._flushed = True  # from now on _parent notes a folder's time before something changes it

    def finish(self) -> None:
        """Give folders the times (and, as an ordinary user, the modes) that unpacking into them spoiled, and what they hand down."""
        for name in sorted(self._later, reverse=True):
            mode, mtime_ns, acl = self._later[name]
            parent, _, base = name.rpartition(b"/")
            try:
                fd = os.open(base or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folders.get(parent))
            except (FileNotFoundError, NotADirectoryError):
                continue  # replaced since by something that is no folder
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                continue
            try:
                if acl is not None:
                    self.attributes.set_default_acl(fd, name, acl)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
                if not self.attributes.privileged:
                    os.fchmod(fd, mode)
            finally:
                os.close(fd)
        self._later.clear()
