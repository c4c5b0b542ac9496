"""From one state to another in one commit: what an undo of several commits comes down to.

Inverses are worked out one after the other, each on the state that those before it would leave; along that way a
thing may come and go, and a name change hands, several times. What is committed is only the difference between
the two ends: one commit never deletes and brings back the same thing (DESIGN §2), and no name has two holders in between.
"""

from __future__ import annotations

from layerlog.decide.layers import deleted
from layerlog.eventstore.rows import Overlay
from layerlog.eventstore.state import Meta
from layerlog.projections import trash
from layerlog.projections.fold import fold
from layerlog.projections.items import Row, get, holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from layerlog.decide.names import Events
    from layerlog.eventstore.rows import Rows

    Thing = tuple[str, str]

PLANNED = 0
"""The sequence of what is only planned: trash rows of a preview bear it."""
_RANK = {"layer": 0, "image": 1, "container": 2}


def preview(seen: Overlay, events: list[Any]) -> None:
    """Fold events that are only planned into *seen*."""
    meta = Meta(PLANNED, 0, "")
    for meta.place, event in enumerate(events):
        seen.update(list(fold(seen, event, meta)))


def net(now: Rows, then: Rows, touched: Iterable[Thing], kept: bool, back: Collection[Thing] = ()) -> Events:
    """Events that make *then* of *now*, as far as the things (kind, ID) in *touched* differ.

    *back*: things that had come back, and may go again; they lie in the trash afterwards as they did before.
    """
    way = _Way(now, then, kept)
    things = list(dict.fromkeys(touched))
    going = [thing for thing in things if get(now, *thing) is not None and get(then, *thing) is None]
    coming = [thing for thing in things if get(now, *thing) is None and get(then, *thing) is not None]
    staying = [thing for thing in things if get(now, *thing) is not None and get(then, *thing) is not None]
    for thing in sorted(going, key=lambda one: _place(now, one), reverse=True):
        if thing in back and (left := trash.get(then, thing[0], PLANNED, thing[1])) is not None:
            way.edit_before_it_goes(*thing, left["row"], back)
        for pin in (get(now, *thing) or {}).get("pins", ()):  # what lies in the trash is not pinned, or it would lie there for ever
            way.do({"type": "Unpinned", "kind": thing[0], "id": thing[1], "pin": pin})
        way.do(deleted(*thing, kept))
    robbed = [one for thing in sorted(coming, key=lambda one: _place(then, one)) for one in way.bring_back(*thing)]
    present = list(dict.fromkeys((*staying, *coming, *robbed)))
    way.rename(present)
    for thing in present:
        way.edit(*thing, get(then, *thing) or {})
    return way.events


def _place(rows: Rows, thing: Thing) -> tuple[int, int]:
    """What stands on others comes after them."""
    return _RANK[thing[0]], (get(rows, *thing) or {})["order"]


class _Way:
    """The events so far, and the state that they lead to."""

    def __init__(self, now: Rows, then: Rows, kept: bool) -> None:
        self.seen, self.then, self.kept = Overlay(now), then, kept
        self.events: Events = []

    def do(self, event: Any) -> None:
        self.events.append(event)
        preview(self.seen, [event])

    def bring_back(self, kind: str, item_id: str) -> Iterator[Thing]:
        """Restore a thing as its last deletion left it. Yields holders that had to give up a name for that."""
        row = trash.of(self.seen, kind, item_id, (get(self.then, kind, item_id) or {})["order"]) or {}
        for name in row["row"].get("names", ()):
            other = holder(self.seen, kind, name)
            if other is not None:
                self._name(kind, other, [one for one in self._names(self.seen, (kind, other)) if one != name])
                yield kind, other
        self.do({"type": f"{kind.capitalize()}Restored", "id": item_id, "deleted_at": row["sequence"]})

    def rename(self, things: list[Thing]) -> None:
        """Names go where they belong; what somebody else waits for is given up first."""
        wanted = {thing: self._names(self.then, thing) for thing in things}
        for thing in things:
            held = self._names(self.seen, thing)
            left = [name for name in held if name in wanted[thing]]
            awaited = any(name in wanted[other] for other in things if other[0] == thing[0] for name in held if name not in left)
            if awaited and left != held:
                self._name(*thing, left)
        for thing in things:
            if self._names(self.seen, thing) != wanted[thing]:
                self._name(*thing, wanted[thing])

    def edit_before_it_goes(self, kind: str, item_id: str, goal: Row, back: Collection[Thing]) -> None:
        """A thing goes to the trash as it would on the long way; but a name that another keeps stays with that."""
        for name in goal.get("names", ()):
            other = holder(self.seen, kind, name)
            if other in (None, item_id):
                continue
            there = get(self.then, kind, other)
            if (kind, other) in back if there is None else name not in there.get("names", ()):  # it gives the name up anyway
                self._name(kind, other, [one for one in self._names(self.seen, (kind, other)) if one != name])
        names = [name for name in goal.get("names", ()) if holder(self.seen, kind, name) in (None, item_id)]
        if names != self._names(self.seen, (kind, item_id)):
            self._name(kind, item_id, names)
        self.edit(kind, item_id, {**goal, "pins": (get(self.seen, kind, item_id) or {}).get("pins", ())})

    def edit(self, kind: str, item_id: str, goal: Row) -> None:
        """Make everything of a thing but its names as in *goal*."""
        row = get(self.seen, kind, item_id) or {}
        for field, type_, empty in (("metadata", "MetadataSet", ""), ("flags", "FlagsSet", {})):
            if row.get(field, empty) != goal.get(field, empty):
                self.do({"type": type_, "kind": kind, "id": item_id, field: goal.get(field, empty)})
        held, items = row.get("big_data", {}), goal.get("big_data", {})
        for item in held:
            if item not in items:
                self.do({"type": "BigDataRemoved", "kind": kind, "id": item_id, "key": item})
        for item, ref in items.items():
            if held.get(item) != ref:
                self.do({"type": "BigDataSet", "kind": kind, "id": item_id, "key": item, **ref})
        for type_, pins, others in (("Unpinned", row, goal), ("Pinned", goal, row)):
            for pin in pins.get("pins", ()):
                if pin not in others.get("pins", ()):
                    self.do({"type": type_, "kind": kind, "id": item_id, "pin": pin})
        if row.get("mapped_layers", []) != goal.get("mapped_layers", []):
            self.do({"type": "ImageMappedLayersSet", "id": item_id, "mapped_layers": goal.get("mapped_layers", [])})

    def _name(self, kind: str, item_id: str, names: list[str]) -> None:
        self.do({"type": "NamesSet", "kind": kind, "id": item_id, "names": names})

    @staticmethod
    def _names(rows: Rows, thing: Thing) -> list[str]:
        row: Row = get(rows, *thing) or {}
        return list(row.get("names", ()))
