"""The past: commits in order, backwards, by number and by time, and the state as it was."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256

from layerlog.eventstore.damage import Damage, Walk
from layerlog.eventstore.errors import CommitUnknown, StoreClosed
from layerlog.eventstore.frame import HEADER_BYTES, Frame
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.position import Position
from layerlog.eventstore.rows import Table
from layerlog.eventstore.state import Commit, State
from layerlog.eventstore.tail import lost_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.reading import Reader
    from layerlog.eventstore.rows import Rows
    from layerlog.eventstore.segments import Segment
    from layerlog.eventstore.state import Fold


class History:
    """The half of Ledger that reads the past. Each call opens the journal anew, so that threads never share a reader."""

    folder: str
    durable: bool
    _closed: bool
    _fold: Fold
    _fold_version: int
    _reader: Journal
    """That of the ledger, for what it found damaged."""

    @property
    def sequence(self) -> int:
        """The last durable commit."""
        raise NotImplementedError

    def _read_journal(self) -> Journal:
        if self._closed:
            raise StoreClosed
        return Journal.open(self.folder, read_only=True, durable=self.durable)

    def begins(self) -> int:
        """The point from which on commits, and states, can be read: 0, or where compaction cut and archived nothing."""
        journal = self._read_journal()
        try:
            with suppress(CommitUnknown):
                journal.reach_back(0)
            return journal.start().sequence
        finally:
            journal.close()

    def history(self, after: int = 0, until: int | None = None, reverse: bool = False) -> Iterator[Commit]:
        """Commits after that one, up to that one (default: the newest); lost ones, and those compacted away, are left out.

        Raises: HistoryCompacted when all of them were compacted away.
        """
        journal = self._read_journal()
        try:
            try:
                journal.reach_back(after)
            except CommitUnknown as refused:
                after = journal.start().sequence
                if until is not None and until <= after:
                    raise type(refused)(**{**refused.data, "asked": until}) from None  # type: ignore[arg-type] # its own data
            last = journal.position.sequence if until is None else min(until, journal.position.sequence)
            for frame in backwards(journal, last) if reverse else journal.frames(journal.start_of(after + 1)):
                if after < frame.sequence <= last:
                    yield Commit(frame)
                elif (frame.sequence <= after) if reverse else (frame.sequence > last):
                    return
        finally:
            journal.close()

    def read_through(self) -> None:
        """Read every frame that is kept: then ``has_damage`` knows, too, of what lies before the checkpoints."""
        journal = self._read_journal()
        try:
            for _ in journal.frames(journal.start()):
                pass
            self._reader.damage.update(journal.damage)
        finally:
            journal.close()

    def commit_at(self, sequence: int) -> Commit:
        """One commit. Raises: CommitUnknown."""
        for commit in self.history(sequence - 1, sequence):
            return commit
        raise CommitUnknown(asked=sequence)

    def at(self, sequence: int) -> Rows:
        """The state as it was after that commit. Raises: CommitUnknown, HistoryCompacted."""
        if not 0 <= sequence <= self.sequence:
            raise CommitUnknown(asked=sequence)
        if sequence == 0:
            return Table()
        journal = self._read_journal()
        try:
            journal.reach_back(sequence)
            state = State(self.folder, journal, self._fold, fold_version=self._fold_version, may_write=False, until=sequence)
            state.replay_to(sequence)
        finally:
            journal.close()
        return state.rows

    def time_at(self, sequence: int) -> int:
        """When that commit was made, in ns; 0 for the point before the first. Raises: CommitUnknown, HistoryCompacted."""
        journal = self._read_journal()
        try:
            start = journal.start()
        finally:
            journal.close()
        if sequence == 0:
            return 0
        return start.time_ns if sequence == start.sequence else self.commit_at(sequence).time_ns

    def sequence_at(self, time_ns: int) -> int:
        """The last commit made at or before that time; 0 when there was none. A point that was compacted away is one before ``begins``."""
        journal = self._read_journal()
        try:
            begins = journal.start()
            if begins.sequence and begins.time_ns > time_ns:
                with suppress(CommitUnknown):
                    journal.reach_back(0)
                begins = journal.start()
                if begins.sequence and begins.time_ns > time_ns:
                    return begins.sequence - 1
            start = journal.start_before(time_ns)
            found = start.sequence
            for frame in journal.frames(start):
                if frame.time_ns > time_ns:
                    break
                found = frame.sequence
            return found
        finally:
            journal.close()

    def verify(self) -> Iterator[Damage]:
        """Read the whole journal and tell what is not as it was written. Changes nothing."""
        journal = self._read_journal()
        try:
            told: set[tuple[int, int]] = set()
            lost = {end.sequence: end for end in lost_ends(journal)}
            for item in journal.walk(journal.first_point(), journal.position):
                found = [item] if isinstance(item, Damage) else []
                if isinstance(item, Frame) and item.sequence in lost and lost.pop(item.sequence).hash != item.hash:
                    found = [_instead(item.after(), item.sequence, item.sequence)]
                for damage in (*journal.damage.values(), *found):
                    if (damage.segment, damage.offset) not in told:
                        told.add((damage.segment, damage.offset))
                        yield damage
            if lost and max(lost) > journal.position.sequence:
                yield _instead(journal.position, journal.position.sequence + 1, max(lost))
        finally:
            journal.close()


def _instead(at: Position, first: int, last: int) -> Damage:
    """Commits that were durable once and are not there any more."""
    return Damage(at.segment, at.offset, at.offset, f"commit {last}, which was durable once", "not that one", first, last, False)


def backwards(journal: Reader, last: int) -> Iterator[Frame]:
    """Frames up to commit *last*, newest first, by the lengths that each header holds of the frame before it."""
    end = journal.position
    if last < end.sequence:
        for frame in journal.frames(journal.start_of(last)):
            if frame.sequence <= last:
                end = frame.after()
            else:
                break
    for number in range(end.segment, 0, -1):
        if _segment(journal, number) is None:
            if number < journal.listing()[0][0]:
                return
            continue
        if number != end.segment:
            following = _segment(journal, number + 1)
            if following is None or not following.before_end:  # nothing tells where it ended
                yield from _forwards_turned(journal, number, 0)
                continue
            end = Position(number, following.before_end, following.first_sequence - 1, 0, following.before_hash, following.before_back)
        yield from _backwards_in_segment(journal, end)


def _segment(journal: Reader, number: int) -> Segment | None:
    try:
        return journal.segment(number)
    except FileNotFoundError:
        return None


def _backwards_in_segment(journal: Reader, end: Position) -> Iterator[Frame]:
    fd = journal.read_fd(end.segment)
    offset, back, expected = end.offset, end.back, end.hash
    while back:
        header = os.pread(fd, HEADER_BYTES, offset - back)
        frame = Frame(end.segment, header) if len(header) == HEADER_BYTES and sha256(header).digest() == expected else None
        payload = os.pread(fd, frame.length, frame.offset + HEADER_BYTES) if frame is not None else b""
        if frame is None or sha256(payload).digest() != frame.payload_hash:
            yield from _forwards_turned(journal, end.segment, offset)  # damaged or redacted: look from the other side
            return
        frame.payload = payload
        yield frame
        offset, back, expected = frame.offset, frame.back, frame.previous


def _forwards_turned(journal: Reader, number: int, until: int) -> list[Frame]:
    """The frames of a segment up to that offset, or to its unknown end, newest first."""
    start, fd = journal.segment(number).start(), journal.read_fd(number)
    walk = Walk(fd, start, until or os.fstat(fd).st_size, journal.tag, proven=bool(until))
    frames: list[Frame] = []
    for item in walk:
        if isinstance(item, Damage):
            journal.damage[item.segment, item.offset] = item
        else:
            frames.append(item)
    return frames[::-1]
