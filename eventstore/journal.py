"""The journal: frames in segments, one writer at a time. DESIGN §4, FORMAT.md §1.

Reading is in ``reading``, what a dead writer leaves behind in ``tail``.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager
from hashlib import sha256

from layerlog.eventstore import disk, segments, tail
from layerlog.eventstore.errors import JournalError, NoSpace, OutcomeUnknown, ReadOnlyStore, RecordTooLarge
from layerlog.eventstore.frame import CHAIN_START, FLAG_RESERVE, HEADER_BYTES, PAYLOAD_BYTES_MAX, pack
from layerlog.eventstore.locks import FileLock
from layerlog.eventstore.position import OPENING, POISONED, Position, PositionFile
from layerlog.eventstore.reading import POSITION, SEGMENTS, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = "lock"
GENESIS = "genesis"


class Journal(Reader):
    """An open journal: ``begin``, ``append`` as often as wanted, ``end``. One thread at a time."""

    def __init__(self, folder: str, *, read_only: bool, durable: bool) -> None:
        """Use ``create`` or ``open``."""
        super().__init__(folder, read_only=read_only, durable=durable)
        self._tail_fd = -1
        self._tail: segments.Segment | None = None
        self._tail_bytes = 0
        self._poisoned = 0  # the segment in which an fsync failed here
        self._interrupted: BaseException | None = None  # what was raised in the middle of an append that was finished all the same
        self._lock: FileLock | None = None

    @classmethod
    def create(cls, folder: str, genesis: bytes, *, durable: bool = True) -> Journal:
        """Make a journal whose commit 1 has the payload *genesis*, and open it.

        It is there, durable, with its commit 1, or not at all. When another process was quicker, that one's
        journal is opened.
        """
        if not cls.exists(folder):
            disk.make_folders(folder)
            with FileLock(os.path.join(folder, LOCK)):
                if not cls.exists(folder):
                    make_first_segment(folder, genesis, durable=durable)
        return cls.open(folder, durable=durable)

    @classmethod
    def open(cls, folder: str, *, read_only: bool = False, durable: bool = True) -> Journal:
        """Open a journal; settles an unproven tail unless somebody else is writing or *read_only*.

        Raises: FileNotFoundError (no journal here), UnknownFormat, JournalError.
        """
        journal = cls(folder, read_only=read_only, durable=durable)
        try:
            journal._open()
        except BaseException:
            journal.close()
            raise
        return journal

    @staticmethod
    def exists(folder: str) -> bool:
        """Whether there is a journal in *folder*: at least one segment."""
        below = os.path.join(folder, SEGMENTS)
        try:
            return any(os.path.isfile(os.path.join(below, name)) for _, _, name in segments.listing(below))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _open(self) -> None:
        listing = segments.listing(self.segments_folder)
        if not listing:
            raise FileNotFoundError(errno.ENOENT, "no journal here", self.segments_folder)
        if not self.read_only:
            self._lock = FileLock(os.path.join(self.folder, LOCK))
            self._make_way_for_position(self._lock)
        self.id = tail.journal_id(self, listing)
        self.tag = self.id[:8]
        self._file = PositionFile(os.path.join(self.folder, POSITION), self.id, read_only=self.read_only)
        published = self._file.read()
        self.trusted = published is not None and tail.stands(self, published)
        if published is not None and self.trusted:
            self.position = published
        elif self._lock is not None and self._lock.acquire(wait=False):
            try:
                self._settle_anew()
                self.trusted = True
            finally:
                self._lock.release()
        else:
            self.position = tail.find_end(self).end
        tail.find_cut(self)

    def _make_way_for_position(self, lock: FileLock) -> None:
        """Under the lock: somebody else may have made it by then."""
        path = os.path.join(self.folder, POSITION)
        if disk.is_strange(path):
            lock.acquire()
            try:
                disk.make_way(path)
            finally:
                lock.release()

    def close(self) -> None:
        """Close all files; also what a forked child does, since it never unlocks."""
        super().close()
        self._close_tail()
        if self._lock is not None:
            self._lock.close()

    def _close_tail(self) -> None:
        fd, self._tail_fd = self._tail_fd, -1  # in this order: whatever interrupts us, it is not closed twice
        if fd >= 0:
            os.close(fd)

    # --- writing ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take the writer lock (waits) and make sure that the tail is clean. ``end`` must follow.

        Raises: ReadOnlyStore, OSError, and what opening a segment raises.
        """
        lock, file = self._lock, self._file
        if lock is None or file is None:
            raise ReadOnlyStore
        try:
            lock.acquire()
            if file.changed() or not self.trusted:
                published = file.seen()
                if published is not None and (self.trusted or tail.stands(self, published)):
                    self.position = published
                else:
                    self._must_be_the_same()
                    self._settle_anew()
                self.trusted = True
            self._use_tail()
            if self.position.flags or self._poisoned == self.position.segment:
                self._leave_segment()
            elif os.pread(self._tail_fd, 8, self.position.offset).strip(b"\0"):
                self._settle_after(self.position)
        except BaseException:
            lock.release()
            raise

    @contextmanager
    def held(self) -> Iterator[None]:
        """Between ``begin`` and ``end``. However it is interrupted, the lock is given back."""
        assert self._lock is not None
        try:
            self.begin()
            try:
                yield
            finally:
                self.end()
        finally:
            self._lock.release()

    def _must_be_the_same(self) -> None:
        """Raises JournalError when a salvage put another journal in this one's place."""
        if tail.journal_id(self, segments.listing(self.segments_folder)) != self.id:
            raise JournalError(f"the journal in {self.segments_folder} was replaced; open the store anew")

    def settle_if_free(self) -> None:
        """Make what a dead writer left durable and visible, so that it does not appear later; a live one is left alone."""
        assert self._lock is not None
        if self._lock.acquire(wait=False):
            self._lock.release()
            self.begin()
            self.end()

    def end(self) -> None:
        """Let the next writer in. Raises what interrupted an ``append`` after its first written byte: it was finished before."""
        assert self._lock is not None
        self._lock.release()
        interrupted, self._interrupted = self._interrupted, None
        if interrupted is not None:
            raise interrupted

    def append(self, payloads: list[bytes], times_ns: list[int], *, reserve: bool = False) -> list[Position]:
        """Write one batch of commits with one fdatasync; durable and published when this returns.

        Returns the point after each of them. Only between ``begin`` and ``end``.
        Raises: RecordTooLarge, NoSpace (nothing was written), OutcomeUnknown (the next writer goes on in a
        new segment; what was written may or may not be found after a power cut).
        """
        room = sum(map(len, payloads)) + HEADER_BYTES * len(payloads)
        if max(map(len, payloads)) > PAYLOAD_BYTES_MAX:
            raise RecordTooLarge(size=max(map(len, payloads)), allowed=PAYLOAD_BYTES_MAX)
        self._make_room(room, reserve)
        before = self.position
        data, points = _batch(before, payloads, times_ns, self.tag, reserve)
        try:
            try:
                self._put(data, before.offset, points[-1])
            except Exception:
                raise
            except BaseException as interrupted:  # noqa: BLE001 - raised by ``end``
                # Others may have read it, and its caller undoes the effects of what has not happened: so it happens.
                self._put(data, before.offset, points[-1])
                self._interrupted = interrupted
        except BaseException as error:
            self._poison(before)
            raise OutcomeUnknown(sequence=before.sequence + 1, cause=error) from error
        return points

    def _put(self, data: bytes, offset: int, end: Position) -> None:
        """Have one batch on the disk and visible; can be repeated."""
        disk.pwrite_all(self._tail_fd, data, offset)
        if self.durable:
            disk.seam.fdatasync(self._tail_fd)
        self._publish(end)
        self.position = end

    def _publish(self, position: Position) -> None:
        assert self._file is not None
        self._file.publish(position)

    def _poison(self, before: Position) -> None:
        """Tell everybody that bytes after *before* cannot be trusted: page cache and disk may differ."""
        self._poisoned = before.segment
        self.position = before.flagged(POISONED)
        try:
            self._publish(self.position)
        except OSError:
            return  # others then find frames beyond the position, and rewrite them before they believe them

    def _use_tail(self) -> None:
        """Have the segment of ``position`` open for writing."""
        if self._tail is None or self._tail.number != self.position.segment or self._tail_fd < 0:
            self._close_tail()
            self._tail = self.segment(self.position.segment)
            self._tail_fd = disk.open_to_write(self._tail.path)
            self._tail_bytes = min(self._tail.size, os.fstat(self._tail_fd).st_size)

    def _make_room(self, needed: int, reserve: bool) -> None:
        assert self._tail is not None
        free = self._tail_bytes - self.position.offset
        if needed <= free - self._tail.reserve_bytes:
            return
        try:
            self._open_segment(segments.WHY_FULL, needed)
        except NoSpace:
            if not reserve or needed > free:
                raise

    def _leave_segment(self) -> None:
        """Go on in a new segment after a poisoned range, or finish what a dead writer began."""
        if self.position.flags & OPENING:
            made = [entry for entry in self.listing() if entry[0] == self.position.segment + 1]
            if made:
                self._known.pop(made[0][0], None)
                segment = self.segment(made[0][0])
                if segment.before_end == self.position.offset and segment.before_hash == self.position.hash:
                    disk.sync_folder(self.segments_folder)
                    self._enter(segment)
                    self._settle_after(self.position)
                    return
                raise JournalError(f"{segment.path} does not follow commit {self.position.sequence}")
        if self.position.flags & POISONED or self._poisoned == self.position.segment:
            self._open_segment(segments.WHY_POISONED, 0)
        else:
            disk.unlink(os.path.join(self.segments_folder, segments.ASIDE))
            self._publish_clean()

    def _publish_clean(self) -> None:
        self.position = self.position.flagged(0)
        self._publish(self.position)

    def _open_segment(self, why: int, needed: int) -> None:
        """Go on in a new segment. Raises: NoSpace, DiskError.

        From the first step on the position says so, here as for others: once the segment has its name, what is written
        into the one before counts for nothing, also when the call that gave it the name failed afterwards.
        """
        assert self._tail is not None
        here = self.position
        self.position = here.flagged(here.flags | OPENING)
        self._publish(self.position)
        for size, reserve_bytes in segments.sizes_after(self._tail.size, needed):
            segment = segments.Segment(
                here.segment + 1,
                here.sequence + 1,
                size,
                reserve_bytes,
                here.offset,
                here.back,
                here.hash,
                self.id,
                max(time.time_ns(), here.time_ns),
                why,
            )
            try:
                segments.make(self.segments_folder, segment, durable=self.durable)
            except OSError as error:
                if error.errno not in disk.NO_ROOM or os.path.exists(segment.path):
                    raise
                continue
            self._enter(segment)
            return
        self.position = here
        self._publish(here)
        raise NoSpace(needed=needed)

    def _enter(self, segment: segments.Segment) -> None:
        self._known[segment.number] = segment
        here = self.position
        self.position = Position(segment.number, segments.HEADER_BYTES, here.sequence, here.time_ns, here.hash, 0)
        self._publish(self.position)
        self._poisoned = 0
        self._use_tail()

    def _settle_anew(self) -> None:
        """No position for this boot: find the end and make it durable. Under the writer lock."""
        self._known.clear()
        ending = tail.find_end(self)
        if ending.end.sequence == 0 and tail.restore_genesis(self):
            self._known.clear()
            self.damage.pop((1, 0), None)
            ending = tail.find_end(self)
        before = self.published_before()
        if self.durable and before is not None and before.sequence > ending.end.sequence:
            tail.keep_lost_end(self, before)
        self.position = ending.end
        disk.unlink(os.path.join(self.segments_folder, segments.ASIDE))
        if (known := tail.known_last(self)) > ending.end.sequence:
            tail.note_cut(self, ending.end, known)
        self._use_tail()
        tail.settle(self, self._tail_fd, ending.rewrite_from, ending.end)
        if self.durable and ending.end.sequence <= 1:
            for folder in (self.segments_folder, self.folder, os.path.dirname(self.folder)):
                disk.sync_folder(folder)  # whoever made them may not have come to that, and nobody will look again
        if ending.in_damaged_segment:
            self._publish(self.position)
            self._open_segment(segments.WHY_DAMAGED, 0)
        else:
            self._publish(self.position)

    def _settle_after(self, proven: Position) -> None:
        """Frames or torn bytes beyond the position: a writer died. Under the writer lock."""
        self._use_tail()
        end = tail.end_after(self, proven)
        tail.settle(self, self._tail_fd, proven.offset, end)
        self.position = end
        self._publish(end)


