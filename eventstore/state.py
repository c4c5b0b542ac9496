"""The state: runs at the bottom, what this process folded since on top, and the point it stands for.

Rows are layered: the top overlay holds the commits since the last unit boundary, ``recent`` those
since the base, the base is runs. At a boundary the top moves into ``recent`` and waits to be written as a run.
"""

from __future__ import annotations

import os
import threading

from layerlog.eventstore import codec
from layerlog.eventstore.checkpoints import FANOUT, UNIT, Checkpoints, is_boundary, is_level_boundary
from layerlog.eventstore.frame import HEADER_BYTES
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.rows import Overlay, Rows, Table
from layerlog.eventstore.runs import RunSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from layerlog.eventstore.blocks import RunDamaged
    from layerlog.eventstore.frame import Frame
    from layerlog.eventstore.position import Position

    Event = Any
    Fold = Callable[[Rows, Event, "Meta"], Iterable[tuple[bytes, Any | None]]]

CHECKPOINTS = "checkpoints"
KEY_SPACE = b"k\0"
OWN_EVENTS = frozenset(("PayloadRedacted", "RowsKept", "RunStarted"))
"""Event types that are the ledger's business; folds never see them."""


class Meta:
    """What a fold may know of the commit besides its events. ``place`` counts the events in it."""

    __slots__ = ("sequence", "time_ns", "actor", "place")

    def __init__(self, sequence: int, time_ns: int, actor: str) -> None:
        self.sequence = sequence
        self.time_ns = time_ns
        self.actor = actor
        self.place = 0


class Commit:
    """A commit as read back from the journal."""

    __slots__ = ("sequence", "time_ns", "envelope", "events", "key", "fingerprint", "redacted", "frame")

    def __init__(self, frame: Frame) -> None:
        assert frame.payload is not None
        document = codec.decode(frame.payload)
        self.sequence = frame.sequence
        self.time_ns = frame.time_ns
        self.envelope: dict[str, Any] = document["envelope"]
        self.events: list[Event] = document["events"]
        self.key: str | None = document.get("key")
        self.fingerprint: str | None = document.get("print")
        self.redacted = "redacted" in document
        self.frame = frame

    @property
    def size(self) -> int:
        """Bytes it takes in the journal."""
        length: int = self.frame.length
        return HEADER_BYTES + length

    def __repr__(self) -> str:
        return f"Commit(sequence={self.sequence}, events={self.events!r})"


def fold_commit(
    fold: Fold,
    rows: Rows,
    meta: Meta,
    events: list[Event],
    key: str | None,
    fingerprint: str | None,
) -> dict[bytes, Any]:
    """Row changes of a whole commit; each event sees the changes of those before it."""
    if len(events) == 1:
        changes = {} if events[0]["type"] in OWN_EVENTS else dict(fold(rows, events[0], meta))
    else:
        overlay = Overlay(rows)
        for meta.place, event in enumerate(events):
            if event["type"] not in OWN_EVENTS:
                overlay.update(list(fold(overlay, event, meta)))
        changes = overlay.changes
    if key is not None:
        changes[key_row(key)] = {"s": meta.sequence, "f": fingerprint}
    return changes


def key_row(key: str) -> bytes:
    """Where it stands which commit a client key made."""
    return KEY_SPACE + key.encode("utf-8", "surrogateescape")


def legible(key: bytes) -> str:
    """A key of rows for people."""
    return key.replace(b"\0", b" ").decode("utf-8", "replace")


class _Unit:
    """The changes of commits up to a unit boundary, in memory until a level 1 run has them."""

    __slots__ = ("changes", "start", "end", "lost", "written")

    def __init__(self, changes: dict[bytes, Any], start: Position, end: Position, lost: int) -> None:
        self.changes = changes
        self.lost = lost
        self.start = start
        self.end = end
        self.written = False


def _together(units: list[_Unit]) -> _Unit:
    changes: dict[bytes, Any] = {}
    for unit in units:
        changes.update(unit.changes)
    return _Unit(changes, units[0].start, units[-1].end, sum(unit.lost for unit in units))


