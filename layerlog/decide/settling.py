"""The decision table of recovery: what to do about one ID whose holder died. CRASH.md §4 has it in words.

Five questions, each answered by exactly one row whatever was found; a test walks every combination. Pure.
"""

from __future__ import annotations

UNMOUNT, SWAP, DISCARD, DROP_OLD, BRING_BACK, REMOVE, PUT_ASIDE, LOSE, FREE, NOTHING = (
    "unmount", "swap", "discard", "drop old", "bring back", "remove", "put aside", "move to lost+found", "free", "",
)  # fmt: skip


class Seen:
    """What is known about an ID."""

    __slots__ = ("claimed", "committed", "counted", "in_trash", "kept", "mounted", "placed", "staged", "strange", "superseded")

    def __init__(
        self,
        *,
        mounted: bool,
        counted: bool,
        claimed: bool,
        committed: bool,
        staged: bool,
        superseded: bool,
        placed: bool,
        kept: bool,
        in_trash: bool,
        strange: bool,
    ) -> None:
        self.mounted = mounted
        """The kernel shows a mount of this layer."""
        self.counted = counted
        """The run journal of this boot counts one; or that of another run root may: the dead lease is of none who changed mounts here."""
        self.claimed = claimed
        """A layer record with this ID is in the journal."""
        self.committed = committed
        """That record has the generation that the dead lease says was on its way; or it says none, and the swap to it was begun."""
        self.staged = staged
        """``staging/<id>`` is there."""
        self.superseded = superseded
        """``staging/.superseded.<id>`` is there: the generation before."""
        self.placed = placed
        """The layer's own folder is there."""
        self.kept = kept
        """The last delete of this ID promised that it can be restored, and no later commit freed its contents."""
        self.in_trash = in_trash
        """The trash entry of its last delete is there."""
        self.strange = strange
        """Its dead lease does not say what was done, and no deletion of this ID is known whose contents these could be:
        the last one's lie in the trash. Who made what is there is unknown."""


class Row:
    """One row: the question it answers, what must be so, and the step. What is not named may be either way."""

    __slots__ = ("name", "question", "step", "when")

    def __init__(self, name: str, question: str, step: str, **when: bool) -> None:
        self.name, self.question, self.step, self.when = name, question, step, when

    def fits(self, seen: Seen) -> bool:
        """Whether everything it names is so."""
        return all(getattr(seen, what) == wanted for what, wanted in self.when.items())


MOUNT, STAGED, OLD, PLACE, TRASH = "what is mounted", "what is staged", "the generation before", "what is in place", "what is in the trash"
TABLE = (
    Row("M1", MOUNT, NOTHING, mounted=False),
    Row("M2", MOUNT, NOTHING, mounted=True, counted=True),
    Row("M3", MOUNT, UNMOUNT, mounted=True, counted=False),
    Row("S1", STAGED, NOTHING, staged=False),
    Row("S2", STAGED, SWAP, staged=True, claimed=True, committed=True),
    Row("S3", STAGED, DISCARD, staged=True, claimed=True, committed=False),
    Row("S4", STAGED, DISCARD, staged=True, claimed=False),
    Row("O1", OLD, NOTHING, superseded=False),
    Row("O2", OLD, DROP_OLD, superseded=True, placed=True),
    Row("O3", OLD, DROP_OLD, superseded=True, placed=False, claimed=False),
    Row("O4", OLD, NOTHING, superseded=True, placed=False, claimed=True, committed=True),
    Row("O5", OLD, BRING_BACK, superseded=True, placed=False, claimed=True, committed=False),
    Row("P1", PLACE, NOTHING, placed=False),
    Row("P2", PLACE, NOTHING, placed=True, claimed=True),
    Row("P3", PLACE, REMOVE, placed=True, claimed=False, kept=False, strange=False),
    Row("P4", PLACE, PUT_ASIDE, placed=True, claimed=False, kept=True, in_trash=False),
    Row("P5", PLACE, REMOVE, placed=True, claimed=False, kept=True, in_trash=True, strange=False),
    Row("P6", PLACE, LOSE, placed=True, claimed=False, kept=False, strange=True),
    Row("P7", PLACE, LOSE, placed=True, claimed=False, kept=True, in_trash=True, strange=True),
    Row("T1", TRASH, NOTHING, in_trash=False),
    Row("T2", TRASH, NOTHING, in_trash=True, kept=True),
    Row("T3", TRASH, FREE, in_trash=True, kept=False),
)
QUESTIONS = (MOUNT, STAGED, OLD, PLACE, TRASH)


def rows_for(seen: Seen) -> list[Row]:
    """The row that answers each question, in the order in which the steps are taken."""
    return [next(row for row in TABLE if row.question == question and row.fits(seen)) for question in QUESTIONS]


def decide_settling(seen: Seen) -> list[str]:
    """The steps, in order."""
    return [row.step for row in rows_for(seen) if row.step]
