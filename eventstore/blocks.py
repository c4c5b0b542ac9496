"""Blocks: the pages of a checkpoint run. FORMAT.md §6.

Sorted keys with values, some 8 KB, guarded by CRC-32 (zlib's: 100 times faster than CRC-32C in plain Python,
and a run is derived, so being read by other tools matters little). Data blocks hold JSON values, index
blocks hold places of other blocks.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from itertools import accumulate
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES_WANTED = 8192
SEARCHES = 8
"""After so many, all keys of a block are taken apart."""
SEPARATOR = b","
_HEAD = struct.Struct("<IIII")  # CRC-32 of what follows, bytes of the block, number of keys, bytes of all keys


class RunDamaged(Exception):
    """A run file is torn, rotted or gone. Never leaves the event store: the run is dropped and made again."""


def pack(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """The bytes of a block."""
    count = len(keys)
    key_ends = list(accumulate(map(len, keys)))
    value_ends = list(accumulate(len(value) + 1 for value in values))
    body = struct.pack(f"<{2 * count}I", *key_ends, *value_ends) + b"".join(keys) + SEPARATOR.join(values)
    head = struct.pack("<III", _HEAD.size + len(body), count, key_ends[-1] if keys else 0)
    return struct.pack("<I", crc32(body, crc32(head))) + head + body


class Block:
    """A block taken apart only as far as it is asked."""

    __slots__ = ("count", "_raw", "_ends", "_keys_at", "_values_at", "_keys", "_searches")

    def __init__(self, raw: bytes) -> None:
        """Raises: RunDamaged."""
        if len(raw) < _HEAD.size:
            raise RunDamaged("a block is cut short")
        checksum, size, self.count, key_bytes = _HEAD.unpack_from(raw)
        if size != len(raw) or crc32(memoryview(raw)[4:]) != checksum:
            raise RunDamaged("a block is damaged")
        self._raw = raw
        self._ends = struct.unpack_from(f"<{2 * self.count}I", raw, _HEAD.size)
        self._keys_at = _HEAD.size + 8 * self.count
        self._values_at = self._keys_at + key_bytes
        self._keys: list[bytes] | None = None
        self._searches = 0

    @property
    def keys(self) -> list[bytes]:
        """All keys."""
        if self._keys is None:
            ends, start, raw = self._ends[: self.count], self._keys_at, self._raw
            self._keys = [raw[start + a : start + b] for a, b in zip((0, *ends), ends, strict=False)]
        return self._keys

    def key(self, index: int) -> bytes:
        """One key."""
        start = self._keys_at
        return self._raw[start + (self._ends[index - 1] if index else 0) : start + self._ends[index]]

    def first_from(self, key: bytes) -> int:
        """The index of the first key that is not less than *key*."""
        if self._worth_all():
            return bisect_left(self.keys, key)
        return bisect_left(range(self.count), key, key=self.key)

    def last_to(self, key: bytes) -> int:
        """The index of the last key that is not greater than *key*; -1 when there is none."""
        if self._worth_all():
            return bisect_right(self.keys, key) - 1
        return bisect_right(range(self.count), key, key=self.key) - 1

    def _worth_all(self) -> bool:
        """Whether it was searched so often that taking all keys apart costs less than taking out some each time."""
        self._searches += 1
        return self._keys is not None or self._searches > SEARCHES

    def value(self, index: int) -> bytes:
        """One value."""
        start, ends = self._values_at, self._ends
        return self._raw[start + (ends[self.count + index - 1] if index else 0) : start + ends[self.count + index] - 1]

    def values(self) -> list[bytes]:
        """All values."""
        ends, start, raw = self._ends[self.count :], self._values_at, self._raw
        return [raw[start + a : start + b - 1] for a, b in zip((0, *ends), ends, strict=False)]

    def joined(self, first: int, last: int) -> bytes:
        """The values from *first* to before *last*, with commas between them."""
        if first >= last:
            return b""
        start, ends = self._values_at, self._ends
        return self._raw[start + (ends[self.count + first - 1] if first else 0) : start + ends[self.count + last - 1] - 1]


def split(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges of rows that make blocks of about the wanted size; a bigger row stands alone."""
    ranges = []
    start = total = 0
    for index, size in enumerate(sizes):
        if total and total + size > BYTES_WANTED:
            ranges.append((start, index))
            start, total = index, 0
        total += size
    if start < len(sizes):
        ranges.append((start, len(sizes)))
    return ranges
