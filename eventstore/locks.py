"""Locks: files that exclude, and the leases made of them."""

from __future__ import annotations

import os

from layerlog.eventstore import disk, ofd
from layerlog.eventstore.leases import Lease, Leases

__all__ = ["FileLock", "Lease", "Leases"]


class FileLock:
    """One file as a lock, made when missing. Not reentrant, not for threads.

    ``with FileLock(path):`` waits for it and closes it afterwards.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = disk.open_to_write(path, os.O_CREAT)

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; False when *wait* is off and another writer has it."""
        return ofd.lock(self.fd, wait=wait)

    def release(self) -> None:
        """Let the next writer in. A lock that was closed meanwhile is let go already."""
        if self.fd >= 0:
            ofd.unlock(self.fd)

    def close(self) -> None:
        """Close the file, which drops the lock unless a forked process shares it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> FileLock:
        try:
            self.acquire()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self.close()
