"""Where images are written: a tar file or a folder, the same bytes every time, complete or not there at all.

Everything is written aside first; ``finish`` makes it durable and renames it. Members have owner 0, mode 0644
and the time 0, and come in the order they are written, which follows from the images alone.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from layerlog.contents import unnamed_file
from layerlog.drivers import tarwrite
from layerlog.eventstore import disk
from layerlog.eventstore.errors import InvalidRequest, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO, BinaryIO

    Named = Callable[[str], str]
    """Name of a blob in the archive, from its digest."""

_BLOCK = 512
_COPY_BYTES = 1 << 20
_OCTAL_MAX = 8**11


class Target(Protocol):
    """Takes blobs and documents; a blob of the same digest is kept once."""

    def folder(self, name: str) -> None:
        """Say that a folder is coming: skopeo, run by an ordinary user, fails on folders that an archive only implies."""
        ...

    def blob(self, pieces: Iterable[bytes], named: Named) -> tuple[str, int]:
        """Write a blob whose digest is known when it is written; its digest and size."""
        ...

    def finish(self) -> None:
        """Durable and in place when this returns; an older file in its place is replaced."""
        ...


@contextmanager
def open_target(path: str | BinaryIO, as_folder: bool, room: str) -> Iterator[Target]:
    """A target at *path*; left by an exception it leaves nothing, but what a stream got it has. *room*: a folder for what waits for it.

    Raises InvalidRequest, StoreError (the OSError is its cause).
    """
    if not isinstance(path, str):
        try:
            yield StreamTarget(path, room)
        except BrokenPipeError:
            raise
        except OSError as failed:
            raise StoreError(f"the stream cannot be written: {failed.strerror or failed}") from failed
        return
    path = os.path.abspath(path)
    _may_be_replaced(path, as_folder)
    aside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)[:200]}.{os.urandom(6).hex()}.new")
    try:
        target = FolderTarget(path, aside) if as_folder else TarTarget(path, aside)
        try:
            yield target
        finally:
            target.close()
    except OSError as failed:
        raise StoreError(f"{path} cannot be written: {failed.strerror or failed}") from failed


def _may_be_replaced(path: str, as_folder: bool) -> None:
    """Only a plain file may be replaced by an archive, and only an empty folder by a layout."""
    if not os.path.lexists(path):
        return
    if as_folder and not (os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path)):
        raise InvalidRequest(f"{path} exists already; give the name of a new folder")
    if not as_folder and not os.path.isfile(path):
        raise InvalidRequest(f"{path} is no plain file; give another name")


class TarTarget:
    """An archive. The header of a blob is written last, when its digest and size are known."""

    def __init__(self, path: str, aside: str) -> None:
        self._path, self._aside = path, aside
        self._file: IO[bytes] = os.fdopen(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "w+b")
        self._names: set[str] = set()

    def folder(self, name: str) -> None:
        self._file.write(_folder_header(name))

    def blob(self, pieces: Iterable[bytes], named: Named) -> tuple[str, int]:
        start = self._file.tell()
        self._file.write(bytes(_BLOCK))
        digest, size = _write(self._file, pieces)
        name = named(digest)
        if name in self._names:
            self._file.seek(start)
            self._file.truncate()
            return digest, size
        self._names.add(name)
        self._file.write(bytes(-size % _BLOCK))
        end = self._file.tell()
        header = _file_header(name, size)
        self._file.seek(start)
        self._file.write(header)
        self._file.seek(end)
        return digest, size

    def finish(self) -> None:
        self._file.write(tarwrite.END)
        self._file.flush()
        disk.fsync(self._file.fileno())
        disk.rename(self._aside, self._path)
        disk.sync_folder(os.path.dirname(self._path))
        self._aside = ""

    def close(self) -> None:
        """Remove what was not finished."""
        self._file.close()
        if self._aside:
            disk.unlink(self._aside)
            self._aside = ""


class StreamTarget:
    """An archive that is written onward only. Each blob waits in a file without a name until its digest and size are known."""

    def __init__(self, stream: BinaryIO, room: str) -> None:
        self._stream, self._room = stream, room
        self._names: set[str] = set()

    def folder(self, name: str) -> None:
        self._stream.write(_folder_header(name))

    def blob(self, pieces: Iterable[bytes], named: Named) -> tuple[str, int]:
        with unnamed_file(self._room) as spool:
            digest, size = _write(spool, pieces)
            name = named(digest)
            if name not in self._names:
                self._names.add(name)
                self._stream.write(_file_header(name, size))
                spool.seek(0)
                while data := spool.read(_COPY_BYTES):
                    self._stream.write(data)
                self._stream.write(bytes(-size % _BLOCK))
        return digest, size

    def finish(self) -> None:
        """All is written and handed on; whether it is durable is the reader's business."""
        self._stream.write(tarwrite.END)
        self._stream.flush()

    def close(self) -> None:
        """The stream is the caller's."""


def _folder_header(name: str) -> bytes:
    return tarwrite.header(tarwrite.Entry(name.encode() + b"/", b"5", mode=0o755))


def _file_header(name: str, size: int) -> bytes:
    """One block, since it is written when all that follows it is. From 8 GiB on the size is binary, as in GNU tar."""
    octal = size if size < _OCTAL_MAX else 0
    header = tarwrite.header(tarwrite.Entry(name.encode(), b"0", mode=0o644, size=octal))
    if len(header) != _BLOCK:
        raise InvalidRequest(f"{name} needs more room than one tar header has")
    if octal == size:
        return header
    header = header[:124] + b"\x80" + size.to_bytes(11, "big") + header[136:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


class FolderTarget:
    """A folder, e.g. an OCI layout."""

    def __init__(self, path: str, aside: str) -> None:
        self._path, self._aside = path, aside
        os.mkdir(aside)
        self._folders = {aside}

    def folder(self, name: str) -> None:
        self._make(os.path.join(self._aside, name))

    def blob(self, pieces: Iterable[bytes], named: Named) -> tuple[str, int]:
        beside = os.path.join(self._aside, ".new")
        with open(beside, "wb") as file:
            digest, size = _write(file, pieces)
            file.flush()
            disk.fsync(file.fileno())
        target = os.path.join(self._aside, named(digest))
        self._make(os.path.dirname(target))
        disk.rename(beside, target)
        return digest, size

    def _make(self, folder: str) -> None:
        if folder not in self._folders:
            self._make(os.path.dirname(folder))
            os.mkdir(folder)
            self._folders.add(folder)

    def finish(self) -> None:
        for folder in sorted(self._folders, reverse=True):
            disk.sync_folder(folder)
        try:
            disk.rename(self._aside, self._path)
        except OSError as there:
            if there.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise InvalidRequest(f"{self._path} exists already; give the name of a new folder") from there
        disk.sync_folder(os.path.dirname(self._path))
        self._aside = ""

    def close(self) -> None:
        """Remove what was not finished."""
        if self._aside:
            import shutil

            shutil.rmtree(self._aside)
            self._aside = ""


def _write(file: IO[bytes], pieces: Iterable[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        file.write(piece)
    return "sha256:" + digest.hexdigest(), size
