"""System calls that Python's ``os`` does not have, by ctypes; each names its man page.

All of them raise OSError with the kernel's errno and are repeated on EINTR. Only drivers import
this, and only inside functions that need it, because ctypes costs a plain command some milliseconds.
"""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]

# The numbers are those of the generic table that all newer calls share on every architecture.
_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 428, 429, 430, 431, 432
_NR_OPENAT2, _NR_MOUNT_SETATTR = 437, 442

AT_FDCWD = -100
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 0x02, 0x04, 0x10
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC = 1, 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_IDMAP = 1, 0x100000
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
FICLONE = 0x40049409
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
FUSE_MAGIC = 0x65735546


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def _call(number: int, *arguments: object) -> int:
    """syscall(2): the result, or OSError; repeated while a signal interrupts it."""
    while True:
        result = int(_libc.syscall(ctypes.c_long(number), *arguments))
        if result != -1:
            return result
        _raise_unless_interrupted()


def _raise_unless_interrupted() -> None:
    number = ctypes.get_errno()
    if number != errno.EINTR:
        raise OSError(number, os.strerror(number))


def openat2(folder_fd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): open *path* below *folder_fd* under the rules of *resolve*. EAGAIN (a racing rename) is repeated."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(32):
        try:
            return _call(_NR_OPENAT2, ctypes.c_int(folder_fd), ctypes.c_char_p(path), ctypes.byref(how), ctypes.c_size_t(24))
        except BlockingIOError:
            if attempt == 31:
                raise
    raise AssertionError("unreachable")


def syncfs(fd: int) -> None:
    """syncfs(2): write back the whole file system of *fd*; since Linux 5.8 reports errors that happened after *fd* was opened."""
    while _libc.syncfs(ctypes.c_int(fd)) == -1:
        _raise_unless_interrupted()


def file_system_type(fd: int) -> int:
    """fstatfs(2): the magic number of the file system that *fd* is on."""
    room = (ctypes.c_long * 32)()
    while _libc.fstatfs(ctypes.c_int(fd), room) == -1:
        _raise_unless_interrupted()
    return int(room[0]) & 0xFFFFFFFF


def renameat2(old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> None:
    """renameat2(2)."""
    names = ctypes.c_int(old_fd), ctypes.c_char_p(old), ctypes.c_int(new_fd), ctypes.c_char_p(new)
    while _libc.renameat2(*names, ctypes.c_uint(flags)) == -1:
        _raise_unless_interrupted()


def mount(source: bytes, target: bytes, kind: bytes, flags: int, data: bytes = b"") -> None:
    """mount(2). *data* beyond one page is cut by the kernel: the caller sees to that."""
    while _libc.mount(source, target, kind, flags, data or None) == -1:
        _raise_unless_interrupted()


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    while _libc.umount2(target, flags) == -1:
        _raise_unless_interrupted()


def unshare(flags: int) -> None:
    """unshare(2). CLONE_NEWUSER fails with EINVAL in a process that has a second thread."""
    while _libc.unshare(ctypes.c_int(flags)) == -1:
        _raise_unless_interrupted()


def fsopen(kind: bytes) -> int:
    """fsopen(2): a context for a new mount of file system *kind*."""
    return _call(_NR_FSOPEN, ctypes.c_char_p(kind), ctypes.c_uint(FSOPEN_CLOEXEC))


def fsconfig(fd: int, command: int, key: bytes | None = None, value: bytes | None = None) -> None:
    """fsconfig(2): one parameter (at most 255 bytes of value), or FSCONFIG_CMD_CREATE."""
    _call(_NR_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(command), ctypes.c_char_p(key), ctypes.c_char_p(value), ctypes.c_int(0))


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a descriptor of the mount that the context describes."""
    return _call(_NR_FSMOUNT, ctypes.c_int(fd), ctypes.c_uint(FSMOUNT_CLOEXEC), ctypes.c_uint(attributes))


def move_mount(fd: int, target: bytes) -> None:
    """move_mount(2): attach the mount *fd* at *target*."""
    source = ctypes.c_int(fd), ctypes.c_char_p(b"")
    _call(_NR_MOVE_MOUNT, *source, ctypes.c_int(AT_FDCWD), ctypes.c_char_p(target), ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH))


def open_tree(path: bytes) -> int:
    """open_tree(2): a detached copy of the mount at *path*."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    return _call(_NR_OPEN_TREE, ctypes.c_int(AT_FDCWD), ctypes.c_char_p(path), ctypes.c_uint(flags))


def mount_setattr(fd: int, set_: int, clear: int = 0, user_namespace_fd: int = 0) -> None:
    """mount_setattr(2) on the mount *fd*; with MOUNT_ATTR_IDMAP the map is that of *user_namespace_fd*."""
    attributes = _MountAttr(set_, clear, 0, user_namespace_fd)
    mounted = ctypes.c_int(fd), ctypes.c_char_p(b""), ctypes.c_uint(AT_EMPTY_PATH)
    _call(_NR_MOUNT_SETATTR, *mounted, ctypes.byref(attributes), ctypes.c_size_t(32))


def clone_file(source_fd: int, target_fd: int) -> None:
    """ioctl_ficlone(2): *target_fd* shares all blocks of *source_fd*."""
    import fcntl

    fcntl.ioctl(target_fd, FICLONE, source_fd)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """fallocate(2): free these bytes of *fd*, which read as zeros from then on; the size stays."""
    flags = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
    while _libc.fallocate64(ctypes.c_int(fd), ctypes.c_int(flags), ctypes.c_int64(offset), ctypes.c_int64(length)) == -1:
        _raise_unless_interrupted()
