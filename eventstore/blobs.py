"""Blobs: big data, stored under its SHA-256. FORMAT.md §7.

A blob that a commit refers to was durable before the commit. Blobs that nothing refers to are collected under
the writer lock, so that no commit can refer to one that is just going.
"""

from __future__ import annotations

import os
from hashlib import sha256

from layerlog.eventstore import disk
from layerlog.eventstore.errors import BlobMissing, DigestMismatch
from layerlog.eventstore.ids import check_digest
from layerlog.eventstore.safety import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

CHUNK_BYTES = 1 << 20
ALGORITHM = "sha256"
ASIDE = "aside"


class Blobs:
    """The blob folder of a store: ``sha256/<first two>/<digest>``, and ``aside/`` for what is being written."""

    def __init__(self, folder: str, *, durable: bool = True) -> None:
        self.folder = folder
        self.durable = durable
        self._named: set[str] = set()

    def path(self, digest: str) -> str:
        """Where that blob is or would be. Raises: InvalidDigest."""
        digits = check_digest(digest).partition(":")[2]
        return os.path.join(self.folder, ALGORITHM, digits[:2], digits)

    def put(self, data: bytes | BinaryIO) -> tuple[str, int]:
        """Store bytes or a stream; its digest and size. Durable when this returns; equal contents are stored once."""
        if isinstance(data, bytes):
            digest = f"{ALGORITHM}:{sha256(data).hexdigest()}"
            if self._has_whole(digest, len(data)):
                return digest, len(data)
        with self.writer() as out:
            for chunk in _chunks(data):
                out.write(chunk)
            return out.finish()

    def writer(self) -> BlobWriter:
        """Write a blob piece by piece: ``with blobs.writer() as out: out.write(...); digest, size = out.finish()``."""
        return BlobWriter(self)

    def _open_aside(self) -> tuple[str, int]:
        folder = os.path.join(self.folder, ASIDE)
        aside = os.path.join(folder, os.urandom(12).hex())
        try:
            return aside, disk.open_to_write(aside, os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            disk.make_folders(folder)
            return aside, disk.open_to_write(aside, os.O_CREAT | os.O_EXCL)

    def _place(self, aside: str, digest: str) -> None:
        path = self.path(digest)
        folder = os.path.dirname(path)
        disk.make_way(path)
        try:
            disk.rename(aside, path)
        except FileNotFoundError:
            disk.make_folders(folder)
            disk.rename(aside, path)
        if self.durable:
            self._sync(folder)

    def _sync(self, folder: str) -> None:
        """Make the names in *folder* durable, and, once, its own and those above: whoever made them may not have come to that."""
        disk.sync_folder(folder)
        while folder not in self._named and len(folder) >= len(self.folder):
            disk.sync_folder(os.path.dirname(folder))
            self._named.add(folder)
            folder = os.path.dirname(folder)

    def _has_whole(self, digest: str, size: int) -> bool:
        """Whether the blob is there; one that was torn or has rotted is not, and is replaced: who puts it is told that it is kept.

        Its folder is synced, since whoever renamed it may not have come to that.
        """
        try:
            with self.open(digest) as file:
                whole = os.fstat(file.fileno()).st_size == size and _digest_of(file) == digest
        except BlobMissing:
            return False
        if whole and self.durable:
            self._sync(os.path.dirname(self.path(digest)))
        return whole

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """Bytes. Raises: BlobMissing."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise BlobMissing(digest=digest) from None

    def open(self, digest: str) -> BinaryIO:
        """The blob as a stream, not verified. Raises: BlobMissing."""
        try:
            return open(disk.open_to_read(self.path(digest)), "rb")
        except FileNotFoundError:
            raise BlobMissing(digest=digest) from None

    def read(self, digest: str) -> bytes:
        """The whole blob, verified. Raises: BlobMissing, DigestMismatch."""
        with self.open(digest) as file:
            data = file.read()
        found = f"{ALGORITHM}:{sha256(data).hexdigest()}"
        if found != digest:
            raise DigestMismatch(where=self.path(digest), expected=digest, found=found)
        return data

    def digests(self) -> Iterator[str]:
        """All blobs, in order."""
        top = os.path.join(self.folder, ALGORITHM)
        for folder in _names(top):
            for name in _names(os.path.join(top, folder)):
                yield f"{ALGORITHM}:{name}"

    def damaged(self) -> Iterator[str]:
        """Digests of the blobs whose contents are not theirs; reads everything."""
        for digest in self.digests():
            with self.open(digest) as file:
                if _digest_of(file) != digest:
                    yield digest

    def collect(self, is_referenced: Callable[[str], bool], younger_than_ns: int = 0) -> tuple[list[str], int]:
        """Remove blobs that nothing refers to; their digests and their bytes.

        Only under the writer lock (``Ledger.exclusively``), caught up: a commit verifies under the same lock
        that what it refers to is there. Blobs changed after *younger_than_ns* (Unix time) stay: somebody
        may be about to refer to them and would have to write them again.
        """
        removed, freed = [], 0
        for digest in list(self.digests()):
            path = self.path(digest)
            if is_referenced(digest):
                continue
            found = os.stat(path)
            if younger_than_ns and found.st_mtime_ns > younger_than_ns:
                continue
            disk.unlink(path)
            removed.append(digest)
            freed += found.st_size
        return removed, freed

    def sweep_aside(self, older_than_ns: int) -> list[str]:
        """Remove what writers that died left half written before that Unix time; their names."""
        folder = os.path.join(self.folder, ASIDE)
        removed = []
        for name in _names(folder):
            path = os.path.join(folder, name)
            try:
                if os.stat(path).st_mtime_ns < older_than_ns and disk.unlink(path):
                    removed.append(name)
            except FileNotFoundError:
                continue
        return removed


class BlobWriter:
    """A blob being written. A context manager: without ``finish`` nothing is left behind."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._total = sha256()
        self._size = 0
        self._aside, self._fd = blobs._open_aside()

    def write(self, data: bytes) -> int:
        """Add bytes; returns how many."""
        self._total.update(data)
        self._size += len(data)
        disk.write_all(self._fd, data)
        return len(data)

    def finish(self) -> tuple[str, int]:
        """Put the blob in its place; its digest and size. Durable when this returns."""
        if self._blobs.durable:
            disk.fsync(self._fd)
        digest = f"{ALGORITHM}:{self._total.hexdigest()}"
        if not self._blobs._has_whole(digest, self._size):
            self._blobs._place(self._aside, digest)
            self._aside = ""
        self.close()
        return digest, self._size

    def close(self) -> None:
        """Remove what was not finished."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        if self._aside:
            disk.unlink(self._aside)
            self._aside = ""

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _names(folder: str) -> list[str]:
    try:
        return names_in(folder)
    except NotADirectoryError:
        return []


def _digest_of(file: BinaryIO) -> str:
    total = sha256()
    for chunk in _chunks(file):
        total.update(chunk)
    return f"{ALGORITHM}:{total.hexdigest()}"


def _chunks(data: bytes | BinaryIO) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    while chunk := data.read(CHUNK_BYTES):
        yield chunk
