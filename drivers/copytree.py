"""How is one tree copied to another so that nothing tells them apart?

Owners, modes, xattrs, times, hard links, holes, devices and FIFOs; sockets, which mean nothing without
their process, are left out. Contents are shared (reflinks) where the file system can, else
copied by the kernel.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import attributes
from layerlog.drivers.resolve import open_file_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_COPY_BYTES = 1 << 30
_NO_CLONE = frozenset((errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM))
_NO_KERNEL_COPY = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM))


def copy_tree(source: str, target: str, keep_xattr: Callable[[str], bool] | None = None) -> int:
    """Copy what is in the folder *source*, and its own attributes, to the existing folder *target*; returns the number of paths.

    Not durable. Raises OSError; what an ordinary user cannot set is skipped where source and target agree anyway.
    """
    return _Copy(source, keep_xattr).run(source, target)


class _Copy:
    def __init__(self, source: str, keep_xattr: Callable[[str], bool] | None) -> None:
        self._links: dict[tuple[int, int], bytes] = {}
        self._privileged = attributes.is_privileged()
        self._keep = keep_xattr
        self._clones = True
        self._source_root = os.fsencode(source)
        self._count = 0

    def run(self, source: str, target: str) -> int:
        self._target_root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._copy_folder(os.open(source, _FOLDER), os.open(target, _FOLDER))
        finally:
            os.close(self._target_root)
        return self._count

    def _copy_folder(self, source: int, target: int) -> None:
        """Depth first with an explicit stack: (source, target, names still to copy). Attributes are set when a folder is done."""
        stack = [(source, target, b"", os.listdir(source))]
        try:
            while stack:
                source, target, path, names = stack[-1]
                if not names:
                    stack.pop()
                    self._folder_attributes(source, target)
                    os.close(source)
                    os.close(target)
                    continue
                name = os.fsencode(names.pop())
                self._count += 1
                found = os.stat(name, dir_fd=source, follow_symlinks=False)
                below = path + b"/" + name if path else name
                if stat.S_ISDIR(found.st_mode):
                    os.mkdir(name, 0o700, dir_fd=target)
                    inner = open_folder(source, name)
                    stack.append((inner, os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=target), below, os.listdir(inner)))
                else:
                    self._leaf(source, target, name, below, found)
        finally:
            for source, target, _, _ in stack:
                os.close(source)
                os.close(target)

    def _leaf(self, source: int, target: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        mode = found.st_mode
        if found.st_nlink > 1:
            key = (found.st_dev, found.st_ino)
            first = self._links.get(key)
            if first is not None:
                os.link(first, name, src_dir_fd=self._target_root, dst_dir_fd=target, follow_symlinks=False)
                return
            if len(path) < 4000:
                self._links[key] = path
        if stat.S_ISREG(mode):
            self._file(source, target, name, found)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISSOCK(mode):
            return
        else:
            os.mknod(name, mode, found.st_rdev, dir_fd=target)
        self._owner(name, target, found)
        self._xattrs(b"/proc/self/fd/%d/%b" % (source, name), b"/proc/self/fd/%d/%b" % (target, name), follow=False)
        if not stat.S_ISLNK(mode):
            os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
        os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _file(self, source: int, target: int, name: bytes, found: os.stat_result) -> None:
        read = open_file_at(source, name)
        try:
            write = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
            try:
                if found.st_size:
                    self._content(read, write, found.st_size)
                self._owner(write, None, found)
                self._xattrs(read, write, follow=True)
                os.fchmod(write, stat.S_IMODE(found.st_mode))
                os.utime(write, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(write)
        finally:
            os.close(read)

    def _content(self, read: int, write: int, size: int) -> None:
        if self._clones:
            from layerlog.drivers import syscalls

            try:
                syscalls.clone_file(read, write)
                return
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                self._clones = False
        at = 0
        while at < size:
            try:
                start = os.lseek(read, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # only a hole follows
            end = os.lseek(read, start, os.SEEK_HOLE)
            _copy_range(read, write, start, end)
            at = end
        if os.fstat(write).st_size < size:
            os.ftruncate(write, size)

    def _folder_attributes(self, source: int, target: int) -> None:
        found = os.fstat(source)
        self._owner(target, None, found)
        self._xattrs(source, target, follow=True)
        os.fchmod(target, stat.S_IMODE(found.st_mode))
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))

    def _owner(self, at: int | bytes, folder: int | None, found: os.stat_result) -> None:
        try:
            if isinstance(at, int):
                os.fchown(at, found.st_uid, found.st_gid)
            else:
                os.chown(at, found.st_uid, found.st_gid, dir_fd=folder, follow_symlinks=False)
        except PermissionError:
            if self._privileged:
                raise
            same = os.fstat(at) if isinstance(at, int) else os.stat(at, dir_fd=folder, follow_symlinks=False)
            if (same.st_uid, same.st_gid) != (found.st_uid, found.st_gid):
                raise

    def _xattrs(self, source: int | bytes, target: int | bytes, follow: bool) -> None:
        try:
            keys = os.listxattr(source, follow_symlinks=follow)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return
        for key in keys:
            if self._keep is not None and not self._keep(key):
                continue
            value = os.getxattr(source, key, follow_symlinks=follow)
            try:
                os.setxattr(target, key, value, follow_symlinks=follow)
            except OSError as error:
                if self._privileged or error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):
                    raise
                try:  # SELinux and the like label new files themselves
                    same = os.getxattr(target, key, follow_symlinks=follow) == value
                except OSError:
                    same = False
                if not same and not key.startswith(("security.", "trusted.")):
                    raise


def open_folder(parent: int, name: bytes) -> int:
    """Open a folder for listing; one its owner may not list is opened up for the moment of opening."""
    flags = _FOLDER | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if found.st_uid != os.geteuid():
            raise
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, flags, dir_fd=parent)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
        return fd


def _copy_range(read: int, write: int, start: int, end: int) -> None:
    """Bytes *start* to *end*, by the kernel where it can."""
    at = start
    while at < end:
        try:
            copied = os.copy_file_range(read, write, min(end - at, _COPY_BYTES), at, at)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            data = os.pread(read, min(end - at, 1 << 20), at)
            copied = os.pwrite(write, data, at)
        if not copied:
            return
        at += copied
