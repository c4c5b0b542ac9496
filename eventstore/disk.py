"""The one door to the disk: every call of the event store that changes files goes through here.

A crash laboratory puts its own ``Seam`` into ``disk.seam`` and can then count, stop, tear or fail each
call. The functions below only add what every caller needs: whole writes, and folders that are synced
after a name in them changed. Calls interrupted by signals are retried by Python itself (PEP 475).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from functools import wraps
from io import FileIO

from layerlog.eventstore.errors import DiskError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

ZEROS = bytes(1 << 20)
FS_IOC_GETFLAGS = 0x80086601  # ioctl_iflags(2)
FS_IOC_SETFLAGS = 0x40086602
FS_NOCOW_FL = 0x00800000
NO_FILE = "something that is no file"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = frozenset((*NO_ROOM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM, errno.EINTR))


class Seam:
    """The raw system calls. Replace ``disk.seam`` by a subclass to watch or to fail them."""

    open: Callable[..., int] = staticmethod(os.open)
    pwrite: Callable[..., int] = staticmethod(os.pwrite)
    write: Callable[..., int] = staticmethod(os.write)
    fdatasync: Callable[..., None] = staticmethod(os.fdatasync)
    fsync: Callable[..., None] = staticmethod(os.fsync)
    ftruncate: Callable[..., None] = staticmethod(os.ftruncate)
    rename: Callable[..., None] = staticmethod(os.rename)
    unlink: Callable[..., None] = staticmethod(os.unlink)
    mkdir: Callable[..., None] = staticmethod(os.mkdir)
    rmdir: Callable[..., None] = staticmethod(os.rmdir)
    symlink: Callable[..., None] = staticmethod(os.symlink)


seam = Seam()


def typed(function: Callable[P, T]) -> Callable[P, T]:
    """What the disk refuses becomes a DiskError, which still is an OSError with its errno."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if error.errno not in _REFUSED or isinstance(error, StoreError):
                raise
            raise DiskError(what=function.__name__.replace("_", " "), cause=error) from error

    return call


@typed
def open_to_write(path: str, flags: int = 0, mode: int = 0o600) -> int:
    """A descriptor for reading and writing; add os.O_CREAT and others in *flags*."""
    return seam.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, mode)


def open_to_read(path: str) -> int:
    """A descriptor of one of the store's files. Raises: FileNotFoundError."""
    return open_file(path, os.O_RDONLY)


def open_file(path: str, flags: int) -> int:
    """The same with *flags*. What stands there and is no file (a link, a pipe, a folder) counts as missing.

    A pipe would be waited at without end, a link lead to somebody else's file.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise FileNotFoundError(errno.ENOENT, NO_FILE, path) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, NO_FILE, path)
    return fd


def reading(path: str) -> FileIO:
    """The same as a file object, without a buffer: ``read`` gives all of it."""
    return FileIO(open_to_read(path), "rb")


def is_strange(path: str) -> bool:
    """Whether something that is no file stands in the place of one."""
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def make_way(path: str) -> None:
    """Move what stands in the place of a file, and is none, beside it, where nothing looks."""
    if is_strange(path):
        seam.rename(path, f"{path}.strange.{time.time_ns()}")


@typed
def pwrite_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of *data* at *offset*, however short the single writes are."""
    written = seam.pwrite(fd, data, offset)
    while written < len(data):
        rest = memoryview(data)[written:]
        more = seam.pwrite(fd, rest, offset + written)
        if more == 0:
            raise OSError(errno.EIO, "the file takes no more bytes")
        written += more


@typed
def write_all(fd: int, data: bytes) -> None:
    """Append all of *data*."""
    written = seam.write(fd, data)
    while written < len(data):
        written += seam.write(fd, memoryview(data)[written:])


def write_zeros(fd: int, offset: int, size: int) -> None:
    """Write *size* zero bytes at *offset*: real blocks, so that later writes there change no metadata."""
    while size > 0:
        part = min(size, len(ZEROS))
        pwrite_all(fd, ZEROS if part == len(ZEROS) else ZEROS[:part], offset)
        offset += part
        size -= part


@typed
def fdatasync(fd: int) -> None:
    """The contents of *fd*, and what is needed to read them, are on stable storage once this returns."""
    seam.fdatasync(fd)


@typed
def fsync(fd: int) -> None:
    """As fdatasync, and all metadata."""
    seam.fsync(fd)


@typed
def sync_folder(path: str) -> None:
    """Names that were made, renamed or removed in this folder are durable once this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        seam.fsync(fd)
    finally:
        os.close(fd)


@typed
def make_folder(path: str, mode: int = 0o700) -> bool:
    """Make one folder; False when it was there."""
    try:
        seam.mkdir(path, mode)
    except FileExistsError:
        return False
    return True


def make_folders(path: str, mode: int = 0o700) -> None:
    """Make a folder and what is missing above it, each one's name durable. One whose name cannot be made durable is not there."""
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        made = make_folder(folder, mode)
        try:
            sync_folder(os.path.dirname(folder) or ".")
        except BaseException:
            if made:
                with suppress(OSError):  # somebody may have put something into it
                    os.rmdir(folder)
            raise


def make_folders_below(top: str, path: str) -> None:
    """The same for *path* in *top*, with the names of those that are there flushed, too: who made them may not have come to that."""
    make_folders(path)
    while path != top:
        path = os.path.dirname(path)
        sync_folder(path)


def sync_path(folder: str) -> None:
    """Make the names in *folder*, its own, and those of the folders above it on that file system durable.

    Whoever made them may have been killed before flushing them, and everybody after just finds them there.
    """
    device = os.stat(folder).st_dev
    while os.stat(folder).st_dev == device:
        with suppress(PermissionError):  # above what is ours, where others rule
            sync_folder(folder)
        if folder == os.path.dirname(folder):
            break
        folder = os.path.dirname(folder)


@typed
def rename(old: str, new: str) -> None:
    """Rename; durable after sync_folder of both folders."""
    seam.rename(old, new)


@typed
def symlink(target: str, path: str) -> None:
    """Make a symlink; what is there already stays as it is."""
    with suppress(FileExistsError):
        seam.symlink(target, path)


@typed
def unlink(path: str) -> bool:
    """Remove a file's name; False when it was gone. A folder in its place is moved beside it."""
    try:
        seam.unlink(path)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        make_way(path)
    return True


@typed
def write_beside(path: str, data: bytes, *, durable: bool, mode: int = 0o600) -> None:
    """Put *data* at *path* as a whole or not at all: written aside, renamed, both durable if asked."""
    aside = f"{path}.{os.getpid()}.new"
    fd = open_to_write(aside, os.O_CREAT | os.O_TRUNC, mode)
    try:
        write_all(fd, data)
        if durable:
            fsync(fd)
    except BaseException:
        os.close(fd)
        unlink(aside)
        raise
    os.close(fd)
    make_way(path)
    rename(aside, path)
    if durable:
        sync_folder(os.path.dirname(path) or ".")


def without_copy_on_write(folder: str) -> bool:
    """Ask that new files in *folder* are overwritten in place (btrfs); False where that means nothing.

    Without it the first overwrite of a zero-filled segment on a full btrfs is refused.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return overwrite_in_place(fd)
    finally:
        os.close(fd)


def overwrite_in_place(fd: int) -> bool:
    """The same for one file that is still empty."""
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)), "little")
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, (flags | FS_NOCOW_FL).to_bytes(8, "little"))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EACCES):
            raise
        return False
    return True
