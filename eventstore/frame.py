"""The frame: one commit in the journal. FORMAT.md §3 has the bytes.

A frame's hash is the SHA-256 of its header, which holds the hash of the frame before and the SHA-256 of
the payload. So the chain covers everything, and still verifies after a payload was redacted.
"""

from __future__ import annotations

import struct
from hashlib import sha256

from layerlog.eventstore.crc32c import crc32c
from layerlog.eventstore.position import Position

MAGIC = b"\xffLLframe"  # 0xff is in no UTF-8 text, so no payload can contain it
VERSION = 1
HEADER_BYTES = 128
PAYLOAD_BYTES_MAX = 64 << 20
CHAIN_START = bytes(32)

_HEAD = struct.Struct("<8sI")
_BODY = struct.Struct("<HHIIQQQII32s32s8s")
assert _HEAD.size + _BODY.size == HEADER_BYTES

FLAG_RESERVE = 1  # written with leave to use the reserve


class Frame:
    """A frame as read. ``payload`` is None where its bytes are damaged and the header is not."""

    __slots__ = (
        "segment",
        "offset",
        "length",
        "back",
        "batch_bytes",
        "batch_place",
        "sequence",
        "time_ns",
        "flags",
        "previous",
        "payload_hash",
        "hash",
        "payload",
    )

    def __init__(self, segment: int, header: bytes) -> None:
        """Take apart a header whose magic was seen; trusts nothing else (see ``header_whole``)."""
        (
            _version,
            self.flags,
            self.length,
            self.back,
            self.sequence,
            self.time_ns,
            self.offset,
            self.batch_bytes,
            self.batch_place,
            self.previous,
            self.payload_hash,
            _tag,
        ) = _BODY.unpack_from(header, _HEAD.size)
        self.segment = segment
        self.hash = sha256(header).digest()
        self.payload: bytes | None = None

    @property
    def end(self) -> int:
        """Offset after the frame."""
        end: int = self.offset + HEADER_BYTES + self.length
        return end

    @property
    def batch_start(self) -> int:
        """Offset of the first frame that was written together with this one."""
        start: int = self.offset - self.batch_bytes
        return start

    def after(self) -> Position:
        """The point after the frame."""
        return Position(self.segment, self.end, self.sequence, self.time_ns, self.hash, HEADER_BYTES + self.length)

    def __repr__(self) -> str:
        return f"Frame(sequence={self.sequence}, segment={self.segment}, offset={self.offset}, length={self.length})"


def pack(
    payload: bytes,
    *,
    sequence: int,
    time_ns: int,
    offset: int,
    back: int,
    batch_bytes: int,
    batch_place: int,
    previous: bytes,
    tag: bytes,
    flags: int = 0,
) -> bytes:
    """The header of a frame with that payload."""
    body = _BODY.pack(
        VERSION,
        flags,
        len(payload),
        back,
        sequence,
        time_ns,
        offset,
        batch_bytes,
        batch_place,
        previous,
        sha256(payload).digest(),
        tag,
    )
    return _HEAD.pack(MAGIC, crc32c(body)) + body


def header_whole(header: bytes, tag: bytes, offset: int) -> bool:
    """Whether *header* is one of this journal (*tag*), written for this *offset*, and undamaged."""
    return (
        header.startswith(MAGIC)
        and len(header) == HEADER_BYTES
        and header[-8:] == tag
        and int.from_bytes(header[40:48], "little") == offset
        and int.from_bytes(header[8:12], "little") == crc32c(header[12:])
    )


def version_of(header: bytes) -> int:
    """The frame version, from a whole header."""
    return int.from_bytes(header[12:14], "little")
