"""How far a journal may be folded away: never what an undo, a deleted thing that may come back, or a follower needs."""

from __future__ import annotations

from layerlog.projections import trash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.eventstore.rows import Rows


class Limit:
    """Commits after ``sequence`` stay, and ``why``."""

    __slots__ = ("sequence", "why")

    def __init__(self, sequence: int, why: str) -> None:
        self.sequence, self.why = sequence, why


def limit(rows: Rows, asked: int, retained_from: int, unfollowed: int) -> Limit:
    """The tightest of all limits.

    *asked*: the last commit that the caller wants folded; *retained_from*: the last commit from before retention;
    *unfollowed*: the last one whose segment no follower stands in.
    """
    found = [Limit(asked, ""), Limit(retained_from, "an undo may need what is younger than the retention")]
    if (thrown := next((row for row in trash.every(rows) if row["kept"]), None)) is not None:
        what = f"{thrown['kind']} {thrown['id'][:12]}, which commit {thrown['sequence']} deleted,"
        why = f"{what} can still come back (until the trash is emptied)"
        found.append(Limit(thrown["sequence"] - 1, why))
    found.append(Limit(unfollowed, "a follower has not read further"))
    return min(found, key=lambda one: one.sequence)
