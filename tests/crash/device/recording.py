"""What the device wrote down, and the disks that a power cut at any moment may leave.

What was flushed is there. Of what was written since the last flush any part is there: single writes, sectors of 512 or 4,096 bytes
of them, none, all. (A device with a volatile cache promises no more; see blk-mq's "explicit volatile write back cache control".)
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    Writes = list[tuple[int, bytes]]
    """Offset and bytes, in the order of arrival."""

WRITE, FLUSH, MARK = b"w", b"f", b"m"
TORN = (512, 4096)
_HEAD = struct.Struct("<cQI")  # kind, offset, bytes that follow


def head(kind: bytes, offset: int = 0, size: int = 0) -> bytes:
    """What stands before each entry of the log."""
    return _HEAD.pack(kind, offset, size)


def read(log: str) -> list[tuple[bytes, int, bytes]]:
    """All entries: kind, offset, bytes."""
    entries = []
    with open(log, "rb") as file:
        while raw := file.read(_HEAD.size):
            kind, offset, size = _HEAD.unpack(raw)
            entries.append((kind, offset, file.read(size)))
    return entries


class Cut:
    """A moment at which the power fails: what was flushed since the cut before, what was only written, the last mark."""

    def __init__(self, place: int, flushed: Writes, pending: Writes, mark: bytes | None) -> None:
        self.place, self.flushed, self.pending, self.mark = place, flushed, pending, mark


def cuts(entries: list[tuple[bytes, int, bytes]]) -> Iterator[Cut]:
    """Before each flush that has something to flush, after each mark, and at the end: the rest are subsets of these.

    ``flushed`` is to be added to a disk that has what the cuts before had flushed (``disks.Platter``).
    """
    flushed: Writes = []
    pending: Writes = []
    mark: bytes | None = None
    for place, (kind, offset, data) in enumerate(entries):
        if kind == WRITE:
            pending.append((offset, data))
            continue
        if kind == MARK:
            mark = data
        if kind == MARK or pending:
            yield Cut(place, flushed, list(pending), mark)
            flushed = []
        if kind == FLUSH:
            flushed, pending = flushed + pending, []
    yield Cut(len(entries), flushed, pending, mark)


def subsets(cut: Cut, most: int, dice: random.Random) -> Iterator[tuple[str, Writes]]:
    """Up to *most* of the things that may be left of what was not flushed; first nothing and everything, then by dice."""
    pending = cut.pending
    yield "nothing", []
    if not pending or most < 2:
        return
    yield f"all of {len(pending)} writes", list(pending)
    for _ in range(most - 2):
        way = dice.randrange(5)
        place = dice.randrange(len(pending))
        if way == 0 and len(pending) > 1:
            yield f"the first {place} of {len(pending)} writes", pending[:place]
        elif way == 1 and len(pending) > 1:
            yield f"all but write {place} of {len(pending)}", pending[:place] + pending[place + 1 :]
        elif way == 2 and len(pending) > 1:
            yield f"half of {len(pending)} writes", [one for one in pending if dice.random() < 0.5]
        else:
            size = dice.choice(TORN)
            yield f"sectors of {size} bytes of {len(pending)} writes", list(torn(pending, size, dice))


def torn(pending: Writes, size: int, dice: random.Random) -> Iterator[tuple[int, bytes]]:
    """Of each write a part, half, or any of its sectors."""
    for offset, data in pending:
        sectors = range(0, len(data), size)
        way = dice.randrange(3)
        edge = dice.randrange(len(sectors) + 1)
        for number, start in enumerate(sectors):
            if (number < edge, number >= edge, dice.random() < 0.5)[way]:
                yield offset + start, data[start : start + size]


def lay(fd: int, writes: Writes) -> None:
    """Put *writes* on an image."""
    for offset, data in writes:
        os.pwrite(fd, data, offset)
