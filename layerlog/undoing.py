"""Undo: the inverse of past commits, planned first, committed as one change that can itself be undone."""

from __future__ import annotations

from layerlog import change
from layerlog.asking import AskingMethods
from layerlog.decide.netting import PLANNED, net, preview
from layerlog.decide.undoing import UndoConflict, inverse, touched_by
from layerlog.eventstore.errors import CommitUnknown, InvalidRequest, StoreError
from layerlog.eventstore.rows import Overlay, Rows
from layerlog.projections import trash
from layerlog.projections.items import get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.eventstore.requests import Committed
    from layerlog.history import Commit


NO_CHANGE = frozenset(("TrashFreed", "JournalCompacted", "LayerOpenedForWriting", "StoreMended"))
"""What the store does by itself, or a look at contents does: nobody means these by "my last three changes"."""


class UndoPlan:
    """What an undo would do: ``events`` that would be committed, ``conflicts`` that stand in the way, by commit."""

    __slots__ = ("commits", "conflicts", "events", "planned_on")

    def __init__(self, commits: list[Commit], events: list[Any], conflicts: list[tuple[int, str]], planned_on: int) -> None:
        self.commits, self.events, self.conflicts, self.planned_on = commits, events, conflicts, planned_on


class _Before(Rows):
    """The rows before a commit, looked up only when an inverse asks for them: most need none."""

    __slots__ = ("_core", "_rows", "_sequence")

    def __init__(self, core: AskingMethods, sequence: int) -> None:
        self._core, self._sequence = core, sequence
        self._rows: Rows | None = None

    def _then(self) -> Rows:
        if self._rows is None:
            self._rows = self._core.ledger.at(self._sequence - 1)
        return self._rows

    def get(self, key: bytes) -> Any | None:
        return self._then().get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return self._then().keys(prefix)


