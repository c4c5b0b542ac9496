"""Keys in order that grow one by one: in buckets, so that adding one moves a bucket and not all that is behind it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKET = 1024
"""Keys of a bucket when it is made; twice as many are split."""


class SortedKeys:
    """A set of byte strings that is asked for ranges. Whoever adds sees to it that nothing comes twice."""

    __slots__ = ("_buckets", "_firsts")

    def __init__(self, keys: Iterable[bytes]) -> None:
        found = sorted(keys)
        self._buckets = [found[start : start + BUCKET] for start in range(0, len(found), BUCKET)] or [[]]
        self._firsts = [bucket[0] for bucket in self._buckets if bucket] or [b""]

    def add(self, key: bytes) -> None:
        """Put one in its place."""
        place = max(bisect_right(self._firsts, key) - 1, 0)
        bucket = self._buckets[place]
        insort(bucket, key)
        self._firsts[place] = bucket[0]
        if len(bucket) > 2 * BUCKET:
            self._buckets[place : place + 1] = bucket[:BUCKET], bucket[BUCKET:]
            self._firsts.insert(place + 1, bucket[BUCKET])

    def between(self, start: bytes, end: bytes | None) -> list[bytes]:
        """Those from *start* on and before *end* (None: to the last), in order."""
        first = max(bisect_right(self._firsts, start) - 1, 0)
        last = len(self._buckets) if end is None else bisect_left(self._firsts, end)
        found: list[bytes] = []
        for bucket in self._buckets[first:last]:
            if not start <= bucket[0] or (end is not None and bucket[-1] >= end):
                bucket = bucket[bisect_left(bucket, start) : len(bucket) if end is None else bisect_left(bucket, end)]
            found += bucket
        return found
