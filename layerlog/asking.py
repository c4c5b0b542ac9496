"""Questions about the past: who held a name, who did how much, and what is different between two points."""

from __future__ import annotations

import time

from layerlog.history import Commit, HistoryMethods
from layerlog.projections.items import Row, every
from layerlog.records import RECORD, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from layerlog.growth import Grown
    from layerlog.view import View

KINDS = ("image", "container", "layer")
PERIODS = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
"""How a stretch of time is called (strftime(3), local time), for ``who(per=...)``."""


class Tenure:
    """One holder of a name, from one commit to another; ``until`` is None while it still holds it."""

    __slots__ = ("ended_by", "id", "kind", "since", "until")

    def __init__(self, kind: str, id: str, since: Commit) -> None:
        self.kind, self.id, self.since = kind, id, since
        self.until: Commit | None = None
        self.ended_by = ""
        """``renamed``, ``moved`` (another thing took the name), ``deleted`` or ``wiped``."""


class Doing:
    """What one actor did, in all or in one period: changes, and bytes of contents that came in."""

    __slots__ = ("actor", "bytes_added", "changes", "first", "kinds", "last", "period")

    def __init__(self, actor: str, first: Commit, period: str = "") -> None:
        self.actor, self.first, self.last, self.period = actor, first, first, period
        self.changes = 0
        self.bytes_added = 0
        """Bytes of uncompressed layer contents and big data that its commits brought in."""
        self.kinds: dict[str, int] = {}
        """Event type -> how many."""


class ItemDifference:
    """One thing that is not the same in two states. ``before`` or ``after`` is None where it is not there."""

    __slots__ = ("after", "before", "id", "kind")

    def __init__(self, kind: str, id: str, before: Row | None, after: Row | None) -> None:
        self.kind, self.id, self.before, self.after = kind, id, before, after

    @property
    def what(self) -> str:
        """``came``, ``went`` or ``changed``."""
        return "came" if self.before is None else "went" if self.after is None else "changed"

    @property
    def fields(self) -> list[str]:
        """Names of the fields that differ, without bookkeeping."""
        before, after = self.before or {}, self.after or {}
        found = {name for name in (*before, *after) if before.get(name) != after.get(name)}
        return sorted(found - {"changed", "order"})

    @property
    def record(self) -> Record:
        """The thing, as it is after, else as it was before."""
        return RECORD[self.kind](self.after or self.before or {})

    @property
    def growth(self) -> int:
        """Bytes of recorded contents and big data after, less those before."""
        return recorded_bytes(self.after) - recorded_bytes(self.before)


