"""Runs: what the commits of one range changed, as a sorted file that is looked into and never loaded.

One file is one aligned range of commits, a delta: rows put, and rows deleted (JSON ``null``). It is written
aside, renamed and not synced, since it is derived: every page carries a CRC, and a file that does not hold
is dropped and made again. Read with pread: a mapped file that is cut short would kill the process.
FORMAT.md §6.
"""

from __future__ import annotations

import json
import os
import struct
from bisect import bisect_left
from operator import itemgetter
from zlib import crc32

from layerlog.eventstore import disk, hashes
from layerlog.eventstore.blocks import Block, RunDamaged
from layerlog.eventstore.position import Position
from layerlog.eventstore.rows import Rows, after_prefix, uncollected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

MAGIC = b"\xffLLsrun1"
VERSION = 1
SUFFIX = ".run"
FOOTER_BYTES = 256
CACHED_BLOCKS = 64
FILTER_BYTES_PER_ASK = 16 << 10
"""A filter is read once it was asked for often enough to be worth its size."""
MISSING = b""  # no row; no JSON value is empty

HEAD = struct.Struct("<8sI")
BODY = struct.Struct("<HHI16sQQ32s32sQQQIIQQQIIQQ")
PLACE = struct.Struct("<QI")
MANY_BLOCKS = 256
_decode = json.JSONDecoder().decode
_key_of = itemgetter(0)


