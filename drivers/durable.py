"""Every change of the file system whose order matters after a crash goes through here.

A crash laboratory replaces these few functions to see, stop or fail each step. Nothing else in
``drivers/`` renames, removes folders of a layer or syncs.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# File systems whose syncfs reports write-back errors and covers what was written through them: ext2-4, xfs,
# btrfs, f2fs, zfs, and tmpfs, which has nothing to make durable. Anything else is synced file by file.
_SYNCFS_TRUSTED = frozenset((0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0x01021994))
_EARLY_BYTES = 16 << 20
_FEW_FILES = 24  # up to here the files' own fsyncs are cheaper than a syncfs that may flush a neighbour's writes


SUBVOLUME_INODE = 256
"""Of every subvolume's root folder on btrfs, and of no other folder there."""


def make_folder(path: str, mode: int = 0o700) -> None:
    """mkdir with exactly *mode*, whatever the umask; not durable; nothing happens when the folder is there."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    if stat.S_IMODE(os.lstat(path).st_mode) != mode:
        os.chmod(path, mode)


def rename(old: str, new: str) -> None:
    """rename(2): atomic, not durable until the folders of both names are synced.

    A folder that goes to another parent must be writable for an ordinary user (its ``..`` changes); the root
    of a layer need not be, so it is made so for that moment.
    """
    try:
        os.rename(old, new)
    except PermissionError:
        found = os.lstat(old)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & stat.S_IWUSR:
            raise
        os.chmod(old, stat.S_IMODE(found.st_mode) | stat.S_IWUSR)
        os.rename(old, new)
        os.chmod(new, stat.S_IMODE(found.st_mode))


def unlink(path: str) -> None:
    os.unlink(path)


def symlink(target: str, path: str) -> None:
    os.symlink(target, path)


def write_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """A small derived file, written beside and renamed; not synced."""
    beside = path + ".new"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
    os.rename(beside, path)


def sync_folder(path: str) -> None:
    """fsync(2) of a folder: names in it are durable on return."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_descriptor(fd: int) -> None:
    os.fsync(fd)


def remove_tree(path: str) -> None:
    """Remove *path* and all below, never following a symlink; nothing happens when it is not there.

    Folders without permission for their owner are opened up first (as an ordinary user an image may
    hold such). A mount point inside stops it with EBUSY, so that nothing mounted is emptied.
    """
    folder, name = os.path.split(path)
    try:
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_at(fd, os.fsencode(name))
    finally:
        os.close(fd)


def _remove_at(folder_fd: int, name: bytes) -> None:
    """As remove_tree, of *name* in the open folder; the depth of the tree costs descriptors, not stack."""
    try:
        os.unlink(name, dir_fd=folder_fd)
        return
    except FileNotFoundError:
        return
    except OSError as error:  # Linux says EISDIR; POSIX says EPERM
        if error.errno not in (errno.EISDIR, errno.EPERM, errno.EACCES):
            raise
    empty_folder(folder_fd, name)
    try:
        os.rmdir(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return


def empty_folder(folder_fd: int, name: bytes) -> None:
    """Remove all that the folder *name* holds. Two descriptors and no recursion, however deep it is.

    The way back up is ``..``, believed only if it is the folder that the way down came from.
    """
    above: list[tuple[bytes, tuple[int, int]]] = []
    fd = _open_to_empty(folder_fd, name)
    here = name
    try:
        while True:
            below = _remove_entries(fd)
            if below is not None:
                inner = _open_to_empty(fd, below)
                above.append((here, _identity(fd)))
                os.close(fd)
                fd, here = inner, below
            elif above:
                parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = parent
                emptied, (here, expected) = here, above.pop()
                if _identity(fd) != expected:
                    raise OSError(errno.EBUSY, "was moved while it was being removed", emptied)
                os.rmdir(emptied, dir_fd=fd)
            else:
                return
    finally:
        os.close(fd)


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _remove_entries(fd: int) -> bytes | None:
    """Remove entries of an open folder up to the first folder that is not empty, and return its name.

    A subvolume of btrfs, a device of its own whose root is inode 256, is emptied as a folder is: then rmdir(2) takes it.
    """
    with os.scandir(fd) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=fd)
                continue
            try:
                os.rmdir(entry.name, dir_fd=fd)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
                    raise
                inner = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
                if inner.st_dev != os.fstat(fd).st_dev and inner.st_ino != SUBVOLUME_INODE:
                    raise OSError(errno.EBUSY, "is a mount point", entry.name) from error
                return os.fsencode(entry.name)
    return None


