"""Locks that the kernel drops when their holder dies: open file description locks (fcntl(2), F_OFD_SETLK).

They belong to the open file, not to the process, so two Stores in one process exclude each other too, and
closing some other descriptor of the same file drops nothing. A forked child shares them: it must close its
copy and never unlock (``ledger`` sees to that).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")
_EXCLUSIVE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_SHARED = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
_NONE = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)


def lock(fd: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock the whole file; False when *wait* is off and somebody else holds it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _SHARED if shared else _EXCLUSIVE)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES) and not wait:
            return False
        raise
    return True


def lock_byte(fd: int, offset: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock one byte of the file, which need not be there; False when *wait* is off and somebody else holds it."""
    wanted = _FLOCK.pack(fcntl.F_RDLCK if shared else fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES) and not wait:
            return False
        raise
    return True


def unlock(fd: int) -> None:
    """Drop the lock."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _NONE)


def is_held(fd: int) -> bool:
    """Whether somebody else holds the file, shared or not."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _EXCLUSIVE)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
