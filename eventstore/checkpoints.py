"""Checkpoints: which runs exist, which of them make up a past or the present state, and making them.

Level 0 runs cover UNIT commits, each level above eight times as many, all aligned: so every prefix of history is the
greedy cover by its largest runs plus a short replayed tail, and ``at`` is the same thing as opening. The lowest
two levels go once a greater run covers them; the others stay, for ``at``. Everything here may be deleted at any time.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256

from layerlog.eventstore import disk
from layerlog.eventstore.blocks import RunDamaged
from layerlog.eventstore.codec import encode_json
from layerlog.eventstore.errors import CommitUnknown
from layerlog.eventstore.frame import CHAIN_START, HEADER_BYTES
from layerlog.eventstore.run_writer import RunWriter, merged
from layerlog.eventstore.runs import SUFFIX, Run
from layerlog.eventstore.safety import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.journal import Journal
    from layerlog.eventstore.position import Position
    from layerlog.eventstore.rows import Rows

UNIT = 64
"""Commits of a level 0 run: replaying so many takes 1 to 3 ms."""
FANOUT = 8
LEVELS = 6
KEPT_LEVEL = 2
"""From this level on runs stay when a greater one covers them: ``at`` replays UNIT * FANOUT**2 commits at most."""
PATIENT_LEVEL = 3
"""From this level on merging takes some tenths of a second and more: for processes that live long."""
STALE_SECONDS = 3600
_ONE = b"1"  # the value of most index rows


class Checkpoints:
    """The run files of one ledger. ``may_write`` off: only looked at."""

    def __init__(self, folder: str, journal: Journal, *, fold_version: int, may_write: bool) -> None:
        self.folder = folder
        self.journal = journal
        self.fold_version = fold_version
        self.may_write = may_write
        self._open: dict[tuple[int, int], Run] = {}

    def cover(self, sequence: int) -> list[Run]:
        """The runs that make up the state after *sequence* or, as far as there are runs, before it. Oldest first."""
        there = self._listing()
        of_bases = {(after, last) for after, last in there if not after and not _is_aligned(after, last)}
        found = self._cover(there - of_bases, sequence)
        for base in sorted(of_bases, reverse=True):  # history was compacted: what leads further counts
            if base[1] <= sequence:
                other = self._cover({base, *(one for one in there if one[0])}, sequence)
                found = max(found, other, key=lambda runs: runs[-1].last if runs else 0)
                break
        return found

    def _cover(self, there: set[tuple[int, int]], sequence: int) -> list[Run]:
        """The greedy cover by some of the runs."""
        while True:
            found: list[Run] = []
            at, chained = 0, CHAIN_START
            while (run := self._largest(there, at, sequence, chained)) is not None:
                found.append(run)
                at, chained = run.last, run.end.hash
            if not found or self._is_of_journal(found[-1]):
                return found
            there.discard((found[-1].after, found[-1].last))

    def _largest(self, there: set[tuple[int, int]], at: int, sequence: int, chained: bytes) -> Run | None:
        aligned = [last for last in (at + UNIT * FANOUT**level for level in range(LEVELS)) if _is_aligned(at, last)]
        for last in reversed(aligned) if at else sorted((last for after, last in there if not after), reverse=True):
            if last <= sequence and (at, last) in there:
                run = self._run(at, last)
                if run is not None and run.start_hash == chained:
                    return run
        return None

    def _run(self, after: int, last: int) -> Run | None:
        """An open run; a damaged file is removed, so that it is made again."""
        run = self._open.get((after, last))
        if run is None:
            path = self._path(after, last)
            try:
                run = Run(path, self.journal.id, self.fold_version)
            except RunDamaged:
                self._remove(after, last)
                return None
            if (run.after, run.last) != (after, last):
                self._remove(after, last)
                return None
            self._open[after, last] = run
        return run

    def _is_of_journal(self, run: Run) -> bool:
        """Whether the journal has, at the run's end, the frame that the run ends with."""
        end = run.end
        try:
            # A descriptor of its own: the journal's may be used by another thread.
            fd = disk.open_to_read(self.journal.segment(end.segment).path)
        except (FileNotFoundError, CommitUnknown):  # gone, or compacted away
            return False
        try:
            header = os.pread(fd, HEADER_BYTES, end.offset - end.back)
        finally:
            os.close(fd)
        return len(header) == HEADER_BYTES and sha256(header).digest() == end.hash

    def _listing(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for name in names_in(self.folder):
            after, _, last = name.removesuffix(SUFFIX).partition("-")
            if name.endswith(SUFFIX) and after.isdigit() and last.isdigit():
                found.add((int(after), int(last)))
        return found

    def _path(self, after: int, last: int) -> str:
        return os.path.join(self.folder, f"{after:012d}-{last:012d}{SUFFIX}")

    def _remove(self, after: int, last: int) -> None:
        self._open.pop((after, last), None)
        if self.may_write:
            disk.unlink(self._path(after, last))

    def drop(self, damaged: list[Run]) -> None:
        """Forget and remove runs whose contents turned out damaged."""
        for run in damaged:
            self._remove(run.after, run.last)

    # --- making -------------------------------------------------------------------------------------

    def write(self, changes: dict[bytes, Any], start: Position, end: Position, *, patient: bool, lost: int = 0) -> bool:
        """Make the run of the commits between two points, *lost* of which could not be read, and the greater runs that it completes.

        False when it could not be made (a full or read-only disk): that costs time, nothing else. *patient*: this
        process may spend seconds on great runs; others leave them to ``complete``.
        """
        if not self.may_write:
            return False
        try:
            if not self._run_is_there(start.sequence, end.sequence):
                writer = self._writer(start.sequence, end.sequence)
                try:
                    keys = sorted(key for key, value in changes.items() if value is not None or start.sequence)
                    writer.add(keys, [_ONE if changes[key] == 1 else encode_json(changes[key]).encode("ascii") for key in keys])
                    writer.finish(self.journal.id, self.fold_version, (start.sequence, start.hash), end, lost)
                except BaseException:
                    writer.drop()
                    raise
            self._merge_upwards(end.sequence, LEVELS if patient else PATIENT_LEVEL)
        except OSError:
            return False
        return True

    def write_from_start(self, rows: Rows, end: Position) -> bool:
        """Make the run of everything up to *end*, which compaction's base says; False when it could not be made."""
        if not self.may_write:
            return False
        try:
            writer = self._writer(0, end.sequence)
            try:
                for key, value in rows.scan(b""):
                    writer.add([key], [_ONE if value == 1 else encode_json(value).encode("ascii")])
                writer.finish(self.journal.id, self.fold_version, (0, CHAIN_START), end)
            except BaseException:
                writer.drop()
                raise
        except OSError:
            return False
        return True

    def complete(self) -> int:
        """Make the great runs that hasty processes left out; how many were made."""
        made = 0
        for level in range(PATIENT_LEVEL, LEVELS):
            width = UNIT * FANOUT**level
            there = self._listing()
            for last in sorted(last for after, last in there if last % width == 0 and last - after == width // FANOUT):
                if (last - width, last) not in there:
                    made += self._merge_level(level, last)
        return made

    def _run_is_there(self, after: int, last: int) -> bool:
        return os.path.exists(self._path(after, last)) and self._run(after, last) is not None

    def _writer(self, after: int, last: int) -> RunWriter:
        try:
            return RunWriter(self._path(after, last))
        except FileNotFoundError:
            disk.make_folder(self.folder)
            return RunWriter(self._path(after, last))

    def _merge_upwards(self, sequence: int, levels: int) -> None:
        for level in range(1, levels):
            if sequence % (UNIT * FANOUT**level):
                return
            if level == KEPT_LEVEL:
                self._sweep()
            if not self._merge_level(level, sequence):
                return

    def _merge_level(self, level: int, last: int) -> bool:
        """Have the run of that level that ends there; False when parts of it are missing."""
        width = UNIT * FANOUT**level
        after, part = last - width, width // FANOUT
        if self._run_is_there(after, last):
            return True
        parts = [self._run(after + part * index, after + part * (index + 1)) for index in range(FANOUT)]
        runs = [run for run in parts if run is not None]
        if len(runs) < FANOUT or not self._merge(runs, after, last):
            return False
        if level <= KEPT_LEVEL:
            for run in runs:
                self._remove(run.after, run.last)
        return True

    def _merge(self, runs: list[Run], after: int, last: int) -> bool:
        writer = self._writer(after, last)
        try:
            for keys, values in merged(runs, is_first=after == 0):
                writer.add(keys, values)
            writer.finish(self.journal.id, self.fold_version, (after, runs[0].start_hash), runs[-1].end, sum(run.lost for run in runs))
        except RunDamaged:
            writer.drop()
            self.drop(runs)
            return False
        except BaseException:
            writer.drop()
            raise
        return True

    def _sweep(self) -> None:
        """Remove what writers that died left half made, and small runs that greater ones cover."""
        for name in names_in(self.folder):
            path = os.path.join(self.folder, name)
            if name.endswith(".new") and time.time() - os.stat(path).st_mtime > STALE_SECONDS:
                disk.unlink(path)
        kept = UNIT * FANOUT**KEPT_LEVEL
        for after, last in self._listing():
            start = after // kept * kept
            if last - after < kept and self._run_is_there(start, start + kept):
                self._remove(after, last)

    def drop_from(self, sequence: int) -> None:
        """Remove every run that holds what this commit made of its payload; they are made again."""
        for after, last in self._listing():
            if last >= sequence:
                self._remove(after, last)

    def clear(self) -> None:
        """Remove every run; they are made again."""
        for after, last in self._listing():
            self._remove(after, last)


def _is_aligned(after: int, last: int) -> bool:
    """Whether a run of that range is one of a level; others are those of bases."""
    width = last - after
    return after % width == 0 and any(width == UNIT * FANOUT**level for level in range(LEVELS))


def is_boundary(sequence: int) -> bool:
    """Whether a level 0 run ends with this commit."""
    return sequence % UNIT == 0


def is_level_boundary(sequence: int) -> bool:
    """Whether a level 1 run ends with this commit."""
    return sequence % (UNIT * FANOUT) == 0