def _open_to_empty(folder_fd: int, name: bytes) -> int:
    """Open a folder so that its entries can be removed, never through a symlink."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder_fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=folder_fd)
        return os.open(name, flags, dir_fd=folder_fd)
    if os.geteuid() != 0 and os.fstat(fd).st_mode & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


class SyncScope:
    """What makes a staged folder durable; open it *before* the first write.

    Write-back errors are reported per descriptor, from its opening on: a scope opened afterwards
    would say "all is well" about pages that were dropped before. ``mode`` "none" syncs nothing. *tree*: the folder that is
    to become durable, where it is not there yet: below *path*, which is.
    """

    __slots__ = ("_fd", "mode", "path")

    def __init__(self, path: str, mode: str = "full", tree: str = "") -> None:
        self.path, self.mode = tree or path, mode
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if mode != "none" else -1

    def sync(self, entries: int | None = None) -> None:
        """Durable on return: everything below ``path``. *entries*: how many there are, when the caller knows. Raises OSError."""
        if self.mode == "none":
            return
        few = entries is not None and entries <= _FEW_FILES
        if self.by_syncfs():
            if few and sync_tree(self.path):
                return
            from layerlog.drivers import syscalls

            syscalls.syncfs(self._fd)
        else:
            sync_tree(self.path)

    def by_syncfs(self) -> bool:
        """Whether one syncfs does it here."""
        from layerlog.drivers import syscalls

        return self.mode != "none" and syscalls.file_system_type(self._fd) in _SYNCFS_TRUSTED and _kernel_reports()

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # in this order: whatever interrupts us, it is not closed twice
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()


class EarlyFlush:
    """Lets the kernel write back what is unpacked while more is unpacked, so that the sync at the end waits for less.

    Promises nothing: its descriptor is another one than the scope's, so that an error it meets is still reported to
    the scope's own sync. Call ``count`` with the bytes that were written; ``close`` waits for the flush under way.
    """

    __slots__ = ("_bytes", "_scope", "_thread")

    def __init__(self, scope: SyncScope) -> None:
        self._scope: SyncScope | None = scope
        self._bytes = 0
        self._thread: Any = None

    def count(self, size: int) -> None:
        self._bytes += size
        if self._bytes < _EARLY_BYTES or self._scope is None or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is None and not self._scope.by_syncfs():
            self._scope = None
            return
        import threading

        self._bytes = 0
        self._thread = threading.Thread(target=_flush, args=(self._scope.path,), name="layerlog-flush", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()


def _flush(path: str) -> None:
    from layerlog.drivers import syscalls

    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.syncfs(fd)
        finally:
            os.close(fd)
    except OSError:
        return  # told by the sync that counts


def _kernel_reports() -> bool:
    """syncfs reports write-back errors since Linux 5.8."""
    major, minor = (int("".join(c for c in part if c.isdigit()) or 0) for part in os.uname().release.split(".")[:2])
    return (major, minor) >= (5, 8)


def sync_tree(path: str) -> bool:
    """fsync every regular file and folder at and below *path*; what cannot be opened by its owner is opened up for it.

    Whether that was all: False when there are devices, fifos or sockets, whose mode and owner no fsync of their own flushes.
    """
    whole = True
    todo = [os.fsencode(path)]
    while todo:
        folder = todo.pop()
        fd = _open_readable(folder, os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    below = folder + b"/" + os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(below)
                    elif entry.is_file(follow_symlinks=False):
                        file_fd = _open_readable(below, 0)
                        try:
                            sync_descriptor(file_fd)
                        finally:
                            os.close(file_fd)
                    elif not entry.is_symlink():
                        whole = False
            sync_descriptor(fd)
        finally:
            os.close(fd)
    return whole


def _open_readable(path: bytes, flags: int) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except PermissionError:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        os.chmod(path, mode | (0o500 if flags & os.O_DIRECTORY else 0o400))
        try:
            return os.open(path, flags)
        finally:
            os.chmod(path, mode)
