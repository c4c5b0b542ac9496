"""The published position: up to where the journal is durable. FORMAT.md §5.

A small file beside the journal, overwritten in place by each writer after its fdatasync and never synced:
it is believed only in the boot that wrote it. Readers stop there, which is how they never see a commit
that a power cut could undo, and need no lock.
"""

from __future__ import annotations

import os
import struct
from zlib import crc32

from layerlog.eventstore import disk

MAGIC = b"\xffLLposit"
VERSION = 1
BYTES = 128
BLOCK_BYTES = 4096  # of the file: btrfs keeps a smaller one in its metadata, where each overwrite needs new room
POISONED = 1  # bytes after the position were refused by the disk: go on in a new segment
OPENING = 2  # the writer was about to open the next segment

_BODY = struct.Struct("<HH16s16sQQQQ32sI4x")
_HEAD = struct.Struct("<8sI")


class Position:
    """A point between two frames: where the next one goes and what it chains to."""

    __slots__ = ("segment", "offset", "sequence", "time_ns", "hash", "back", "flags")

    def __init__(self, segment: int, offset: int, sequence: int, time_ns: int, frame_hash: bytes, back: int, flags: int = 0) -> None:
        self.segment = segment
        self.offset = offset
        self.sequence = sequence
        """Of the last frame before this point; 0 at the very start."""
        self.time_ns = time_ns
        self.hash = frame_hash
        self.back = back
        """Bytes of the last frame in this segment; 0 at its start."""
        self.flags = flags

    def flagged(self, flags: int) -> Position:
        """The same point with other flags."""
        return Position(self.segment, self.offset, self.sequence, self.time_ns, self.hash, self.back, flags)

    def key(self) -> tuple[int, int]:
        """Orders positions."""
        return self.segment, self.offset

    def __repr__(self) -> str:
        return f"Position(sequence={self.sequence}, segment={self.segment}, offset={self.offset}, flags={self.flags})"


def boot_id() -> bytes:
    """16 bytes that differ after each boot; zeros, which are never believed, where the kernel tells none."""
    global _boot_id
    if _boot_id is None:
        try:
            with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
                _boot_id = bytes.fromhex(file.read(64).strip().replace(b"-", b"").decode())
        except (OSError, ValueError):
            _boot_id = bytes(16)
    return _boot_id


_boot_id: bytes | None = None


def encode(position: Position, journal_id: bytes, boot: bytes) -> bytes:
    """The bytes of the position file."""
    body = _BODY.pack(
        VERSION,
        position.flags,
        boot,
        journal_id,
        position.segment,
        position.offset,
        position.sequence,
        position.time_ns,
        position.hash,
        position.back,
    )
    body += bytes(BYTES - _HEAD.size - len(body))
    return _HEAD.pack(MAGIC, crc32(body)) + body


def decode(raw: bytes, journal_id: bytes, boot: bytes | None) -> Position | None:
    """The position, or None when it is damaged, of another boot (None: any will do) or of another journal."""
    if len(raw) != BYTES or not raw.startswith(MAGIC) or crc32(raw[12:]) != int.from_bytes(raw[8:12], "little"):
        return None
    version, flags, its_boot, its_journal, segment, offset, sequence, time_ns, frame_hash, back = _BODY.unpack_from(raw, _HEAD.size)
    if version != VERSION or its_journal != journal_id or (boot is not None and (its_boot != boot or boot == bytes(16))):
        return None
    return Position(segment, offset, sequence, time_ns, frame_hash, back, flags)


class PositionFile:
    """The open position file of a journal. ``raw`` changes whenever somebody published."""

    def __init__(self, path: str, journal_id: bytes, *, read_only: bool) -> None:
        """Open it; a writer makes it, with its block, when it is missing."""
        self.path = path
        self.journal_id = journal_id
        self.raw = b""
        self._read_only = read_only
        self._fd = -1
        self._open()

    def _open(self) -> None:
        try:
            self._fd = disk.open_file(self.path, os.O_RDONLY if self._read_only else os.O_RDWR)
        except FileNotFoundError:
            if not self._read_only:
                self._fd = disk.open_to_write(self.path, os.O_CREAT)
                disk.overwrite_in_place(self._fd)
                disk.pwrite_all(self._fd, bytes(BLOCK_BYTES - BYTES), BYTES)  # not over what somebody else published meanwhile

    def changed(self) -> bool:
        """Read it again; whether it differs from what was seen last. About 1 us."""
        if self._fd < 0:
            self._open()  # nobody had written yet when we came
            if self._fd < 0:
                return False
        raw = os.pread(self._fd, BYTES, 0)
        if raw == self.raw:
            return False
        self.raw = raw
        return True

    def read(self) -> Position | None:
        """The published position, None when there is none for this boot."""
        self.changed()
        return self.seen()

    def seen(self) -> Position | None:
        """The position that ``changed`` has just read. A torn read is read again."""
        for _ in range(100):
            position = decode(self.raw, self.journal_id, boot_id())
            if position is not None or self._fd < 0:
                return position
            if not self.raw.startswith(MAGIC) or crc32(self.raw[12:]) == int.from_bytes(self.raw[8:12], "little"):
                return None
            self.changed()
        return None

    def of_any_boot(self) -> Position | None:
        """The position that was published last, however long ago: everything up to it was durable then."""
        self.changed()
        return decode(self.raw, self.journal_id, None)

    def publish(self, position: Position) -> None:
        """Make *position* the visible one. Only under the writer lock, only after its fdatasync."""
        self.raw = encode(position, self.journal_id, boot_id())
        disk.pwrite_all(self._fd, self.raw, 0)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
