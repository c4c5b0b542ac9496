"""Rows: an ordered map from key bytes to JSON values, the shape of all derived state.

Values are shared, not copied: whoever gets one must treat it as immutable and put a new one.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from layerlog.eventstore.sorted_keys import SortedKeys

Change = tuple[bytes, "Any | None"]


_key_of = itemgetter(0)


MANY_OBJECTS = 1 << 16


@contextmanager
def uncollected() -> Iterator[None]:
    """``with uncollected():`` many objects are made, none of them garbage: the collector would walk them again and again.

    If they are really many it does not even walk them once afterwards: they are counted as old at once.
    """
    if not gc.isenabled():
        yield
        return
    try:
        gc.disable()
        yield
        if gc.get_count()[0] > MANY_OBJECTS and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()  # "puts them back into the oldest generation"
    finally:
        gc.enable()


def after_prefix(prefix: bytes) -> bytes | None:
    """The first key that sorts after every key with that prefix; None when there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


class Rows:
    """What can be read: a base class, so that a fold and a decision see nothing else."""

    __slots__ = ()

    @property
    def own(self) -> Rows:
        """Those of them that the store may change: all, unless they come from several stores (projections/several.py)."""
        return self

    @property
    def domain(self) -> Rows:
        """Those of them that may refer to one's own: what stands in the way of a delete is looked for here."""
        return self

    def with_own(self, own: Rows) -> Rows:
        """The same with other rows in the place of one's own."""
        return own

    def parts_for(self, kind: str) -> tuple[Rows, ...]:
        """The rows of each store in the order in which a *kind* of thing is looked for."""
        return (self,)

    def get(self, key: bytes) -> Any | None:
        """The value of one row, None when there is none."""
        raise NotImplementedError

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys with that prefix, in byte order."""
        raise NotImplementedError

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, Any]]:
        """Keys with that prefix and their values, in byte order."""
        for key in self.keys(prefix):
            value = self.get(key)
            if value is not None:
                yield key, value

    def found(self, prefix: bytes) -> dict[bytes, Any]:
        """The same as a dictionary, in no order: a new one, the caller's own."""
        return dict(self.scan(prefix))


class SortedMap:
    """A dictionary whose keys can be asked for in order; sorted only once somebody asks."""

    __slots__ = ("data", "_sorted")

    def __init__(self) -> None:
        self.data: dict[bytes, Any] = {}
        self._sorted: SortedKeys | None = None

    def put(self, key: bytes, value: Any) -> None:
        """Set a value."""
        if self._sorted is not None and key not in self.data:
            self._sorted.add(key)
        self.data[key] = value

    def update(self, changes: Iterable[Change]) -> None:
        """Set many values."""
        if self._sorted is None:
            self.data.update(changes)
        else:
            for key, value in changes:
                self.put(key, value)

    def remove(self, key: bytes) -> None:
        """Forget a key, if it is there."""
        if key in self.data:
            del self.data[key]
            self._sorted = None

    def between(self, prefix: bytes) -> list[bytes]:
        """The keys with that prefix, in order."""
        if self._sorted is None:
            if len(self.data) <= 8:
                return sorted(key for key in self.data if key.startswith(prefix))
            from layerlog.eventstore.sorted_keys import SortedKeys

            self._sorted = SortedKeys(self.data)
        return self._sorted.between(prefix, after_prefix(prefix))


class Table(Rows):
    """Rows in memory."""

    __slots__ = ("_map",)

    def __init__(self, rows: Iterable[tuple[bytes, Any]] = ()) -> None:
        self._map = SortedMap()
        self._map.update(rows)

    def get(self, key: bytes) -> Any | None:
        return self._map.data.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return iter(self._map.between(prefix))

    def put(self, key: bytes, value: Any) -> None:
        """Set a row."""
        self._map.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a row, if it is there."""
        self._map.remove(key)

    def __len__(self) -> int:
        return len(self._map.data)


class Overlay(Rows):
    """Changes on top of other rows: a decision in progress, a transaction, the tail over the runs.

    ``changes`` maps keys to values, with None for a deleted row.
    """

    __slots__ = ("base", "_map")

    def __init__(self, base: Rows) -> None:
        self.base = base
        self._map = SortedMap()

    @property
    def changes(self) -> dict[bytes, Any]:
        """What differs from the base."""
        return self._map.data

    def get(self, key: bytes) -> Any | None:
        data = self._map.data
        return data[key] if key in data else self.base.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        changed = self._map.between(prefix)
        if not changed:
            return self.base.keys(prefix)
        data = self._map.data
        found = [key for key in self.base.keys(prefix) if key not in data]
        found.extend(key for key in changed if data[key] is not None)
        found.sort()
        return iter(found)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, Any]]:
        changed = self._map.between(prefix)
        if not changed:
            return self.base.scan(prefix)
        found = self.found(prefix)
        with uncollected():
            return iter(sorted(found.items(), key=_key_of))

    def found(self, prefix: bytes) -> dict[bytes, Any]:
        found, data = self.base.found(prefix), self._map.data
        for key in self._map.between(prefix):
            if data[key] is not None:
                found[key] = data[key]
            else:
                found.pop(key, None)
        return found

    def put(self, key: bytes, value: Any) -> None:
        """Set a row."""
        self._map.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a row."""
        self._map.put(key, None)

    def update(self, changes: Iterable[Change]) -> None:
        """Set and remove (None) many rows."""
        self._map.update(changes)
