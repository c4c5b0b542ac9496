"""Every call with which the store changes files, in one place, so that a test can see, stop, cut or fail each.

``os`` itself is patched, in a forked child that ends afterwards; ``syscalls`` and ``disk.seam`` likewise.
Whether really every call goes through here is itself a test: strace sees the same calls (test_real_calls.py).
"""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

from layerlog.drivers import syscalls
from layerlog.eventstore import disk

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGING = (
    "open write pwrite sendfile copy_file_range ftruncate truncate posix_fallocate rename replace unlink remove rmdir mkdir symlink link "
    "mknod mkfifo chmod fchmod chown fchown lchown utime setxattr removexattr fsync fdatasync"
).split()
CHANGING_BY_CTYPES = "syncfs renameat2 mount umount move_mount clone_file openat2".split()
WRITES = frozenset(("write", "pwrite"))
SYNCS = frozenset(("fsync", "fdatasync", "syncfs"))
ROOM = frozenset(
    "open write pwrite sendfile copy_file_range posix_fallocate mkdir symlink link mknod mkfifo setxattr rename replace clone_file".split()
)
"""Calls that may need room on the disk."""
RETRIED = frozenset(
    "open write pwrite sendfile copy_file_range ftruncate posix_fallocate mknod mkfifo fchmod fchown fsync fdatasync".split()
)
"""Calls that Python repeats by itself when a signal interrupts them (PEP 475); ``syscalls`` does so for its own."""
_UNNAMED = os.O_TMPFILE & ~os.O_DIRECTORY
_CREATING = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)

real_write = os.write


class Watcher:
    """Sees each call; this one only counts them and notes their names."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        """Name and, for a write, its bytes."""

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((name, len(args[1]) if name in WRITES else 0))
        return real(*args, **kwargs)

    def acknowledge(self, sequence: int) -> None:
        """The caller was told that everything up to that commit is done."""


class Killer(Watcher):
    """SIGKILL at call *at*: before it, or, of a write, after the first *part* bytes of it."""

    def __init__(self, at: int, part: int | None = None) -> None:
        super().__init__()
        self.at, self.part = at, part

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.at -= 1
        if self.at < 0:
            if self.part is not None and name in WRITES:
                real(args[0], bytes(args[1][: self.part]), *args[2:], **kwargs)
            die()
        return real(*args, **kwargs)


class Failer(Watcher):
    """Call *at* fails with *number*; *lasting*: so does every later one that the error makes sense for."""

    def __init__(self, at: int, number: int, lasting: bool = False) -> None:
        super().__init__()
        self.at, self.number, self.lasting = at, number, lasting
        self.failed = ""

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.at -= 1
        if not self.number:
            return real(*args, **kwargs)
        full = self.number in (errno.ENOSPC, errno.EDQUOT)
        if full and ((name in ("open", "mkdir") and _is_there(args, kwargs)) or (name == "pwrite" and _has_room(args))):
            return real(*args, **kwargs)  # takes no room
        if (self.at == -1 or (self.lasting and self.at < -1)) and (not full or name in ROOM):
            self.failed = self.failed or name
            raise OSError(self.number, os.strerror(self.number))
        return real(*args, **kwargs)


def _is_there(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if kwargs.get("dir_fd") is not None:
        return False
    return not _flags(args, kwargs) & _UNNAMED and os.path.exists(args[0]) if len(args) > 1 else os.path.exists(args[0])


def _has_room(args: tuple[Any, ...]) -> bool:
    """Whether it writes into blocks that the file has: the journal's reserve."""
    return int(args[2]) + len(args[1]) <= os.fstat(args[0]).st_blocks * 512


def die() -> NoReturn:
    """As the kernel kills: no handler, no flush, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def install(watcher: Watcher) -> None:
    """Put *watcher* before every changing call of this process, for good: only for a child that ends soon."""
    for name in CHANGING:
        setattr(os, name, _watched(watcher, name, getattr(os, name)))
        if hasattr(disk.Seam, name):
            setattr(disk.Seam, name, staticmethod(getattr(os, name)))
    for name in CHANGING_BY_CTYPES:
        setattr(syscalls, name, _watched(watcher, name, getattr(syscalls, name)))


def _watched(watcher: Watcher, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if name == "open" and not _flags(args, kwargs) & _CREATING:
            return real(*args, **kwargs)
        if name == "openat2" and not args[2] & _CREATING:
            return real(*args, **kwargs)
        return watcher.call(name, real, args, kwargs)

    return call


def _flags(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return int(args[1] if len(args) > 1 else kwargs["flags"])
