"""What is imported: a folder of the host, or a tar, as a tar stream that can be had twice.

The first stream is hashed (the layer's ID follows from its digest), the second unpacked. Both being equal proves that
nothing changed in between; a folder is watched besides, so that the path that changed can be named.
"""

from __future__ import annotations

import io
import os
import stat
from typing import IO, TYPE_CHECKING, Any, Protocol

from layerlog.drivers import tarwrite, whiteouts
from layerlog.drivers.resolve import open_below, open_file_at
from layerlog.drivers.trees import View
from layerlog.eventstore.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

Hole = tuple[int, int]
"""Offset and length in bytes."""

# What the kernel invents while it is read is no content: proc, sysfs, devpts, cgroup, cgroup2, debugfs, tracefs, securityfs,
# bpf, pstore, efivarfs (statfs(2)).
_INVENTED = frozenset(
    (0x9FA0, 0x62656572, 0x1CD1, 0x27E0EB, 0x63677270, 0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11, 0x6165676C, 0xDE5E81E4)
)


class ImportSource(Protocol):
    """Something to import."""

    left_out: list[tuple[bytes, str]]
    """(path, why) of what cannot be in a layer; known when the first stream has ended."""
    sparse: dict[bytes, list[Hole]]
    """Holes of regular files, to be made again where they were unpacked; known as ``left_out`` is."""
    newest: int | None
    """The newest time in it, seconds since 1970; None where that is not known."""

    def stream(self) -> IO[bytes]:
        """The tar from its beginning. Reading raises InvalidRequest when something changed while it was read."""
        ...


class FolderSource:
    """A folder as a tar: sorted, numeric owners, whole seconds, xattrs, hard links, devices; the same bytes for the same folder.

    *with_root*: the folder's own mode and owner are the layer's. Files named ``.wh.…`` would mean deletions in every image
    format, and sockets mean nothing without their process: both are left out, and said.
    """

    def __init__(self, path: str, with_root: bool) -> None:
        self.path, self._with_root = path, with_root
        self._at = b""  # what is being read, for the error that may come
        self.left_out: list[tuple[bytes, str]] = []
        self.sparse: dict[bytes, list[Hole]] = {}
        self.newest: int | None = 0

    def stream(self) -> IO[bytes]:
        self.left_out, self.sparse, self.newest = [], {}, 0
        return io.BufferedReader(Pieces(self._pieces()), 1 << 20)

    def _pieces(self) -> Iterator[bytes]:
        try:
            yield from self._folders()
        except OSError as failed:
            at = os.path.join(self.path, os.fsdecode(self._at)) if self._at else self.path
            raise InvalidRequest(f"{at} cannot be read: {failed.strerror}") from failed
        yield tarwrite.END

    def _folders(self) -> Iterator[bytes]:
        """Each folder's entries together, those of a folder inside it later: one folder is open at a time, however deep it goes."""
        writer = tarwrite.DiffWriter(View([self.path], overlay=False))
        todo = [b""]
        device = os.stat(self.path).st_dev
        while todo:
            path = self._at = todo.pop()
            fd = open_below(self.path, path)
            try:
                before = os.fstat(fd)
                if before.st_dev != device and _is_invented(fd):
                    self.left_out.append((path, "contents of a file system of the kernel's own"))
                    continue
                if not path and self._with_root:
                    self._seen(before)
                    yield from writer.path(fd, b".", b".", before)
                inner: list[bytes] = []
                yield from self._entries(writer, fd, path, inner)
                self._unchanged(path, before, os.fstat(fd))
                todo += reversed(inner)
            finally:
                os.close(fd)

    def _entries(self, writer: tarwrite.DiffWriter, fd: int, path: bytes, inner: list[bytes]) -> Iterator[bytes]:
        for base in sorted(map(os.fsencode, os.listdir(fd))):
            below = self._at = path + b"/" + base if path else base
            found = self._stat(fd, base, below)
            if base.startswith(whiteouts.PREFIX):
                self.left_out.append((below, "name that means a deletion in an image"))
                continue
            if stat.S_ISSOCK(found.st_mode):
                self.left_out.append((below, "socket"))
                continue
            self._seen(found)
            if stat.S_ISREG(found.st_mode) and found.st_blocks * 512 < found.st_size:
                self._note_holes(fd, base, below, found)
            yield from writer.path(fd, below, base, found)
            if stat.S_ISDIR(found.st_mode):
                inner.append(below)
            else:
                self._unchanged(below, found, self._stat(fd, base, below))

    def _stat(self, fd: int, base: bytes, path: bytes) -> os.stat_result:
        try:
            return os.stat(base, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            raise self._changed(path) from None

    def _seen(self, found: os.stat_result) -> None:
        self.newest = max(self.newest or 0, int(found.st_mtime))

    def _note_holes(self, fd: int, base: bytes, path: bytes, found: os.stat_result) -> None:
        file = open_file_at(fd, base)
        try:
            self.sparse[path] = list(holes_of(file, found.st_size))
        finally:
            os.close(file)

    def _unchanged(self, path: bytes, before: os.stat_result, after: os.stat_result) -> None:
        marks = [(one.st_ino, one.st_size, one.st_mtime_ns) for one in (before, after)]
        if marks[0] != marks[1]:
            raise self._changed(path)

    def _changed(self, path: bytes) -> InvalidRequest:
        where = os.path.join(self.path, os.fsdecode(path)) if path else self.path
        return InvalidRequest(f"{where} changed while it was read; nothing was imported")


class TarSource:
    """A tar in a file that can be read twice, compressed or not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._start = file, file.tell()
        self.left_out: list[tuple[bytes, str]] = []
        self.sparse: dict[bytes, list[Hole]] = {}
        self.newest: int | None = None

    def stream(self) -> IO[bytes]:
        self._file.seek(self._start)
        return self._file


class Pieces(io.RawIOBase):
    """A readable stream over pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def holes_of(file: int, size: int) -> Iterator[Hole]:
    """Where an open file has no blocks (lseek(2), SEEK_HOLE). A file system that cannot say has none."""
    at = 0
    while at < size:
        start = os.lseek(file, at, os.SEEK_HOLE)
        if start >= size:
            return
        try:
            at = os.lseek(file, start, os.SEEK_DATA)
        except OSError:  # ENXIO: no data up to the end
            at = size
        yield start, at - start


def make_holes(root: str, sparse: dict[bytes, list[Hole]]) -> None:
    """Give files below *root* the holes they had. The bytes stay zeros and the times as they are. What a disk cannot do is left."""
    from layerlog.drivers.syscalls import punch_hole

    for path, holes in sparse.items():
        parent, _, base = path.rpartition(b"/")
        folder = open_below(root, parent)
        try:
            file = os.open(base, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            found = os.fstat(file)
            for offset, length in holes:
                punch_hole(file, offset, length)
            os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
        except OSError:
            return  # a layer without holes is right as well; it only takes more room
        finally:
            os.close(file)


def _is_invented(fd: int) -> bool:
    from layerlog.drivers.syscalls import file_system_type

    return file_system_type(fd) in _INVENTED
