"""What is left of a store's records: a journal with holes, or nothing but checkpoints; an export (exporting.py) is one, too.

Each kind of remains gives the same four things: the commits that can be read, which ones are known to be lost, the
rows that checkpoints hold, and commit 1. ``mending.py`` makes a whole journal of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerlog.eventstore import codec
from layerlog.eventstore.envelope import process_facts
from layerlog.eventstore.genesis import genesis_event
from layerlog.eventstore.rows import Table
from layerlog.eventstore.scavenge import Lost, Scavenger, genesis_copy, orphaned_runs, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Remains:
    """Nothing is left: the base of the others, and what ``rebuild`` of a store without checkpoints has."""

    what = "no journal"
    in_place = False
    """Whether it is a journal in its place, which the mended one replaces."""

    def __init__(self, folder: str, driver: str) -> None:
        self.folder, self.driver = folder, driver

    def commits(self) -> Iterator[tuple[int, int, bytes]]:
        """Sequence, time and payload of each commit that can be read, in order."""
        return iter(())

    def lost(self, known_last: int) -> list[Lost]:
        """Commits that were made and cannot be read. *known_last*: a commit that is known to have been made."""
        return [Lost(1, known_last, "no journal")] if known_last else []

    def checkpoint(self) -> tuple[Table, int]:
        """Rows as they were after some commit, and which."""
        return Table(), 0

    def beginning(self) -> tuple[Table, int]:
        """Rows that stand for commits which are gone on purpose (compaction), and up to which."""
        return Table(), 0

    def notes(self) -> list[str]:
        """What else there is to say."""
        return []

    def genesis(self) -> bytes:
        """The payload of commit 1, where it is not among the commits."""
        copy = genesis_copy(self.folder)
        return copy or codec.Encoder().encode([genesis_event(driver=self.driver, options=[])], process_facts())


class Orphaned(Remains):
    """The journal is gone; its checkpoints may be here."""

    def __init__(self, folder: str, driver: str) -> None:
        super().__init__(folder, driver)
        self._rows, self._last = rows_of(orphaned_runs(folder))

    def checkpoint(self) -> tuple[Table, int]:
        return self._rows, self._last

    def lost(self, known_last: int) -> list[Lost]:
        first = 2 if genesis_copy(self.folder) else 1
        last = max(self._last, known_last)
        return [Lost(first, last, "no journal")] if last >= first else []

    def notes(self) -> list[str]:
        known = [f"checkpoints know the state after commit {self._last}"] if self._last else []
        return known or ["the records themselves are lost: names, metadata, containers, and images whose manifests are gone"]


class Damaged(Remains):
    """A journal with holes."""

    what = "a damaged journal"
    in_place = True

    def __init__(self, folder: str, driver: str) -> None:
        """Raises FileNotFoundError (no segment), JournalError (nothing in it is readable), UnknownFormat."""
        super().__init__(folder, driver)
        self.scavenger = Scavenger(folder)

    def commits(self) -> Iterator[tuple[int, int, bytes]]:
        return self.scavenger.payloads()

    def lost(self, known_last: int) -> list[Lost]:
        return self.scavenger.lost(known_last)

    def checkpoint(self) -> tuple[Table, int]:
        return self.scavenger.checkpoint()

    def beginning(self) -> tuple[Table, int]:
        return self.scavenger.beginning()

    def notes(self) -> list[str]:
        return [f"segment {one.segment}, byte {one.offset}: a flipped bit, set right" for one in self.scavenger.mended()]
