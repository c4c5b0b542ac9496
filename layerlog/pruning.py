"""What Store offers for making room: a plan of what nobody needs, and the same plan carried out later, or refused.

A plan is a document: it carries the state that it was made on, can be read, kept and shown to somebody, and is carried
out exactly or not at all.
"""

from __future__ import annotations

import json
import time

from layerlog import change
from layerlog.core import Core
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerlog.decide.pruning import Going

FORMAT = 1
PIECE = 500
"""Things that one commit deletes at most; a longer prune commits in pieces, so that it works on a full disk."""
KINDS = ("container", "image", "layer")
_FIELDS = {"kind": str, "id": str, "names": list, "why": str, "size": int, "with_image": str}


class InvalidPlan(InvalidRequest):
    """A document that is no plan, or one of another store. Data: ``why``."""

    message = "not a plan of this store: {why}"
    hint = "layerlog prune --plan makes one"


class PrunePlan:
    """What a prune would delete, in order. ``head`` is the commit it was made on, with its hash."""

    __slots__ = ("going", "head")

    def __init__(self, going: Sequence[Going], head: str) -> None:
        self.going, self.head = list(going), head

    @property
    def planned_on(self) -> int:
        """The commit that it was made on."""
        return int(self.head.partition(":")[0])

    @property
    def size(self) -> int:
        """Recorded bytes that it would give back, at once or when the trash is emptied."""
        return sum(one.size for one in self.going)

    def dump(self) -> str:
        """The plan as a JSON document, ended by a newline."""
        rows = [
            {"kind": one.kind, "id": one.id, "names": one.names, "why": one.why, "size": one.size, "with_image": one.with_image}
            for one in self.going
        ]
        return json.dumps({"layerlog_plan": FORMAT, "head": self.head, "delete": rows}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str | bytes) -> PrunePlan:
        """A plan of what ``dump`` gave. Raises InvalidPlan."""
        from layerlog.decide.pruning import Going

        try:
            found = json.loads(text)
        except ValueError as broken:
            raise InvalidPlan(why="it is not JSON") from broken
        if not isinstance(found, dict) or found.get("layerlog_plan") != FORMAT:
            raise InvalidPlan(why="it does not say layerlog_plan 1")
        head, rows = found.get("head"), found.get("delete")
        if not isinstance(head, str) or not head.partition(":")[0].isdigit() or not isinstance(rows, list):
            raise InvalidPlan(why="head or delete is missing")
        going = []
        for row in rows:
            whole = isinstance(row, dict) and all(type(row.get(key)) is kind for key, kind in _FIELDS.items())
            if not whole or row["kind"] not in KINDS:
                raise InvalidPlan(why="an entry of delete lacks a field")
            going.append(Going(**{key: row[key] for key in _FIELDS}))
        return cls(going, head)


class PruneMethods(Core):
    """Delete what nobody needs."""

    def plan_prune(self, kinds: Iterable[str] = KINDS, *, everything: bool = False, older_than: float = 0.0) -> PrunePlan:
        """What nobody needs, as a plan; changes nothing.

        *kinds*: of ``container`` (those not mounted), ``image`` (those without names and containers, each with the layers
        that only it needs), ``layer`` (those without names that nothing needs). *everything*: also images that have names, if no
        container uses them, and layers that have names or were made for a ``layer_for`` key. *older_than*: only what was
        created that many seconds ago or more. What is pinned or mounted stays. Raises InvalidRequest.
        """
        from layerlog.decide.pruning import plan
        from layerlog.verifying import head

        kinds = tuple(kinds)
        if strange := [one for one in kinds if one not in KINDS]:
            raise InvalidRequest(f"there is no kind {strange[0]!r}: {', '.join(KINDS)}")
        before_ns = time.time_ns() - round(older_than * 1e9) + (1 if not older_than else 0)
        made_on = head(self)
        with self.reading() as rows:
            return PrunePlan(plan(rows, kinds, everything, before_ns, self._mounted()), made_on)

    def apply_plan(self, plan: PrunePlan) -> list[int]:
        """Delete exactly what *plan* says; return the commits, one per 500 things. Durable on return; restorable within retention.

        Raises StaleVersion (PlanOutdated) when something of it was changed or came into use since, InvalidPlan when it was
        made on another store; then nothing was deleted (but see below). Between two commits of a long plan others may
        come; a plan that is outdated by them stops there, with what was committed so far.
        """
        from layerlog.decide.pruning import removal

        self.must_write()
        self._of_this_store(plan)
        kept, expected = self.retention_seconds > 0, plan.planned_on
        with self.reading() as rows:
            removal(rows, plan.going, kept, expected, self._mounted())

        def delete(piece: list[Going]) -> int:
            what = f"prune {[one.id for one in piece]}"
            return change.remove(self, lambda rows: removal(rows, piece, kept, expected, self._mounted()), what).sequence

        return [delete(piece) for piece in _pieces(plan.going)]

    def prune(self, kinds: Iterable[str] = KINDS, *, everything: bool = False, older_than: float = 0.0) -> PrunePlan:
        """``plan_prune`` and ``apply_plan`` in one; returns what was deleted."""
        plan = self.plan_prune(kinds, everything=everything, older_than=older_than)
        self.apply_plan(plan)
        return plan

    def _mounted(self) -> set[str]:
        from layerlog.run_roots import every_mount

        return {row["id"] for row in every_mount(self)}

    def _of_this_store(self, plan: PrunePlan) -> None:
        """The commit that the plan was made on is one of this store's."""
        from layerlog.eventstore.journal import Journal

        number, _, digest = plan.head.partition(":")
        journal = Journal.open(self.ledger.folder, read_only=True, durable=True)
        try:
            sequence = int(number)
            if sequence <= journal.position.sequence:
                for frame in journal.frames(journal.start_of(sequence)):
                    if frame.sequence == sequence and frame.hash.hex() == digest:
                        return
                    if frame.sequence >= sequence:
                        break
        finally:
            journal.close()
        raise InvalidPlan(why=f"commit {number} is another one here")


def _pieces(going: Sequence[Going]) -> list[list[Going]]:
    """Slices of the plan; an image and its layers stay together."""
    found: list[list[Going]] = [[]]
    for one in going:
        if len(found[-1]) >= PIECE and not one.with_image:
            found.append([])
        found[-1].append(one)
    return [piece for piece in found if piece]


__all__ = ["InvalidPlan", "PruneMethods", "PrunePlan"]
