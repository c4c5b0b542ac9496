"""Segments: the files of a journal, zero-filled in full before they are used. FORMAT.md §2.

Zero-filled, since an fdatasync that only overwrites blocks writes no metadata. A segment is never
recycled, shortened or changed before its end, and what its successor's header says about where it
ended is final: bytes after that were never acknowledged.
"""

from __future__ import annotations

import os
import struct

from layerlog.eventstore import disk
from layerlog.eventstore.crc32c import crc32c
from layerlog.eventstore.errors import UnknownFormat
from layerlog.eventstore.position import Position

MAGIC = b"\xffLLsegmt"
VERSION = 1
HEADER_BYTES = 128
FIRST_BYTES = 128 << 10
FIRST_RESERVE_BYTES = 32 << 10
GROWTH = 4
BYTES_MAX = 8 << 20
RESERVE_BYTES = 64 << 10
SUFFIX = ".segment"
BASE_SUFFIX = ".base"
ASIDE = "next.new"

WHY_FIRST, WHY_FULL, WHY_POISONED, WHY_DAMAGED, WHY_COMPACTED = range(5)
WHY_UNKNOWN = -1  # never written: a header that cannot be read

_HEAD = struct.Struct("<8sI")
_BODY = struct.Struct("<HHQQQQQI4x32s16sQ8x")
assert _HEAD.size + _BODY.size == HEADER_BYTES


class Segment:
    """What a segment's header says."""

    __slots__ = (
        "number",
        "first_sequence",
        "size",
        "reserve_bytes",
        "before_end",
        "before_back",
        "before_hash",
        "journal_id",
        "time_ns",
        "why",
        "path",
        "mended",
    )

    def __init__(
        self,
        number: int,
        first_sequence: int,
        size: int,
        reserve_bytes: int,
        before_end: int,
        before_back: int,
        before_hash: bytes,
        journal_id: bytes,
        time_ns: int,
        why: int,
    ) -> None:
        self.number = number
        self.first_sequence = first_sequence
        self.size = size
        """Of the file, in bytes, the reserve included."""
        self.reserve_bytes = reserve_bytes
        self.before_end = before_end
        """Where the segment before ended: its bytes from there on count for nothing."""
        self.before_back = before_back
        self.before_hash = before_hash
        self.journal_id = journal_id
        self.time_ns = time_ns
        self.why = why
        self.path = ""
        self.mended = False
        """Read from a header with one flipped bit."""

    def start(self) -> Position:
        """The point before the first frame."""
        return Position(self.number, HEADER_BYTES, self.first_sequence - 1, self.time_ns, self.before_hash, 0)

    def header(self) -> bytes:
        """The bytes at the start of the file."""
        body = _BODY.pack(
            VERSION,
            self.why,
            self.number,
            self.first_sequence,
            self.size,
            self.reserve_bytes,
            self.before_end,
            self.before_back,
            self.before_hash,
            self.journal_id,
            self.time_ns,
        )
        return _HEAD.pack(MAGIC, crc32c(body)) + body


def parse(header: bytes, path: str) -> Segment | None:
    """A segment's header taken apart; None when it is damaged. Raises: UnknownFormat."""
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC) or crc32c(header[12:]) != int.from_bytes(header[8:12], "little"):
        return None
    return _unpack(header, path)


def mend(header: bytes, path: str) -> Segment | None:
    """A header with one flipped bit set right; None when there is no such bit."""
    for bit in range(len(header) * 8):
        at = bit >> 3
        found = parse(header[:at] + bytes((header[at] ^ 1 << (bit & 7),)) + header[at + 1 :], path)
        if found is not None:
            found.mended = True
            return found
    return None


def _unpack(header: bytes, path: str) -> Segment:
    version, why, number, first, size, reserve, end, back, before, journal_id, time_ns = _BODY.unpack_from(header, _HEAD.size)
    if version > VERSION:
        raise UnknownFormat(what="the journal", found=version, known=VERSION)
    segment = Segment(number, first, size, reserve, end, back, before, journal_id, time_ns, why)
    segment.path = path
    return segment


def file_name(number: int, first_sequence: int) -> str:
    """``<number>-<sequence of the first frame>.segment``, so that a listing is an index."""
    return f"{number:08d}-{first_sequence:016d}{SUFFIX}"


def base_name(number: int, first_sequence: int) -> str:
    """Of a base: the segment in which the journal goes on, and the first commit after the base."""
    return f"{number:08d}-{first_sequence:016d}{BASE_SUFFIX}"


def listing(folder: str) -> list[tuple[int, int, str]]:
    """Number, first sequence and file name of each segment, in order; without those that a base stands for."""
    for _ in range(2):
        names = os.listdir(folder)
        found, based = numbered(names, SUFFIX), numbered(names, BASE_SUFFIX)
        if based:
            return [entry for entry in found if entry[0] >= based[-1][0]]
        if not found or found[0][0] == 1:
            break  # else a base may have been put there while we looked
    return found


def bases(folder: str) -> list[tuple[int, int, str]]:
    """The same of the bases that compaction made (base.py); the last one counts."""
    return numbered(os.listdir(folder), BASE_SUFFIX)


def compacted(folder: str) -> list[tuple[int, int, str]]:
    """Segments that a base stands for and that were not moved away yet."""
    names = os.listdir(folder)
    based = numbered(names, BASE_SUFFIX)
    return [entry for entry in numbered(names, SUFFIX) if based and entry[0] < based[-1][0]]


def numbered(names: list[str], suffix: str) -> list[tuple[int, int, str]]:
    """Number, first sequence and name of those *names* that are segments or bases, in order."""
    found = []
    for name in names:
        number, _, first = name.removesuffix(suffix).partition("-")
        if name.endswith(suffix) and number.isdigit() and first.isdigit():
            found.append((int(number), int(first), name))
    found.sort()
    return found


def sizes_after(bytes_before: int, needed: int) -> list[tuple[int, int]]:
    """Sizes to try for the next segment as (bytes, reserve in them), best first; the later ones for a fuller disk."""
    least = needed + HEADER_BYTES + RESERVE_BYTES
    wanted = max(min(bytes_before * GROWTH, BYTES_MAX), _rounded(least))
    tries = [wanted]
    while wanted // GROWTH >= max(FIRST_BYTES, _rounded(least)):
        wanted //= GROWTH
        tries.append(wanted)
    return [(size, RESERVE_BYTES) for size in tries]


def _rounded(size: int) -> int:
    return (size + 0xFFFF) & ~0xFFFF


def make(folder: str, segment: Segment, first_frame: bytes = b"", *, durable: bool) -> None:
    """Make a segment: zero-filled, its header and perhaps a first frame in it, under its name.

    All of it is durable when this returns. Only under the writer lock.
    """
    aside = os.path.join(folder, ASIDE)
    segment.path = os.path.join(folder, file_name(segment.number, segment.first_sequence))
    fd = disk.open_to_write(aside, os.O_CREAT | os.O_TRUNC)
    try:
        if durable:
            disk.write_zeros(fd, 0, segment.size)
        else:
            disk.seam.ftruncate(fd, segment.size)
        disk.pwrite_all(fd, segment.header() + first_frame, 0)
        if durable:
            disk.fsync(fd)
        disk.rename(aside, segment.path)
        if durable:
            disk.sync_folder(folder)
    except BaseException:
        disk.unlink(aside)
        raise
    finally:
        os.close(fd)