class AskingMethods(HistoryMethods):
    """Ask the journal."""

    def blame(self, name: str, kind: str | None = None) -> list[Tenure]:
        """Every holder that *name* ever had, oldest first; within one kind, or in all."""
        found: list[Tenure] = []
        holding: dict[str, Tenure] = {}
        thrown: dict[tuple[str, str, int], bool] = {}
        for commit in self.history():
            for event in commit.events:
                for one, item_id, gains, how in _claims(event, name, thrown, commit.sequence, holding):
                    if kind is None or one == kind:
                        _pass_on(found, holding, commit, one, item_id, gains, how)
        return found

    def who(self, after: int = 0, until: int | None = None, per: str = "") -> list[Doing]:
        """Who changed how much in a range of commits, most changes first; *per* one of PERIODS: in each, oldest first."""
        found: dict[tuple[str, str], Doing] = {}
        for commit in self.history(after, until):
            period = time.strftime(PERIODS[per], time.localtime(commit.time_ns // 10**9)) if per else ""
            doing = found.setdefault((period, commit.by), Doing(commit.by, commit, period))
            doing.last = commit
            doing.changes += 1
            for event in commit.events:
                doing.kinds[event["type"]] = doing.kinds.get(event["type"], 0) + 1
                doing.bytes_added += recorded_bytes(event) + (event.get("size", 0) if event["type"] == "BigDataSet" else 0)
        return sorted(found.values(), key=lambda doing: (doing.period, -doing.changes))

    def growth(self, since: str | int) -> list[Grown]:
        """Commits since then that added recorded bytes or freed them for good, in order."""
        from layerlog.growth import growth

        return growth(self, since)

    def diff_state(self, older: str | int, newer: str | int = "now") -> list[ItemDifference]:
        """What differs between two points in time; see when.py for how they are given."""
        return differences(self.at(older), self.at(newer))


def differences(older: View, newer: View) -> list[ItemDifference]:
    """What differs between two states, by kind and in order of creation."""
    found = []
    for kind in KINDS:
        before, after = _rows_of(older, kind), _rows_of(newer, kind)
        both = sorted({**before, **after}.values(), key=lambda row: row["order"])
        found += [
            ItemDifference(kind, row["id"], before.get(row["id"]), after.get(row["id"]))
            for row in both
            if before.get(row["id"]) != after.get(row["id"])
        ]
    return found


def applied(rows: dict[tuple[str, str], Row], found: Iterable[ItemDifference]) -> dict[tuple[str, str], Row]:
    """The older state, by (kind, ID), with the differences applied: the newer one."""
    result = dict(rows)
    for one in found:
        if one.after is None:
            result.pop((one.kind, one.id), None)
        else:
            result[one.kind, one.id] = one.after
    return result


def rows_by_id(view: View) -> dict[tuple[str, str], Row]:
    """All things of a state by (kind, ID)."""
    return {(kind, item_id): row for kind in KINDS for item_id, row in _rows_of(view, kind).items()}


def _rows_of(view: View, kind: str) -> dict[str, Row]:
    with view.reading() as rows:
        return {row["id"]: row for row in every(rows, kind)}


def recorded_bytes(row: Any) -> int:
    """Bytes of a row's, or an event's, recorded contents and big data."""
    if not row:
        return 0
    contents = row.get("contents") or {}
    sizes: list[int] = [contents.get("diff_size", 0), *(ref["size"] for ref in row.get("big_data", {}).values())]
    return sum(sizes)


def _claims(
    event: Any, name: str, thrown: dict[tuple[str, str, int], bool], sequence: int, holding: dict[str, Tenure]
) -> Iterator[tuple[str, str, bool, str]]:
    """(kind, ID, whether it now has the name, how it lost it) of everything the event says about *name*."""
    type_ = event["type"]
    if type_ == "NamesSet":
        yield event["kind"], event["id"], name in event["names"], "renamed"
    elif type_ == "StoreWiped":
        for kind, tenure in list(holding.items()):
            thrown[kind, tenure.id, sequence] = True
            yield kind, tenure.id, False, "wiped"
    for kind in KINDS:
        if type_ == f"{kind.capitalize()}Created" and name in event.get("names", ()):
            yield kind, event["id"], True, ""
        elif type_ == f"{kind.capitalize()}Deleted" and kind in holding and holding[kind].id == event["id"]:
            thrown[kind, event["id"], sequence] = True
            yield kind, event["id"], False, "deleted"
        elif type_ == f"{kind.capitalize()}Restored" and thrown.get((kind, event["id"], event["deleted_at"])):
            yield kind, event["id"], True, ""


def _pass_on(found: list[Tenure], holding: dict[str, Tenure], commit: Commit, kind: str, item_id: str, gains: bool, how: str) -> None:
    """Note that a thing has the name now, or no longer."""
    present = holding.get(kind)
    if gains and (present is None or present.id != item_id):
        for earlier in found[-1:]:
            if earlier.until is commit and earlier.ended_by == "renamed":
                earlier.ended_by = "moved"
        holding[kind] = Tenure(kind, item_id, commit)
        found.append(holding[kind])
    elif not gains and present is not None and present.id == item_id:
        present.until, present.ended_by = commit, how
        del holding[kind]
