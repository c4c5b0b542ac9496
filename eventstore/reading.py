"""Reading a journal: durable frames only, without a lock. DESIGN §4, FORMAT.md §1.

Folder: ``journal/`` (segments: the truth), ``position`` (up to where they are durable), ``lock`` (the writer
lock), ``genesis`` (a copy of the first bytes), ``quarantine/`` (damaged and torn bytes, kept).
"""

from __future__ import annotations

import os

from layerlog.eventstore import disk, segments, tail
from layerlog.eventstore.damage import Damage, Walk, next_whole
from layerlog.eventstore.frame import CHAIN_START, Frame
from layerlog.eventstore.position import Position, PositionFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.eventstore.archive import Archived
    from layerlog.eventstore.base import Base

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
        self._by_headers = False  # file names were found to lie
        self._fds: dict[int, int] = {}
        self._archived: Archived | None = None
        self._file: PositionFile | None = None
        self.trusted = False
        self.id = bytes(16)
        self.tag = bytes(8)
        self.position = Position(0, 0, 0, 0, CHAIN_START, 0)

    def close(self) -> None:
        """Close all files."""
        while self._fds:
            os.close(self._fds.popitem()[1])
        if self._file is not None:
            self._file.close()

    def refresh(self) -> bool:
        """Move ``position`` to what is published now; whether it moved. About 1 us when it did not."""
        file = self._file
        assert file is not None
        if not file.changed():
            return False
        try:
            published = file.seen()
            if published is None:
                return False
            moved = published.sequence != self.position.sequence
            self.position = published
        except BaseException:
            file.raw = b""  # interrupted: the next look is the first one at it
            raise
        self.trusted = True
        return moved

    def follow(self, writer: Reader) -> None:
        """Take over the position that another open journal of this folder just published, unless a later one was seen."""
        assert self._file is not None
        assert writer._file is not None
        if writer.position.sequence < self.position.sequence:
            return
        self.position = writer.position
        self._file.raw = writer._file.raw

    def listing(self) -> list[tuple[int, int, str]]:
        """Number, first sequence and file name of each segment, in order; by their headers once names were found to lie.

        After ``reach_back`` those in archives, too: by their whole paths.
        """
        found = tail.listing_by_headers(self) if self._by_headers else segments.listing(self.segments_folder)
        return found if self._archived is None else self._archived.segments + found

    def base(self) -> Base | None:
        """What the journal begins with if it was compacted; after ``reach_back`` what its archives begin with."""
        if self._archived is not None:
            return self._archived.base
        if not segments.bases(self.segments_folder):
            return None
        from layerlog.eventstore.base import newest

        return newest(self.segments_folder)

    def reach_back(self, sequence: int) -> None:
        """Have the point after that commit, and all that follows, readable: from archives, if it was compacted away.

        Raises: HistoryCompacted; then it reaches back as far as it can.
        """
        if sequence >= self.start().sequence or self.base() is None:
            return
        from layerlog.eventstore import archive

        self._archived = archive.before(self.segments_folder)
        self._known.clear()
        if sequence < self.start().sequence:
            raise archive.refusal(self.segments_folder, sequence)

    def start(self) -> Position:
        """The point before the first commit that is kept."""
        first = self.chosen(lambda listing: listing[0][0])
        base = self.base() if first.number > 1 else None
        return base.after() if base is not None else first.start()

    def first_point(self) -> Position:
        """The point before the first frame that is there, also where a base stands for some that follow."""
        return self.chosen(lambda listing: listing[0][0]).start()

    def chosen(self, choose: Callable[[list[tuple[int, int, str]]], int]) -> segments.Segment:
        """The segment whose number *choose* takes from the listing; chosen again by headers when a name lied."""
        try:
            return self.segment(choose(self.listing()))
        except FileNotFoundError:
            return self.segment(choose(self.listing()))

    def look_closely(self) -> bool:
        """A name led to another segment than its own: go by the headers from now on. Whether that is another listing."""
        if self._by_headers or tail.listing_by_headers(self) == segments.listing(self.segments_folder):
            return False
        self._by_headers = True
        self._known.clear()
        while self._fds:
            os.close(self._fds.popitem()[1])
        return True

    def start_of(self, sequence: int) -> Position:
        """A point shortly before that commit, by bisection."""

        def holding(listing: list[tuple[int, int, str]]) -> int:
            return max((number for number, first, _ in listing if first <= sequence), default=0)

        if not holding(self.listing()):
            return self.start()
        return self._not_before_start(self._bisected(self.chosen(holding).number, lambda frame: frame.sequence <= sequence))

    def start_before(self, time_ns: int) -> Position:
        """A point before the last commit made at or before that time, shortly before it."""
        numbers = [number for number, _, _ in self.listing()]
        before = [number for number in numbers if self.segment(number).time_ns <= time_ns]
        # Its first frame may be a little older than the segment: the clock is read before room is made.
        return self._not_before_start(self._bisected(before[-2] if len(before) > 1 else numbers[0], lambda frame: frame.time_ns <= time_ns))

    def _not_before_start(self, found: Position) -> Position:
        start = self.start()
        return start if start.sequence > found.sequence else found

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
        """The header of a segment. Raises: FileNotFoundError, HistoryCompacted (while we were reading)."""
        if number not in self._known:
            try:
                self._known[number] = tail.read_segment(self, number)
            except FileNotFoundError:
                if not self._was_archived(number):
                    raise
                self._known[number] = tail.read_segment(self, number)
        return self._known[number]

    def read_fd(self, number: int) -> int:
        """A descriptor to read a segment with; stays the journal's. Raises as ``segment``."""
        if number not in self._fds:
            if len(self._fds) >= OPEN_SEGMENTS:
                os.close(self._fds.pop(next(iter(self._fds))))
            try:
                self._fds[number] = disk.open_to_read(self.segment(number).path)
            except FileNotFoundError:
                if not self._was_archived(number):
                    raise
                self._fds[number] = disk.open_to_read(self.segment(number).path)
        return self._fds[number]

    def _was_archived(self, number: int) -> bool:
        """Whether compaction has moved a segment away since we looked; then it is read where it is now. Raises: HistoryCompacted."""
        based = segments.bases(self.segments_folder)
        if not based or number >= based[-1][0]:
            return False
        from layerlog.eventstore import archive

        self._archived = archive.before(self.segments_folder)
        self._known.pop(number, None)
        if self._archived is None or number < self._archived.segments[0][0]:
            raise archive.refusal(self.segments_folder, based[-1][1] - 1)
        return True

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
        if cut := self._beginning(start):
            yield cut
        while position.segment < end.segment:
            try:
                following: segments.Segment | None = self.segment(position.segment + 1)
            except FileNotFoundError:
                following = None
            try:
                walk = self._walk_whole(position, following)
            except FileNotFoundError:
                yield self._missing(position)
            else:
                yield from walk
                position = walk.position
                yield from _unlike_the_next(walk, following)
            position = self._into_next(position, following)
        if position.offset < end.offset:
            fd = self.read_fd(end.segment)
            yield from Walk(fd, position, end.offset, self.tag, proven=True, end_hash=end.hash, last=end.sequence)

    def _beginning(self, start: Position) -> Damage | None:
        """What is lost before the first segment that is there; a base stands for all before it."""
        if start.segment == 1 or start.offset > segments.HEADER_BYTES or self.listing()[0][0] != start.segment or self.base() is not None:
            return None
        first = self.segment(start.segment)
        return Damage(start.segment - 1, 0, 0, "a segment", "no file", 1, first.first_sequence - 1, False)

    def _walk_whole(self, start: Position, following: segments.Segment | None) -> Walk:
        """To the end of a segment that is not the last one."""
        fd = self.read_fd(start.segment)
        if following is None or not following.before_end:
            last = self._last_before(start.segment + 1) if following is not None else 0  # else they count as the next one's
            return Walk(fd, start, os.fstat(fd).st_size, self.tag, proven=False, last=last)
        end_hash, last = following.before_hash, following.first_sequence - 1
        return Walk(fd, start, following.before_end, self.tag, proven=True, end_hash=end_hash, last=last)

    def _last_before(self, number: int) -> int:
        """The sequence before the first segment from that one on; 0 when none is there to tell."""
        return next((first - 1 for other, first, _ in self.listing() if other >= number), 0)

    def _missing(self, position: Position) -> Damage:
        first = position.sequence + 1
        last = self._last_before(position.segment + 1) or first
        return Damage(position.segment, 0, 0, "a segment", "no file", first, last, False)

    def _into_next(self, position: Position, following: segments.Segment | None) -> Position:
        number = position.segment + 1
        if following is None:
            return Position(number, segments.HEADER_BYTES, position.sequence, position.time_ns, b"", 0)
        before = following.before_hash or position.hash
        return Position(number, segments.HEADER_BYTES, following.first_sequence - 1, position.time_ns, before, 0)

    def published_before(self) -> Position | None:
        """The position that was published last, in this boot or another: the journal was durable up to there."""
        return self._file.of_any_boot() if self._file is not None else None

    def unproven(self) -> bool:
        """Whether bytes follow the position: a writer is at work, or died between writing and saying so."""
        return bool(os.pread(self.read_fd(self.position.segment), 8, self.position.offset).strip(b"\0"))


def _unlike_the_next(walk: Walk, following: segments.Segment | None) -> Iterator[Damage]:
    """How a segment that was read to its end differs from what its successor says of it."""
    end = walk.position
    first = end.sequence + 1
    if first <= walk.last:
        yield Damage(end.segment, end.offset, end.offset, "a frame", "nothing", first, walk.last, False)
    elif following is not None and end.hash and following.before_hash not in (b"", end.hash):
        expected = f"the commit {end.sequence} that segment {following.number} follows"
        yield Damage(end.segment, end.offset, end.offset, expected, "another", first, first - 1, False)
