"""Walking a segment: whole frames in order, and damage found, named and stepped over.

Damage before the last proven offset loses the record it hit and no other: frames after it are found by
their magic. A single flipped bit loses nothing at all, since it can be computed from the checksums.
"""

from __future__ import annotations

import os
from hashlib import sha256

from layerlog.eventstore.crc32c import crc32c
from layerlog.eventstore.errors import UnknownFormat
from layerlog.eventstore.frame import HEADER_BYTES, MAGIC, VERSION, Frame, header_whole, version_of
from layerlog.eventstore.position import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 18
SEARCH_BYTES = 16 << 10
MENDABLE_PAYLOAD_BYTES = 16 << 10
REDACTED = b'{"redacted":"'


class Damage:
    """Bytes that are not what was written, and what they belonged to."""

    __slots__ = ("segment", "offset", "end", "expected", "found", "first_sequence", "last_sequence", "mended")

    def __init__(self, segment: int, offset: int, end: int, expected: str, found: str, first: int, last: int, mended: bool) -> None:
        self.segment = segment
        self.offset = offset
        self.end = end
        self.expected = expected
        self.found = found
        self.first_sequence = first
        self.last_sequence = last
        """Records that it hit; before first_sequence when none is lost."""
        self.mended = mended
        """The record could be restored in memory: nothing is lost, the bytes on disk are still wrong."""

    def __repr__(self) -> str:
        return (
            f"Damage(segment={self.segment}, offset={self.offset}, end={self.end}, expected={self.expected!r}, found={self.found!r},"
            f" sequences={self.first_sequence}..{self.last_sequence}, mended={self.mended})"
        )


class Walk:
    """One pass over a segment, from a position to an offset.

    ``proven``: every byte before *until* was durable, so what is not whole is damage. Otherwise the pass
    ends silently where the torn tail begins (``position`` says where), except that damage before the start
    of a later whole batch is still damage, because that batch proves it. ``last``: the sequence that the part ends
    with, where that is known, so that damage up to its end is named in full.
    """

    def __init__(self, fd: int, start: Position, until: int, tag: bytes, *, proven: bool, end_hash: bytes = b"", last: int = 0) -> None:
        self.fd = fd
        self.position = start
        self.until = until
        self.tag = tag
        self.proven = proven
        self.end_hash = end_hash
        self.last = last
        self._buffer = b""
        self._base = 0
        self._chained = bool(start.hash)

    def __iter__(self) -> Iterator[Frame | Damage]:
        """Whole frames and damage, in order; ``position`` is the point after what was yielded last."""
        waiting: Frame | None = None  # its header is proven by the next frame's chain hash, which is cheaper than its CRC
        while True:
            at = waiting.end if waiting else self.position.offset
            following = self._quick(at, waiting.hash if waiting else self.position.hash, waiting or self.position)
            if following is not None:
                if waiting is not None:
                    yield self._step(waiting)
                waiting = following
                continue
            if waiting is not None:
                if (at >= self.until and waiting.hash == self.end_hash) or self._header_is_whole(waiting):
                    yield self._step(waiting)
                    waiting = None
                    continue
                waiting = None
            found = self._slow(self.position.offset)
            if not found:
                return
            yield from found

    def _header_is_whole(self, frame: Frame) -> bool:
        return header_whole(self._bytes(frame.offset, HEADER_BYTES), self.tag, frame.offset)

    def _step(self, frame: Frame) -> Frame:
        self.position = Position(
            frame.segment, frame.end, frame.sequence, max(frame.time_ns, self.position.time_ns), frame.hash, frame.end - frame.offset
        )
        self._chained = True
        return frame

    def _bytes(self, offset: int, size: int) -> bytes:
        """Bytes of the segment before ``until``; fewer at its end."""
        size = min(size, self.until - offset)
        if size <= 0:
            return b""
        local = offset - self._base
        if local < 0 or local + size > len(self._buffer):
            self._buffer = os.pread(self.fd, min(max(size, CHUNK_BYTES), self.until - offset), offset)
            self._base = offset
            local = 0
        return self._buffer[local : local + size]

    def _quick(self, offset: int, previous: bytes, before: Frame | Position) -> Frame | None:
        """The frame at *offset* if it chains to *previous* and all but its own header's CRC holds."""
        header = self._bytes(offset, HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC) or header[56:88] != previous:
            return None
        frame = Frame(self.position.segment, header)
        if frame.offset != offset or frame.sequence != before.sequence + 1 or frame.end > self.until or version_of(header) != VERSION:
            return None
        payload = self._bytes(offset + HEADER_BYTES, frame.length)
        if sha256(payload).digest() != frame.payload_hash:
            return None
        frame.payload = payload
        return frame

    def _slow(self, offset: int) -> list[Frame | Damage]:
        """What is at *offset*, looked at closely: a frame, damage and a frame, damage, or nothing (the end)."""
        if offset >= self.until:
            return []
        header = self._bytes(offset, HEADER_BYTES)
        found: list[Frame | Damage] = []
        mended = header if header_whole(header, self.tag, offset) else mend_header(header, self.tag, offset)
        if mended is None:
            return self._skip(offset)
        if version_of(mended) != VERSION:
            raise UnknownFormat(what="the journal", found=version_of(mended), known=VERSION)
        frame = Frame(self.position.segment, mended)
        if frame.end > self.until:
            return self._skip(offset)
        if mended != header:
            found.append(self._damage(offset, offset + HEADER_BYTES, "a whole header", "a flipped bit", frame.sequence, True))
        payload = self._bytes(offset + HEADER_BYTES, frame.length)
        if sha256(payload).digest() != frame.payload_hash and not is_redacted(payload):
            repaired = mend_payload(payload, frame.payload_hash)
            if repaired is None and not self.proven and self._next_whole(frame.end) is None:
                return []  # the last batch, not proven: torn
            what = "another payload" if repaired is None else "a flipped bit"
            found.append(
                self._damage(offset + HEADER_BYTES, frame.end, "the payload of its hash", what, frame.sequence, repaired is not None)
            )
            payload = repaired if repaired is not None else b""
            if repaired is None:
                self._step(frame)
                return found
        if self._chained and frame.previous != self.position.hash:
            first = self.position.sequence + 1
            found.append(self._damage(offset, offset, f"commit {first}", f"commit {frame.sequence}", first, False, frame.sequence - 1))
        frame.payload = payload
        found.append(self._step(frame))
        return found

    def _skip(self, offset: int) -> list[Frame | Damage]:
        """Damage from *offset* to the next whole frame; nothing when what is there may be a torn tail."""
        candidate = self._next_whole(offset + 1)
        if candidate is None and not self.proven:
            return []
        end = candidate.offset if candidate else self.until
        if not candidate and not self._bytes(offset, self.until - offset).strip(b"\0") and offset > self.position.offset:
            return []
        last = candidate.sequence - 1 if candidate else self.last or self.position.sequence + 1
        kind = "zeros" if not self._bytes(offset, min(end - offset, CHUNK_BYTES)).strip(b"\0") else "other bytes"
        found = self._damage(offset, end, "a frame", kind, self.position.sequence + 1, False, last)
        before = self.position
        self.position = Position(before.segment, end, last, before.time_ns, candidate.previous if candidate else b"", 0)
        self._chained = bool(candidate)
        return [found]

    def _next_whole(self, offset: int) -> Frame | None:
        """The next frame with a whole header; unless proven, one of a later batch."""
        bad = offset - 1
        while (frame := next_whole(self.fd, offset, self.until, self.tag, self.position.segment)) is not None:
            if frame.sequence > self.position.sequence and (self.proven or frame.batch_start > bad):
                return frame
            offset = frame.offset + 1
        return None

    def _damage(self, start: int, end: int, expected: str, found: str, first: int, mended: bool, last: int | None = None) -> Damage:
        return Damage(self.position.segment, start, end, expected, found, first, first if last is None else last, mended)


