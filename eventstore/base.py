"""The base of a compacted journal: the state after one commit, which stands for all commits up to it. FORMAT.md §2a.

A base is written by compaction in the form of a segment, and is the truth as segments are: checkpoints
are made from it and stay disposable. Its header repeats the place and the hash of the commit that it stands
after, which is still there, in the first segment that is kept: so the chain verifies across the cut.
"""

from __future__ import annotations

import os
from hashlib import sha256

from layerlog.eventstore import codec, disk, segments
from layerlog.eventstore.damage import Damage, Walk
from layerlog.eventstore.errors import CorruptRecord, JournalError
from layerlog.eventstore.frame import HEADER_BYTES, pack
from layerlog.eventstore.position import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

ASIDE = "base.new"
ARCHIVE = "archive"
"""The folder in ``journal/`` to which compaction moves segments, unless it is told another."""
FRAME_BYTES = 256 << 10
"""About so many bytes of rows stand in one frame."""


class Base:
    """A base as its header says it is; rows and archives are read when asked for."""

    __slots__ = ("path", "segment", "_first")

    def __init__(self, path: str) -> None:
        """Open it. Raises: JournalError (damaged beyond one bit), UnknownFormat, FileNotFoundError."""
        self.path = path
        with disk.reading(path) as file:
            header = file.read(segments.HEADER_BYTES)
        found = segments.parse(header, path) or segments.mend(header, path)
        if found is None or found.why != segments.WHY_COMPACTED:
            raise JournalError(f"{path}: no readable header, and the commits that it stands for are not in the journal")
        self.segment = found
        self._first: dict[str, Any] | None = None

    def after(self) -> Position:
        """The point in the journal that it stands for: after that commit the journal goes on."""
        found = self.segment
        return Position(found.number, found.before_end, found.first_sequence - 1, found.time_ns, found.before_hash, found.before_back)

    @property
    def sequence(self) -> int:
        """The last commit that it stands for."""
        return self.segment.first_sequence - 1

    @property
    def archives(self) -> list[str]:
        """Folders to which the segments before it were moved; relative ones lie in the journal's folder. Empty: they were dropped."""
        return list(self._head()["archives"])

    @property
    def redacted(self) -> bool:
        """Whether names and other private words in its rows were replaced, for a bundle."""
        return bool(self._head().get("redacted"))

    def _head(self) -> dict[str, Any]:
        if self._first is None:
            self._first = next(self._events())
        return self._first

    def rows(self) -> Iterator[tuple[bytes, Any]]:
        """All rows, in key order. Raises: CorruptRecord."""
        for event in self._events():
            for key, value in event["rows"]:
                yield key.encode("utf-8", "surrogateescape"), value

    def damage(self) -> Iterator[Damage]:
        """What in it is not as it was written."""
        fd = disk.open_to_read(self.path)
        try:
            if segments.parse(os.pread(fd, segments.HEADER_BYTES, 0), self.path) is None:
                yield Damage(self.segment.number, 0, segments.HEADER_BYTES, "a segment header", "a flipped bit", 1, 0, True)
            yield from (item for item in self._walk(fd) if isinstance(item, Damage))
        finally:
            os.close(fd)

    def _walk(self, fd: int) -> Walk:
        """Its frames are numbered from 1 on."""
        start = Position(self.segment.number, segments.HEADER_BYTES, 0, 0, self.segment.before_hash, 0)
        return Walk(fd, start, self.segment.size, self.segment.journal_id[:8], proven=True)

    def _events(self) -> Iterator[dict[str, Any]]:
        fd = disk.open_to_read(self.path)
        try:
            walk = self._walk(fd)
            for item in walk:
                if not isinstance(item, Damage):
                    assert item.payload is not None
                    yield codec.decode(item.payload)["events"][0]
                elif not item.mended:
                    raise CorruptRecord(segment=self.path, offset=item.offset, expected=item.expected, found=item.found)
            if walk.position.offset != self.segment.size:
                raise CorruptRecord(segment=self.path, offset=walk.position.offset, expected="a frame", found="its end")
        finally:
            os.close(fd)


def newest(folder: str) -> Base | None:
    """The base that the journal in this folder of segments begins with."""
    found = segments.bases(folder)
    return Base(os.path.join(folder, found[-1][2])) if found else None


def write(
    folder: str, rows: Iterable[tuple[bytes, Any]], after: Position, journal_id: bytes, archives: list[str], *, redacted: bool = False
) -> str:
    """Write a base aside, durable, for ``place``; its SHA-256. *after*: the point after the last commit that it stands for.

    *redacted*: the rows are not those that the commits gave, and it says so.
    """
    path = os.path.join(folder, ASIDE)
    fd = disk.open_to_write(path, os.O_CREAT | os.O_TRUNC)
    try:
        end = Position(after.segment, segments.HEADER_BYTES, 0, after.time_ns, after.hash, 0)
        for event in _events_of(rows, {"archives": archives, **({"redacted": True} if redacted else {})}):
            end = _write_frame(fd, end, codec.Encoder().encode([event], {}), journal_id)
        header = segments.Segment(
            after.segment,
            after.sequence + 1,
            end.offset,
            0,
            after.offset,
            after.back,
            after.hash,
            journal_id,
            after.time_ns,
            segments.WHY_COMPACTED,
        ).header()
        disk.pwrite_all(fd, header, 0)
        disk.fsync(fd)
    except BaseException:
        os.close(fd)
        disk.unlink(path)
        raise
    os.close(fd)
    disk.sync_folder(folder)
    return digest(path)


def place(folder: str) -> Base:
    """Give the base that was written aside its name: from now on the journal begins with it. Durable."""
    found = Base(os.path.join(folder, ASIDE))
    path = os.path.join(folder, segments.base_name(found.segment.number, found.segment.first_sequence))
    disk.rename(found.path, path)
    disk.sync_folder(folder)
    return Base(path)


def digest(path: str) -> str:
    """SHA-256 of a whole file."""
    with disk.reading(path) as file:
        found = sha256()
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def _events_of(rows: Iterable[tuple[bytes, Any]], more: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows by portions; the first one also says *more*. At least one."""
    portion: list[list[Any]] = []
    size = 0
    for key, value in rows:
        portion.append([key.decode("utf-8", "surrogateescape"), value])
        size += len(key) + len(repr(value))
        if size >= FRAME_BYTES:
            yield {"type": "RowsKept", **more, "rows": portion}
            portion, size, more = [], 0, {}
    if portion or more:
        yield {"type": "RowsKept", **more, "rows": portion}


def _write_frame(fd: int, end: Position, payload: bytes, journal_id: bytes) -> Position:
    """Put one more frame behind *end*; the point after it."""
    header = pack(
        payload,
        sequence=end.sequence + 1,
        time_ns=end.time_ns,
        offset=end.offset,
        back=end.back,
        batch_bytes=0,
        batch_place=0,
        previous=end.hash,
        tag=journal_id[:8],
    )
    disk.pwrite_all(fd, header + payload, end.offset)
    length = HEADER_BYTES + len(payload)
    return Position(end.segment, end.offset + length, end.sequence + 1, end.time_ns, sha256(header).digest(), length)