def _batch(before: Position, payloads: list[bytes], times_ns: list[int], tag: bytes, reserve: bool) -> tuple[bytes, list[Position]]:
    """The bytes of a batch of frames that follow *before*, and the point after each."""
    parts: list[bytes] = []
    points: list[Position] = []
    point = before
    for place, payload in enumerate(payloads):
        header = pack(
            payload,
            sequence=point.sequence + 1,
            time_ns=times_ns[place],
            offset=point.offset,
            back=point.back,
            batch_bytes=point.offset - before.offset,
            batch_place=place,
            previous=point.hash,
            tag=tag,
            flags=FLAG_RESERVE if reserve else 0,
        )
        parts += (header, payload)
        length = HEADER_BYTES + len(payload)
        point = Position(before.segment, point.offset + length, point.sequence + 1, times_ns[place], sha256(header).digest(), length)
        points.append(point)
    return b"".join(parts), points


def make_first_segment(folder: str, genesis: bytes, *, durable: bool, time_ns: int = 0) -> None:
    """The journal appears with the rename of its first segment. Under the writer lock. *time_ns*: of commit 1; now."""
    segments_folder = os.path.join(folder, SEGMENTS)
    disk.make_folder(segments_folder)
    for name in os.listdir(folder):
        if name.startswith(GENESIS) and name != GENESIS:
            disk.unlink(os.path.join(folder, name))  # somebody was cut off here before
    if durable:
        disk.without_copy_on_write(segments_folder)
    now = time_ns or time.time_ns()
    journal_id = os.urandom(16)
    size = max(segments.FIRST_BYTES, len(genesis) + segments.HEADER_BYTES + HEADER_BYTES + segments.FIRST_RESERVE_BYTES)
    segment = segments.Segment(1, 1, size, segments.FIRST_RESERVE_BYTES, 0, 0, CHAIN_START, journal_id, now, segments.WHY_FIRST)
    first, _ = _batch(segment.start(), [genesis], [now], journal_id[:8], False)
    disk.write_beside(os.path.join(folder, GENESIS), segment.header() + first, durable=durable)
    segments.make(segments_folder, segment, first, durable=durable)