class State:
    """Rows after ``position``. Changed by one thread at a time (the ledger's state lock); ``flush`` needs none."""

    def __init__(self, folder: str, journal: Journal, fold: Fold, *, fold_version: int, may_write: bool, until: int | None = None) -> None:
        """The state at the newest checkpoint at or before *until*, 0: from the journal alone; ``replay`` takes it further."""
        self.folder = folder
        self.journal = journal
        self.fold = fold
        self.checkpoints = Checkpoints(os.path.join(folder, CHECKPOINTS), journal, fold_version=fold_version, may_write=may_write)
        self.touched: dict[bytes, int] = {}
        """The last commit that changed a row, for rows changed since ``base_sequence``."""
        self.lost = 0
        """Commits before ``base_sequence`` that could not be read when the checkpoints were made."""
        self.redacted: set[int] = set()
        """Commits that were said to be redacted since this state was begun: their rows are of the old payloads."""
        self._flushing = threading.Lock()
        self._units: list[_Unit] = []
        self._flushed = 0
        self.position = self._rest_on(journal.position.sequence if until is None else until)
        self.base_sequence = self.position.sequence
        self._unit_start = self.position
        self._folded = 0
        """Commits since ``_unit_start``: fewer than there were where some are lost."""

    def _rest_on(self, sequence: int) -> Position:
        runs = self.checkpoints.cover(sequence)
        if not runs and (based := self.journal.base()) is not None:
            table = Table(based.rows())
            if not sequence or not self.checkpoints.write_from_start(table, based.after()):
                self.recent = Overlay(table)
                self.rows = Overlay(self.recent)
                return based.after()
            runs = self.checkpoints.cover(sequence)
        self.lost = sum(run.lost for run in runs)
        self.recent = Overlay(RunSet(runs, self._recovering(runs[-1].last) if runs else None))
        self.rows = Overlay(self.recent)
        return runs[-1].end if runs else self.journal.start()

    def apply(self, changes: dict[bytes, Any], sequence: int) -> None:
        """Take in the changes of the next commit; ``position`` follows by ``stand_at``."""
        self.rows.update(changes.items())
        self.touched.update(dict.fromkeys(changes, sequence))
        self._folded += 1

    def stand_at(self, position: Position) -> None:
        """The rows are now those after *position*."""
        self.position = position
        if is_boundary(position.sequence) and position.sequence > self._unit_start.sequence:
            # Damage can hide a boundary: what then spans two units is no run, and is replayed each time.
            if self.checkpoints.may_write and position.sequence - self._unit_start.sequence == UNIT:
                self._units.append(_Unit(self.rows.changes, self._unit_start, position, UNIT - self._folded))
            self.recent.update(self.rows.changes.items())
            self.rows = Overlay(self.recent)
            self._unit_start = position
            self._folded = 0

    def replay(self, until: Position) -> bool:
        """Fold the frames up to *until*; whether there were any."""
        if until.sequence <= self.position.sequence:
            return False
        for frame in self.journal.frames(self.position, until):
            self.apply(self.folded(Commit(frame)), frame.sequence)
            if is_boundary(frame.sequence):
                self.stand_at(frame.after())
        self.stand_at(until)
        return True

    def replay_to(self, sequence: int) -> None:
        """Fold the frames up to that commit."""
        for frame in self.journal.frames(self.position):
            if frame.sequence > sequence:
                break
            self.apply(self.folded(Commit(frame)), frame.sequence)
            self.stand_at(frame.after())

    def folded(self, commit: Commit) -> dict[bytes, Any]:
        """Row changes of a commit on top of these rows."""
        self.note_redacted(commit.events)
        meta = Meta(commit.sequence, commit.time_ns, commit.envelope.get("actor", ""))
        return fold_commit(self.fold, self.rows, meta, commit.events, commit.key, commit.fingerprint)

    def note_redacted(self, events: list[Event]) -> None:
        """Take notice of what a commit says of the payloads of others."""
        for event in events:
            if event["type"] == "PayloadRedacted":
                self.redacted.update(event["sequences"])

    # --- checkpoints --------------------------------------------------------------------------------

    @property
    def has_units(self) -> bool:
        """Whether there is something to flush."""
        return len(self._units) > self._flushed

    def flush(self, state_lock: threading.RLock | None = None, *, patient: bool = False) -> None:
        """Write waiting units as runs. One thread does it, others go on; bounded by the commits since the last time.

        *patient*: this process lives long and has the rows in memory; it writes them by the level 1 run. Another
        process that opens meanwhile replays a little more, and writes the small runs itself. Raises nothing that a disk, or
        too many open files, may cause: who calls has a change to acknowledge, and runs are only derived.
        """
        units = self._units  # another thread may settle on runs meanwhile, and leave none
        if patient and units and not is_level_boundary(units[-1].end.sequence):
            self._flushed = len(units)
            return
        if not self.checkpoints.may_write or not self._flushing.acquire(blocking=False):
            return
        try:
            waiting = [unit for unit in self._units if not unit.written]
            last = waiting[-FANOUT:]
            if patient and last and last[-1].end.sequence - last[0].start.sequence == UNIT * FANOUT == UNIT * len(last):  # none is missing
                waiting = [*waiting[:-FANOUT], _together(last)]
            for unit in waiting:
                unit.written = self.checkpoints.write(unit.changes, unit.start, unit.end, patient=patient, lost=unit.lost)
                if not unit.written:  # a full disk: again at the next boundary
                    break
                if is_level_boundary(unit.end.sequence):
                    self._settle_on(unit.end.sequence, state_lock)
        except (OSError, MemoryError):
            return  # as on a full disk: again at the next boundary
        finally:
            self._flushed = len(self._units)
            self._flushing.release()

    def _settle_on(self, sequence: int, state_lock: threading.RLock | None) -> None:
        """Rest on runs up to *sequence* and forget what was held in memory of it."""
        runs = self.checkpoints.cover(sequence)
        if not runs or runs[-1].last != sequence:
            return
        recent = Overlay(RunSet(runs, self._recovering(sequence)))
        if state_lock is not None:
            state_lock.acquire()
        try:
            self._units = [unit for unit in self._units if unit.end.sequence > sequence]
            self._flushed = 0
            self.lost = sum(run.lost for run in runs)
            for unit in self._units:
                recent.update(unit.changes.items())
            rows = Overlay(recent)
            rows.update(self.rows.changes.items())
            self.recent, self.rows = recent, rows
            self.base_sequence = sequence  # before what it stands for goes: see Batch._check_expected
            self.touched = {key: last for key, last in self.touched.items() if last > sequence}
        finally:
            if state_lock is not None:
                state_lock.release()

    def _recovering(self, sequence: int) -> Callable[[RunDamaged], Rows]:
        """How rows at *sequence* are had when one of their runs is damaged: without it, by replay."""

        def recover(damage: RunDamaged) -> Rows:
            journal = Journal.open(self.folder, read_only=True, durable=self.journal.durable)
            self.checkpoints.drop(self.checkpoints.cover(sequence))
            other = State(
                self.folder,
                journal,
                self.fold,
                fold_version=self.checkpoints.fold_version,
                may_write=self.checkpoints.may_write,
                until=0,
            )
            try:
                other.replay_to(sequence)
                other.flush()
            finally:
                journal.close()
            return other.rows

        return recover
