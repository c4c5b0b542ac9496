"""Beside the unpacking: the record that gives the same tar back (tar-split data)."""

from __future__ import annotations

import os

from layerlog.drivers import crc64
from layerlog.drivers.resolve import open_file_at
from layerlog.drivers.tarsplit import TarSplitWriter, inline_contents, proves
from layerlog.eventstore.errors import ArchiveLimit, InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from layerlog.drivers import tarfields, tarstream
    from layerlog.drivers.extract import Extractor

_REPLACED_MAX = 512


class Recorder:
    """Writes tar-split data beside the unpacking."""

    def __init__(self, reader: tarstream.TarReader, out: IO[bytes]) -> None:
        self._reader, self._out = reader, out
        self._start = out.tell() if out.seekable() else None
        self._writer = TarSplitWriter(out)
        self._crc = crc64.update
        self._replaced: list[tuple[bytes, int]] = []

    def headers(self) -> None:
        """What was read since the last content: padding and header blocks."""
        raw = self._reader.raw
        if raw:
            self._writer.segment(raw[0] if len(raw) == 1 else b"".join(raw))
            raw.clear()

    def member(self, member: tarfields.Member, size: int, crc: int) -> None:
        self._writer.file(member.name, size, crc)

    def unpack(self, extractor: Extractor, member: tarfields.Member) -> None:
        size = member.size
        if not size:
            extractor.add(member, ())
            self.member(member, 0, 0)
        elif not extractor.keeps_content(member):
            self.headers()  # a sparse map is raw bytes, too
            extractor.add(member, self._as_segments())
            self.member(member, 0, 0)
        else:
            content = self._reader.content(size)
            if content is not None:
                extractor.add(member, (content,))
                self.member(member, size, self._crc(content, 0))
            else:
                sums = [0]
                extractor.add(member, self._summed(sums))
                self.member(member, size, sums[0])

    def _summed(self, sums: list[int]) -> Iterator[memoryview]:
        crc = 0
        for piece in self._reader.pieces():
            crc = self._crc(piece, crc)
            yield piece
        sums[0] = crc

    def _as_segments(self) -> Iterator[memoryview]:
        for piece in self._reader.pieces():
            self._writer.segments(iter((piece,)))
            yield piece

    def tail(self) -> None:
        """What follows the end of the archive, in lines of at most 1 MiB."""
        pending = bytearray()
        for piece in self._reader.tail():
            pending += piece
            while len(pending) >= 1 << 20:
                self._writer.segment(bytes(pending[: 1 << 20]))
                del pending[: 1 << 20]
        if pending:
            self._writer.segment(bytes(pending))

    def save(self, name: bytes, folder: int) -> None:
        """A file of this archive is about to be replaced by a later member: hold its content open until the end."""
        if len(self._replaced) >= _REPLACED_MAX:
            raise ArchiveLimit(limit="replaced files", allowed=_REPLACED_MAX, offset=self._reader.offset)
        fd = open_file_at(folder, name.rpartition(b"/")[2])
        if os.fstat(fd).st_size:
            self._replaced.append((name, fd))
        else:
            os.close(fd)

    def close(self, extractor: Extractor) -> None:
        """Complete the data; contents that no file holds any more are put into it as raw bytes.

        Where members of the archive replaced others, the data are tried out, so that what was accepted can be given back.
        """
        self._writer.close()
        if not extractor.rearranged:
            return
        if self._start is not None and self._out.readable():
            if self._replaced:
                inline_contents(self._out, self._start, self._replaced)
            if proves(self._out, self._start, extractor.root):
                return
        raise InvalidArchive(why="duplicates of file paths not supported", offset=self._reader.offset)

    def abandon(self) -> None:
        for _, fd in self._replaced:
            os.close(fd)
        self._replaced.clear()