class Run:
    """One open run."""

    def __init__(self, path: str, journal_id: bytes, fold_version: int) -> None:
        """Open it. Raises: RunDamaged (also when it is gone, of another journal or of another fold)."""
        self.path = path
        self._fd = -1
        try:
            self._fd = disk.open_to_read(path)
            size = os.fstat(self._fd).st_size
            footer = os.pread(self._fd, FOOTER_BYTES, max(size - FOOTER_BYTES, 0))
        except OSError as error:
            raise RunDamaged(f"{path}: {error}") from error
        if len(footer) != FOOTER_BYTES or not footer.startswith(MAGIC) or crc32(footer[12:]) != int.from_bytes(footer[8:12], "little"):
            raise RunDamaged(f"{path}: no whole footer")
        version, self._depth, found_fold, found_id, *fields = BODY.unpack_from(footer, HEAD.size)
        if (version, found_fold, found_id) != (VERSION, fold_version, journal_id):
            raise RunDamaged(f"{path}: of another version or journal")
        self.after, self.last, self.start_hash, end_hash, segment, offset, time_ns, back, self.deleted = fields[:9]
        self.rows, self.data_bytes, root, root_size, self._filter_bytes, self._filter_at, self.lost = fields[9:]
        self.end = Position(segment, offset, self.last, time_ns, end_hash, back)
        self._root = (root, root_size)
        self.filter: array[int] | None = None
        self._asked = 0
        self._blocks: dict[int, Block] = {}

    def __del__(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def get(self, key: bytes, probe: int) -> bytes:
        """The JSON of a row, ``null`` if these commits deleted it, MISSING if they left it alone. *probe*: CRC-32 of the key.

        Where ``filter`` is loaded, the caller has asked it.
        """
        if not self.rows or (self.filter is None and not self._may_hold(probe)):
            return MISSING
        block = self._block(*self._root)
        for _ in range(self._depth):
            index = block.last_to(key)
            if index < 0:
                return MISSING
            block = self._block(*PLACE.unpack(block.value(index)))
        index = block.first_from(key)
        if index == block.count or block.key(index) != key:
            return MISSING
        return block.value(index)

    def _may_hold(self, probe: int) -> bool:
        self._asked += 1
        if self._asked * FILTER_BYTES_PER_ASK < self._filter_bytes:
            return True
        raw = os.pread(self._fd, self._filter_bytes + 4, self._filter_at)
        if len(raw) != self._filter_bytes + 4 or crc32(raw[4:]) != int.from_bytes(raw[:4], "little"):
            raise RunDamaged(f"{self.path}: filter")
        self.filter = hashes.load(raw[4:])
        return hashes.may_hold(self.filter, probe)

    def _block(self, offset: int, size: int) -> Block:
        block = self._blocks.get(offset)
        if block is None:
            block = self._read(offset, size)
            if len(self._blocks) >= CACHED_BLOCKS:
                self._blocks.clear()  # other threads may be reading it: no eviction one by one
            self._blocks[offset] = block
        return block

    def _read(self, offset: int, size: int) -> Block:
        try:
            return Block(os.pread(self._fd, size, offset))
        except OSError as error:
            raise RunDamaged(f"{self.path}: {error}") from error

    def slices(self, prefix: bytes) -> Iterator[tuple[Block, int, int]]:
        """Data blocks that hold keys with that prefix, and from which to which of their rows."""
        if self.rows:
            end = after_prefix(prefix)
            yield from self._slices(self._block(*self._root), self._depth, prefix, end)

    def _slices(self, block: Block, depth: int, prefix: bytes, end: bytes | None) -> Iterator[tuple[Block, int, int]]:
        last = block.count if end is None else block.first_from(end)
        if not depth:
            first = block.first_from(prefix)
            if first < last:
                yield block, first, last
            return
        start = max(block.last_to(prefix), 0)
        for index in range(start, last):
            place = PLACE.unpack(block.value(index))
            # Data blocks of a long scan are not kept: it would push out what look-ups use.
            child = self._block(*place) if depth > 1 or last - start < 4 else self._read(*place)
            yield from self._slices(child, depth - 1, prefix, end)


class RunSet(Rows):
    """Runs on top of each other, oldest first: the state after a prefix of history.

    When a run turns out to be damaged, *recover* gives rows for the same state that do not need it.
    """

    CACHED_ROWS = 1 << 14

    def __init__(self, runs: Sequence[Run], recover: Callable[[RunDamaged], Rows] | None = None) -> None:
        self.runs = list(runs)
        self._newest_first = self.runs[::-1]
        self._recover = recover
        self._instead: Rows | None = None
        self._rows: dict[bytes, Any] = {}

    def get(self, key: bytes) -> Any | None:
        if self._instead is not None:
            return self._instead.get(key)
        if not self.runs:
            return None
        cached = self._rows.get(key, self)  # one look: another thread may empty it between two
        if cached is not self:
            return cached
        try:
            raw = self._raw(key)
        except RunDamaged as damage:
            return self._without(damage).get(key)
        value = _decode(raw.decode("ascii")) if raw else None
        if len(self._rows) >= self.CACHED_ROWS:
            self._rows.clear()
        self._rows[key] = value
        return value

    def _raw(self, key: bytes) -> bytes:
        probe = crc32(key)
        for run in self._newest_first:
            numbers = run.filter
            if numbers is not None:  # most runs end here: asked in place, since a call would cost more than the answer
                index = bisect_left(numbers, probe)
                if index == len(numbers) or numbers[index] != probe:
                    continue
            raw = run.get(key, probe)
            if raw:
                return raw
        return MISSING

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        if self._instead is not None:
            return self._instead.keys(prefix)
        try:
            return iter(self._keys(prefix))
        except RunDamaged as damage:
            return self._without(damage).keys(prefix)

    def _keys(self, prefix: bytes) -> list[bytes]:
        found: dict[bytes, bytes] = {}
        for run in self.runs:
            for block, first, last in run.slices(prefix):
                keys = block.keys[first:last]
                found.update(zip(keys, block.values()[first:last], strict=True) if run.deleted else dict.fromkeys(keys, MISSING))
        return sorted(key for key, value in found.items() if value != b"null")

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, Any]]:
        found = self.found(prefix)
        with uncollected():
            return iter(sorted(found.items(), key=_key_of))

    def found(self, prefix: bytes) -> dict[bytes, Any]:
        if self._instead is not None:
            return self._instead.found(prefix)
        try:
            return self._found(prefix)
        except RunDamaged as damage:
            return self._without(damage).found(prefix)

    def _found(self, prefix: bytes) -> dict[bytes, Any]:
        """Eagerly, so that a damaged run is met before anything was given out."""
        found: dict[bytes, Any] = {}
        slices = [part for run in self.runs for part in run.slices(prefix)]
        decode = _bulk_decoder() if len(slices) > MANY_BLOCKS else _decode_all
        with uncollected():
            for block, first, last in slices:
                found.update(zip(block.keys[first:last], decode(b"[" + block.joined(first, last) + b"]"), strict=True))
            if any(run.deleted for run in self.runs):
                found = {key: value for key, value in found.items() if value is not None}
            return found

    def _without(self, damage: RunDamaged) -> Rows:
        if self._recover is None:
            raise damage
        self._instead = self._recover(damage)
        return self._instead


def _decode_all(raw: bytes) -> list[Any]:
    found: list[Any] = _decode(raw.decode("ascii"))
    return found


def _bulk_decoder() -> Callable[[bytes], list[Any]]:
    """The quicker decoder where it is installed: its import is worth it for some megabytes."""
    try:
        import msgspec
    except ImportError:
        return _decode_all
    decode = msgspec.json.Decoder(list).decode

    def decode_bulk(raw: bytes) -> list[Any]:
        try:
            return decode(raw)
        except msgspec.DecodeError:  # a lone surrogate: a name that was not UTF-8
            return _decode_all(raw)

    return decode_bulk
