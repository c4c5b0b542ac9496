"""Reading a journal: durable frames only, without a lock. DESIGN §4, FORMAT.md §1.

Folder: ``journal/`` (segments: the truth), ``position`` (up to where they are durable), ``lock`` (the writer
lock), ``genesis`` (a copy of the first bytes), ``quarantine/`` (damaged and torn bytes, kept).
"""

from __future__ import annotations

import os

from layerlog.eventstore import segments, tail
from layerlog.eventstore.damage import Damage, Walk, next_whole
from layerlog.eventstore.frame import CHAIN_START, Frame
from layerlog.eventstore.position import Position, PositionFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEGMENTS = "journal"
POSITION = "position"
NEAR_BYTES = 64 << 10
OPEN_SEGMENTS = 16


class Reader:
    """The reading half of an open journal. One thread at a time; ``ledger`` sees to that.

    ``position`` is the last durable point that is known; ``refresh`` moves it on. ``damage`` collects what
    reads found damaged, each place once. ``trusted`` says that the position was published in this boot;
    otherwise whole frames were believed.
    """

    def __init__(self, folder: str, *, read_only: bool, durable: bool) -> None:
        """Use ``Journal.create`` or ``Journal.open``."""
        self.folder = folder
        self.segments_folder = os.path.join(folder, SEGMENTS)
        self.read_only = read_only
        self.durable = durable
        self.damage: dict[tuple[int, int], Damage] = {}
        self._known: dict[int, segments.Segment] = {}
        self._fds: dict[int, int] = {}
        self._file: PositionFile | None = None
        self.trusted = False
        self.id = bytes(16)
        self.tag = bytes(8)
        self.position = Position(0, 0, 0, 0, CHAIN_START, 0)

    def close(self) -> None:
        """Close all files."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        if self._file is not None:
            self._file.close()

    def refresh(self) -> bool:
        """Move ``position`` to what is published now; whether it moved. About 1 us when it did not."""
        file = self._file
        assert file is not None
        if not file.changed():
            return False
        published = file.read()
        if published is None:
            return False
        moved = published.sequence != self.position.sequence
        self.position = published
        self.trusted = True
        return moved

    def follow(self, writer: Reader) -> None:
        """Take over the position that another open journal of this folder just published."""
        assert self._file is not None
        assert writer._file is not None
        self.position = writer.position
        self._file.raw = writer._file.raw

    def start(self) -> Position:
        """The point before the first frame that is kept."""
        number = segments.listing(self.segments_folder)[0][0]
        return self.segment(number).start()

    def start_of(self, sequence: int) -> Position:
        """A point shortly before that commit, by bisection."""
        holding = [number for number, first, _ in segments.listing(self.segments_folder) if first <= sequence]
        if not holding:
            return self.start()
        return self._bisected(holding[-1], lambda frame: frame.sequence <= sequence)

    def start_before(self, time_ns: int) -> Position:
        """A point before the last commit made at or before that time, shortly before it."""
        numbers = [number for number, _, _ in segments.listing(self.segments_folder)]
        before = [number for number in numbers if self.segment(number).time_ns <= time_ns]
        # Its first frame may be a little older than the segment: the clock is read before room is made.
        return self._bisected(before[-2] if len(before) > 1 else numbers[0], lambda frame: frame.time_ns <= time_ns)

    def _bisected(self, number: int, is_before: Callable[[Frame], bool]) -> Position:
        """A point in a segment: at the start of some frame that *is_before* holds for, near the last such."""
        try:
            until = self.segment(number + 1).before_end
        except FileNotFoundError:
            until = self.position.offset
        found = self.segment(number).start()
        low, high = segments.HEADER_BYTES, until
        while high - low > NEAR_BYTES:
            middle = (low + high) // 2
            frame = next_whole(self.read_fd(number), middle, high, self.tag, number)
            if frame is not None and is_before(frame):
                low = frame.offset
                found = Position(number, frame.offset, frame.sequence - 1, frame.time_ns, frame.previous, frame.back)
            else:
                high = middle
        return found

    def segment(self, number: int) -> segments.Segment:
        """The header of a segment. Raises: FileNotFoundError."""
        if number not in self._known:
            self._known[number] = tail.read_segment(self, number)
        return self._known[number]

    def read_fd(self, number: int) -> int:
        """A descriptor to read a segment with; stays the journal's."""
        if number not in self._fds:
            if len(self._fds) >= OPEN_SEGMENTS:
                os.close(self._fds.pop(next(iter(self._fds))))
            self._fds[number] = os.open(self.segment(number).path, os.O_RDONLY | os.O_CLOEXEC)
        return self._fds[number]

    def frames(self, start: Position, end: Position | None = None) -> Iterator[Frame]:
        """Durable frames after *start*, up to *end* (default: all that are known). Damage goes to ``damage``."""
        end = end or self.position
        for item in self.walk(start, end):
            if isinstance(item, Damage):
                self.damage[item.segment, item.offset] = item
            else:
                yield item

    def walk(self, start: Position, end: Position) -> Iterator[Frame | Damage]:
        """Frames and damage between two points."""
        position = start
        while position.segment < end.segment:
            try:
                following: segments.Segment | None = self.segment(position.segment + 1)
            except FileNotFoundError:
                following = None
            until = following.before_end if following is not None and following.before_end else 0
            try:
                walk = self._walk(position, until, following.before_hash if following else b"")
            except FileNotFoundError:
                walk = None
            if walk is not None:
                yield from walk
                position = walk.position
            else:
                yield self._missing(position)
            position = self._into_next(position, following)
        if position.offset < end.offset:
            yield from self._walk(position, end.offset, end.hash)

    def _walk(self, start: Position, until: int, end_hash: bytes) -> Walk:
        fd = self.read_fd(start.segment)
        limit = until or os.fstat(fd).st_size
        return Walk(fd, start, limit, self.tag, proven=bool(until), end_hash=end_hash)

    def _missing(self, position: Position) -> Damage:
        following = [first for number, first, _ in segments.listing(self.segments_folder) if number > position.segment]
        last = following[0] - 1 if following else position.sequence + 1
        return Damage(position.segment, 0, 0, "a segment", "no file", position.sequence + 1, last, False)

    def _into_next(self, position: Position, following: segments.Segment | None) -> Position:
        number = position.segment + 1
        if following is None:
            return Position(number, segments.HEADER_BYTES, position.sequence, position.time_ns, b"", 0)
        before = following.before_hash or position.hash
        return Position(number, segments.HEADER_BYTES, following.first_sequence - 1, position.time_ns, before, 0)

    def unproven(self) -> bool:
        """Whether bytes follow the position: a writer is at work, or died between writing and saying so."""
        return bool(os.pread(self.read_fd(self.position.segment), 8, self.position.offset).strip(b"\0"))
