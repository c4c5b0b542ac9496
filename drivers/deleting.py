"""What does a whiteout in an archive do to a layer?

It speaks of lower layers only: what the same archive brings stays, wherever in the archive the whiteout stands. Drivers
that really remove do so here; for overlay a mark is left, where it has something to hide.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import whiteouts
from layerlog.drivers.layertree import LayerTree
from layerlog.drivers.trees import is_opaque
from layerlog.eventstore.errors import ArchiveEscape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.drivers.tarfields import Member


_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Deletions(LayerTree):
    """Whiteouts of one archive."""

    def _whiteout(self, parent: bytes, base: bytes, member: Member) -> None:
        says = whiteouts.meaning(base)
        if says == whiteouts.IGNORED:
            return
        if says == whiteouts.REFUSED:
            raise ArchiveEscape(name=shown_name(member.name), why="a whiteout of no name", offset=member.offset)
        base = base[len(whiteouts.PREFIX) :]
        hidden = parent if says == whiteouts.HIDES else (parent + b"/" + base if parent else base)
        shown = self._shown_below(hidden, says == whiteouts.HIDES)
        try:
            # A folder of this layer is made only for a whiteout that has something to hide.
            self._for_whiteout = True
            folder = os.dup(self._parent(parent) if shown else self._folders.get(parent))
        except (FileNotFoundError, NotADirectoryError):
            return
        finally:
            self._for_whiteout = False
        try:
            if says == whiteouts.HIDES:
                self._remove_foreign(folder, parent)
                if shown and parent:
                    self._hide_lower(parent)
                elif shown:
                    self._hide_below_root(folder)
            else:
                self._delete(folder, hidden, base, shown)
        finally:
            os.close(folder)

    def _hide_below_root(self, folder: int) -> None:
        """A mount does not ask whether the root of a layer is opaque: what layers below have in theirs is deleted name by name."""
        assert self._lower is not None
        for base in self._lower.entries(b"", self._lower.root()):
            self._delete(folder, base, base, shown=True)

    def _shown_below(self, path: bytes, within: bool) -> bool:
        """Whether layers below show something at *path* (*within*: in it) that this one has not hidden yet.

        A whiteout of nothing would itself be listed by a mount, in a folder that the kernel has nothing to merge with.
        """
        if self._lower is None or self._lower.find(path) is None:
            return False
        if not path:
            return True
        parts = path.split(b"/")
        for depth in range(1, len(parts) + within):
            try:
                fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folders.get(b"/".join(parts[:depth])))
            except (FileNotFoundError, NotADirectoryError):
                return not self._has(b"/".join(parts[:depth]))
            try:
                if is_opaque(fd):
                    return False
            finally:
                os.close(fd)
        return True

    def _has(self, path: bytes) -> bool:
        """Whether this layer itself has anything at *path*, be it a whiteout."""
        parent, _, base = path.rpartition(b"/")
        try:
            os.stat(base, dir_fd=self._folders.get(parent), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _delete(self, folder: int, name: bytes, base: bytes, shown: bool) -> None:
        try:
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if found is not None and not self._delete_foreign(folder, name, base, found):
            if not shown or not stat.S_ISDIR(found.st_mode):
                return
            self._hide_lower(name)
            if found.st_ino not in self._bare or not self._remove_bare(folder, base):
                return
        if shown:
            os.mknod(base, stat.S_IFCHR, os.makedev(0, 0), dir_fd=folder)

    def _delete_foreign(self, folder: int, name: bytes, base: bytes, found: os.stat_result) -> bool:
        """Delete what is not of this archive (a whiteout speaks of lower layers only); True when nothing is left.

        *folder* must not be one of the cached descriptors: these are closed when a folder goes away.
        """
        if self._is_ours(found) and (self._fresh or not stat.S_ISDIR(found.st_mode)):
            return False
        if not stat.S_ISDIR(found.st_mode) or not len(self._ours):
            self._remove(folder, name, base, found)
            return True
        inner = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            emptied = self._remove_foreign(inner, name)
        finally:
            os.close(inner)
        if not emptied or self._is_ours(found):
            return False
        self._remove(folder, name, base, found)
        return True

    def _remove_foreign(self, folder: int, name: bytes) -> bool:
        """Delete from a folder all that is not of this archive; True when it is empty then. One descriptor and no recursion."""
        if self._fresh:
            return False
        fd, path = os.open(b".", _LISTED, dir_fd=folder), name
        above: list[tuple[bytes, os.stat_result, bool, list[bytes]]] = []
        try:
            emptied, folders = self._strip(fd, path)
            while folders or above:
                if folders:
                    base = folders.pop()
                    above.append((path, os.fstat(fd), emptied, folders))
                    inner = os.open(base, _LISTED | os.O_NOFOLLOW, dir_fd=fd)
                    os.close(fd)
                    fd, path = inner, path + b"/" + base if path else base
                    emptied, folders = self._strip(fd, path)
                    continue
                below, seen, gone = path, os.fstat(fd), emptied
                parent = os.open(b"..", _LISTED, dir_fd=fd)
                os.close(fd)
                fd = parent
                path, expected, emptied, folders = above.pop()
                if not os.path.samestat(os.fstat(fd), expected):
                    raise OSError(errno.EBUSY, "was moved while it was being emptied", below)
                if gone and not self._is_ours(seen):
                    self._remove(fd, below, below.rpartition(b"/")[2], seen)
                else:
                    emptied = False
            return emptied
        finally:
            os.close(fd)

    def _strip(self, folder: int, name: bytes) -> tuple[bool, list[bytes]]:
        """Delete from a folder what is not of this archive, but for folders; whether nothing else is left, and those folders."""
        emptied = True
        folders = []
        for base in map(os.fsencode, os.listdir(folder)):
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and len(self._ours):
                folders.append(base)
            elif self._is_ours(found):
                emptied = False
            else:
                self._remove(folder, name + b"/" + base if name else base, base, found)
        return emptied, folders


def shown_name(name: bytes) -> str:
    """A name of an archive for an error message."""
    return name.decode("utf-8", "backslashreplace")