class UndoMethods(AskingMethods):
    """Take commits back."""

    def plan_undo(self, sequence: int | None = None, *, last: int = 0, by: str = "") -> UndoPlan:
        """What undoing would do; changes nothing.

        One of *sequence*: that commit; *last*: the newest n commits; *by*: all commits of an actor, user or program.
        Undos, what they undid, and housekeeping do not count for *last* and *by*.
        """
        commits = self._chosen(sequence, last, by)
        with self.reading() as now:
            events, conflicts = self._turned([(commit, _Before(self, commit.sequence)) for commit in commits], now)
        return UndoPlan(commits, events, conflicts, self.sequence)

    def undo(self, sequence: int | None = None, *, last: int = 0, by: str = "") -> Committed:
        """Undo commits, newest first, as one commit. All or nothing: raises UndoConflict naming what stands in the way.

        Names, metadata, big data, pins come back, and within retention deleted things with their contents;
        contents that were replaced do not. On terms of an expected version, *last* and *by* mean what they meant then.
        """
        self.must_write()
        commits = [(commit, _Before(self, commit.sequence)) for commit in self._chosen(sequence, last, by)]
        numbers = [commit.sequence for commit, _ in commits]

        def decide(rows: Rows) -> list[Any]:
            events, conflicts = self._turned(commits, rows)
            if conflicts:
                raise UndoConflict(sequence=conflicts[0][0], why=conflicts[0][1])
            return events

        undoing = self.on_terms(undoes=numbers)
        return change.remove(undoing, decide, f"undo {numbers}")

    def _chosen(self, sequence: int | None, last: int, by: str) -> list[Commit]:
        """The commits meant, newest first. Raises InvalidRequest where it is not said which: never all of them by mistake."""
        if (sequence is not None) + bool(last) + bool(by) != 1 or last < 0:
            raise InvalidRequest("give one of: a commit, how many of the newest, an actor")
        if sequence is not None:
            return [self.commit_at(sequence)]
        undone: set[int] = set()
        found: list[Commit] = []
        for commit in self.history(after=1, until=self.terms.expected, reverse=True):
            if commit.sequence in undone:
                continue
            if undid := commit.envelope.get("undoes"):
                undone.update(undid)
                continue
            if all(event["type"] in NO_CHANGE for event in commit.events):
                continue
            if by and by not in (commit.by, commit.envelope.get("program")):
                continue
            found.append(commit)
            if last and len(found) == last:
                break
        if not found or (last and len(found) < last):
            raise CommitUnknown(asked=f"last {last}" if last else by)
        return found

    def _turned(self, commits: list[tuple[Commit, _Before]], rows: Rows) -> tuple[list[Any], list[tuple[int, str]]]:
        """What leads from *rows* to where the inverses of *commits* lead, each seeing what those before it did; and the conflicts."""
        seen = Overlay(rows.own)
        touched: list[tuple[str, str]] = []
        conflicts: list[tuple[int, str]] = []
        kept = self.retention_seconds > 0
        for commit, before in commits:
            for place, event in reversed(list(enumerate(commit.events))):
                try:
                    if commit.redacted and event["type"] == "NamesSet":  # a placeholder cannot be told from another name
                        raise UndoConflict(sequence=commit.sequence, why="its names were redacted")
                    deleted_in = self._deleted_in(seen, event, commit.sequence, before)
                    turned = inverse(_before_event(before, commit, place), rows.with_own(seen), event, deleted_in, kept, self._undid)
                except UndoConflict as refused:
                    conflicts.append((commit.sequence, str(refused.data["why"])))
                    continue
                except StoreError as refused:
                    conflicts.append((commit.sequence, str(refused)))
                    continue
                preview(seen, turned)
                touched += map(touched_by, turned)
        others = [thing for thing in dict.fromkeys(touched) if _became_another(rows.own, seen, *thing)]
        conflicts += [(commits[-1][0].sequence, f"{kind} {one[:12]} is another one now: undo first what made it") for kind, one in others]
        back = [touched_by(event) for commit, _ in commits for event in commit.events if event["type"].endswith("Restored")]
        return net(rows.own, seen, [thing for thing in touched if thing not in others], kept, back), conflicts

    def _deleted_in(self, rows: Rows, event: Any, sequence: int, before: Rows) -> int:
        """The commit whose deletion is to be undone: where an undo, perhaps this one, has deleted that thing again since, that one."""
        kind = event["type"].removesuffix("Deleted").lower()
        if not event["type"].endswith("Deleted") or trash.get(rows, kind, sequence, event["id"]) is not None:
            return sequence
        was = get(before, kind, event["id"])
        again = trash.of(rows, kind, event["id"], was["order"]) if was is not None else None
        return int(again["sequence"]) if again is not None and self._undid(again["sequence"]) else sequence

    def _undid(self, sequence: int) -> bool:
        """Whether a commit was an undo; what is only planned here is one."""
        return sequence == PLANNED or bool(self.commit_at(sequence).envelope.get("undoes"))


def _before_event(before: Rows, commit: Commit, place: int) -> Rows:
    """What an event of a commit found: names may change hands several times in one commit, and a thing come back and be edited."""
    event, earlier = commit.events[place], commit.events[:place]
    same = [one["type"] for one in earlier if "id" in one and one["id"] == event.get("id")]
    edited = bool(same) and (event["type"] == "NamesSet" or any(type_.endswith("Restored") for type_ in same))
    if not edited and not (event["type"] == "ContainerDeleted" and earlier):  # whose layer the commit may have put to use before
        return before
    found = Overlay(before)
    preview(found, earlier)
    return found


def _became_another(now: Rows, then: Rows, kind: str, item_id: str) -> bool:
    """Whether two things bear that ID in the two states: one commit never deletes the one and brings back the other (DESIGN §2)."""
    one, other = get(now, kind, item_id), get(then, kind, item_id)
    return one is not None and other is not None and one["order"] != other["order"]
