"""Which files of several trees are equal, and how do they come to share their blocks?

Files are grouped by what a hash or their size says; whether they are equal is decided by the kernel, which compares
before it shares (ioctl_fideduperange(2)), so that neither a weak hash nor a file that changes meanwhile does harm.
Source: contract/semantics.md §11.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

METHODS = ("crc", "size", "sha256")
_FIDEDUPERANGE = 0xC0189436
_RANGE = struct.Struct("=QQHHI qQQiI")  # struct file_dedupe_range with one file_dedupe_range_info
_ONCE = 16 << 20
"""Bytes that one call may compare (btrfs takes no more)."""
_TRIED = 16
"""Files of one size that are compared each with each; more are told apart by a hash first."""
_CANNOT = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV, errno.EPERM, errno.EROFS, errno.ETXTBSY))


def share_equal_files(roots: Iterable[str], method: str) -> int:
    """Let equal regular files below *roots* share their blocks; returns the bytes that are shared now, by this call or before."""
    shared = 0
    for paths in _groups(roots, method).values():
        unlike: list[int] = []  # one open file of each content that was met; more than one after a collision, or by size alone
        try:
            for path in paths:
                here = next((bytes_ for first in unlike if (bytes_ := _share(first, path))), 0)
                shared += here
                if not here:
                    unlike.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        finally:
            for fd in unlike:
                os.close(fd)
    return shared


def _groups(roots: Iterable[str], method: str) -> dict[object, list[str]]:
    """Paths of different files that may be equal, by size and hash; a file with several names counts once."""
    by_size: dict[tuple[int, int], list[str]] = {}
    seen: set[tuple[int, int]] = set()
    for root in roots:
        for path, found in _files(root):
            if (found.st_dev, found.st_ino) not in seen and found.st_size:
                seen.add((found.st_dev, found.st_ino))
                by_size.setdefault((found.st_dev, found.st_size), []).append(path)
    groups: dict[object, list[str]] = {}
    for key, paths in by_size.items():
        if len(paths) > 1:
            by_size_alone = method == "size" and len(paths) <= _TRIED
            for path in paths:
                groups.setdefault((key, "" if by_size_alone else _hash(path, method)), []).append(path)
    return {key: paths for key, paths in groups.items() if len(paths) > 1}


def _files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode):
                yield path, found


def _hash(path: str, method: str) -> object:
    import hashlib
    import zlib

    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if method == "sha256":
            return hashlib.file_digest(file, "sha256").digest()
        value = 0
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
        return value


def _share(source: int, path: str) -> int:
    """Bytes of *path* that are shared with *source* now; 0 where the file system cannot, or the two differ."""
    try:
        target = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _CANNOT or error.errno == errno.EACCES:
            return 0
        raise
    try:
        size, done = os.fstat(source).st_size, 0
        while done < size:
            request = bytearray(_RANGE.pack(done, min(_ONCE, size - done), 1, 0, 0, target, done, 0, 0, 0))
            fcntl.ioctl(source, _FIDEDUPERANGE, request)
            *_, shared, status, _ = _RANGE.unpack(request)
            if status or not shared:
                return done
            done += shared
        return done
    except OSError as error:
        if error.errno in _CANNOT:
            return 0
        raise
    finally:
        os.close(target)
