"""Writing runs: from rows in memory, or from runs that a greater one replaces. FORMAT.md §6."""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_right
from zlib import crc32

from layerlog.eventstore import disk, hashes
from layerlog.eventstore.blocks import pack, split
from layerlog.eventstore.runs import BODY, FOOTER_BYTES, HEAD, MAGIC, PLACE, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerlog.eventstore.blocks import Block
    from layerlog.eventstore.position import Position
    from layerlog.eventstore.runs import Run

WRITE_BYTES = 1 << 18


class RunWriter:
    """Writes a run: rows in key order, then ``finish``. Nothing is there until then."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"
        self._fd = disk.open_to_write(self._aside, os.O_CREAT | os.O_EXCL)
        self._offset = 0
        self._rows = 0
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._bytes = 0
        self._index: list[tuple[bytes, bytes]] = []
        self._deleted = 0
        self._filter = array("I")

    def add(self, keys: list[bytes], values: list[bytes]) -> None:
        """Add rows that sort after all before."""
        self._keys += keys
        self._values += values
        self._bytes += sum(map(len, keys)) + sum(map(len, values))
        if self._bytes >= WRITE_BYTES:
            self._write_blocks(keep_last=True)

    def _write_blocks(self, *, keep_last: bool) -> None:
        sizes = [len(key) + len(value) + 9 for key, value in zip(self._keys, self._values, strict=True)]
        ranges = split(sizes)
        if keep_last and len(ranges) > 1:
            ranges.pop()
        parts = []
        for first, last in ranges:
            keys = self._keys[first:last]
            parts.append(self._place(keys[0], pack(keys, self._values[first:last]), self._index))
        end = ranges[-1][1] if ranges else 0
        self._rows += end
        self._deleted += self._values[:end].count(b"null")
        self._filter.extend(map(crc32, self._keys[:end]))
        self._keys, self._values = self._keys[end:], self._values[end:]
        self._bytes = sum(map(len, self._keys)) + sum(map(len, self._values))
        disk.write_all(self._fd, b"".join(parts))

    def _place(self, first_key: bytes, block: bytes, index: list[tuple[bytes, bytes]]) -> bytes:
        index.append((first_key, PLACE.pack(self._offset, len(block))))
        self._offset += len(block)
        return block

    def finish(self, journal_id: bytes, fold_version: int, start: tuple[int, bytes], end: Position, lost: int = 0) -> None:
        """Write index, filter and footer, and rename. *start*: sequence and hash before the first commit; *lost*: commits not folded."""
        self._write_blocks(keep_last=False)
        depth, parts = 0, []
        data_bytes = self._offset
        level = self._index
        while len(level) > 1:
            depth += 1
            above: list[tuple[bytes, bytes]] = []
            for first, last in split([len(key) + 21 for key, _ in level]):
                keys = [key for key, _ in level[first:last]]
                parts.append(self._place(keys[0], pack(keys, [place for _, place in level[first:last]]), above))
            level = above
        root, root_size = PLACE.unpack(level[0][1]) if level else (0, 0)
        numbers, filter_at = hashes.build(self._filter), self._offset
        parts.append(struct.pack("<I", crc32(numbers)) + numbers)
        body = BODY.pack(
            VERSION,
            depth,
            fold_version,
            journal_id,
            start[0],
            end.sequence,
            start[1],
            end.hash,
            end.segment,
            end.offset,
            end.time_ns,
            end.back,
            self._deleted,
            self._rows,
            data_bytes,
            root,
            root_size,
            len(numbers),
            filter_at,
            lost,
        )
        body += bytes(FOOTER_BYTES - HEAD.size - len(body))
        disk.write_all(self._fd, b"".join(parts) + HEAD.pack(MAGIC, crc32(body)) + body)
        self._close()
        disk.rename(self._aside, self.path)

    def drop(self) -> None:
        """Give up: nothing is left."""
        self._close()
        disk.unlink(self._aside)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def merged(runs: Sequence[Run], *, is_first: bool) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Rows of several runs (oldest first) as one, in pieces. In the first range of history deletions leave no trace."""
    sources = [_Source(run) for run in runs]
    while any(source.keys for source in sources):
        # Up to the least of the last keys in hand nothing can come any more from any of them.
        ends = [source.keys[-1] for source in sources if source.keys and source.has_more]
        limit = min(ends) if ends else None
        found: dict[bytes, bytes] = {}
        for source in sources:
            found.update(source.take(limit))
        if is_first:
            found = {key: value for key, value in found.items() if value != b"null"}
        keys = sorted(found)
        yield keys, [found[key] for key in keys]


class _Source:
    """The rows of one run, block by block."""

    def __init__(self, run: Run) -> None:
        self._slices = run.slices(b"")
        self.keys: list[bytes] = []
        self.values: list[bytes] = []
        self.has_more = True
        self._ahead = self._next()
        self._fill()

    def _next(self) -> Block | None:
        found = next(self._slices, None)
        return found[0] if found else None

    def _fill(self) -> None:
        block = self._ahead
        if block is not None:
            self.keys, self.values = block.keys, block.values()
            self._ahead = self._next()
        self.has_more = self._ahead is not None

    def take(self, limit: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows up to and with *limit*; everything in hand without one."""
        count = len(self.keys) if limit is None else bisect_right(self.keys, limit)
        taken = list(zip(self.keys[:count], self.values[:count], strict=True))
        self.keys, self.values = self.keys[count:], self.values[count:]
        if not self.keys:
            self._fill()
        return iter(taken)