def next_whole(fd: int, offset: int, until: int, tag: bytes, segment: int) -> Frame | None:
    """The next frame with a whole header in a segment, found by its magic."""
    while offset < until:
        chunk = os.pread(fd, min(SEARCH_BYTES, until - offset), offset)
        at = chunk.find(MAGIC)
        if at < 0:
            if offset + len(chunk) >= until or not chunk:
                return None
            offset += max(len(chunk) - len(MAGIC) + 1, 1)
            continue
        header = os.pread(fd, HEADER_BYTES, offset + at)
        if header_whole(header, tag, offset + at):
            return Frame(segment, header)
        offset += at + 1
    return None


def is_redacted(payload: bytes) -> bool:
    """Whether the payload was replaced on purpose and is whole: it names the hash of what follows."""
    start = len(REDACTED)
    return payload.startswith(REDACTED) and payload[start : start + 64] == sha256(payload[start + 64 :]).hexdigest().encode()


def mend_header(header: bytes, tag: bytes, offset: int) -> bytes | None:
    """The header with the one bit set right that makes it whole; None when there is no such bit."""
    if len(header) < HEADER_BYTES:
        return None
    stored = int.from_bytes(header[8:12], "little")
    difference = stored ^ crc32c(header[12:])
    if difference.bit_count() == 1:  # the checksum itself was hit
        fixed = header[:8] + (stored ^ difference).to_bytes(4, "little") + header[12:]
        return fixed if header_whole(fixed, tag, offset) else None
    for bit in range(HEADER_BYTES * 8):
        if 64 <= bit < 96 or (difference and bit < 64) or (not difference and bit >= 64):
            continue
        fixed = flip(header, bit)
        if header_whole(fixed, tag, offset):
            return fixed
    return None


def mend_payload(payload: bytes, digest: bytes) -> bytes | None:
    """The payload with the one bit set right that gives it that SHA-256; None when there is no such bit."""
    if len(payload) > MENDABLE_PAYLOAD_BYTES:
        return None
    for byte in range(len(payload)):
        before = sha256(payload[:byte])
        rest = payload[byte + 1 :]
        for bit in range(8):
            attempt = before.copy()
            attempt.update(bytes((payload[byte] ^ 1 << bit,)))
            attempt.update(rest)
            if attempt.digest() == digest:
                return flip(payload, byte * 8 + bit)
    return None


def flip(data: bytes, bit: int) -> bytes:
    """*data* with one bit changed; bit 0 is the lowest of the first byte."""
    at = bit >> 3
    return data[:at] + bytes((data[at] ^ 1 << (bit & 7),)) + data[at + 1 :]
