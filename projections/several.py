"""Rows of several stores as one: one's own on top, then those that are only looked into.

Every question is answered over these rows and none needs to know how many stores there are: ``get`` and ``keys``
fall through from one's own store to the others in their order. What asks by a word (``items.find``), lists
(``items.every``) or changes something asks ``parts_for``, ``own`` or ``domain`` instead. Source: contract/semantics.md §7.
"""

from __future__ import annotations

from layerlog.eventstore.rows import Rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

LENT = frozenset((b"layer", b"image", b"child", b"top", b"of-layer", b"diff", b"archive", b"toc", b"digest", b"made-for"))
"""Spaces of a read-only store that others see, besides the names of its layers and images."""
_LENT_NAMES = (b"name\0layer", b"name\0image")
_WHOLE = (b"container", b"of-image", b"name")
_MARKED = (b"layer", b"image", b"container")


class Borrowed(Rows):
    """Another store's rows: its layers and images, each marked with where it is from.

    *mark*: fields that its rows get. *whole*: a store that belongs to ours (a half of a split store, the run journal),
    whose containers and references count as well. *lists*: the kinds of its things that are listed and found by words.
    """

    __slots__ = ("base", "lists", "mark", "whole")

    def __init__(self, base: Rows, mark: dict[str, Any], *, whole: bool = False, lists: Sequence[str] = ("layer", "image")) -> None:
        self.base, self.mark, self.whole, self.lists = base, mark, whole, lists

    def _lent(self, key: bytes) -> bool:
        space = key.partition(b"\0")[0]
        return space in LENT or (self.whole and space in _WHOLE) or key.startswith(_LENT_NAMES)

    def get(self, key: bytes) -> Any | None:
        if not self._lent(key):
            return None
        value = self.base.get(key)
        return {**value, **self.mark} if value is not None and key.startswith(_MARKED) else value

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return self.base.keys(prefix) if self._lent(prefix) else iter(())


class Several(Rows):
    """``own`` rows over ``others``. *images_first*: images are looked for in the first of the others before one's own."""

    __slots__ = ("_own", "images_first", "others")

    def __init__(self, own: Rows, others: Sequence[Rows], images_first: bool = False) -> None:
        self._own, self.others, self.images_first = own, tuple(others), images_first

    @property
    def own(self) -> Rows:
        return self._own

    @property
    def domain(self) -> Rows:
        belonging = [one for one in self.others if not isinstance(one, Borrowed) or one.whole]
        return Several(self._own, belonging) if belonging else self._own

    def with_own(self, own: Rows) -> Rows:
        return Several(own, self.others, self.images_first)

    def parts_for(self, kind: str) -> tuple[Rows, ...]:
        others = tuple(one for one in self.others if not isinstance(one, Borrowed) or kind in one.lists)
        if kind == "image" and self.images_first:
            return (others[0], self._own, *others[1:])
        return (self._own, *others)

    def get(self, key: bytes) -> Any | None:
        found = self._own.get(key)
        for other in self.others:
            if found is not None:
                break
            found = other.get(key)
        return found

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        found = set(self._own.keys(prefix))
        for other in self.others:
            found.update(other.keys(prefix))
        return iter(sorted(found))
