"""Where a journal ends, and making its end clean: what a reboot, a dead writer or a cut file leaves behind.

Whole frames are believed, after their bytes were written again: after a failed fsync the page cache may
show what the disk does not have, and a second fsync would succeed. Torn bytes are kept in
``quarantine/``, then the rest of the segment is zeroed.
"""

from __future__ import annotations

import errno
import os
import time
from hashlib import sha256

from layerlog.eventstore import disk, segments
from layerlog.eventstore.damage import Damage, Walk
from layerlog.eventstore.errors import JournalError
from layerlog.eventstore.frame import CHAIN_START, HEADER_BYTES, Frame
from layerlog.eventstore.position import BYTES, Position
from layerlog.eventstore.position import decode as decode_position
from layerlog.eventstore.position import encode as encode_position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.eventstore.reading import Reader

QUARANTINE = "quarantine"
LOST = "lost"
CUT = "cut"
"""In there: the journal was found shorter than it was known to be."""
THE_END = "the end of the journal"
POSITION = "position"


class Ending:
    """Where the journal ends, and from which offset on its bytes are not proven durable."""

    __slots__ = ("end", "rewrite_from", "in_damaged_segment")

    def __init__(self, end: Position, rewrite_from: int, in_damaged_segment: bool) -> None:
        self.end = end
        self.rewrite_from = rewrite_from
        self.in_damaged_segment = in_damaged_segment


def journal_id(journal: Reader, listing: list[tuple[int, int, str]]) -> bytes:
    """The ID in the first readable segment header, or in the copy of the genesis. Raises: JournalError."""
    for _, _, name in listing:
        path = os.path.join(journal.segments_folder, name)
        segment = segments.parse(_start_of(path), path)
        if segment is not None:
            return segment.journal_id
    path = os.path.join(journal.folder, "genesis")
    copy = segments.parse(_start_of(path), path)
    if copy is None:
        raise JournalError(f"no segment of {journal.segments_folder} has a readable header")
    return copy.journal_id


def _start_of(path: str) -> bytes:
    try:
        with disk.reading(path) as file:
            return file.read(segments.HEADER_BYTES)
    except FileNotFoundError:
        return b""


def read_segment(journal: Reader, number: int) -> segments.Segment:
    """The header of a segment; where it is damaged, what file name and size tell. Raises: FileNotFoundError."""
    entries = [entry for entry in journal.listing() if entry[0] == number]
    if not entries:
        if journal.look_closely():
            return read_segment(journal, number)
        raise FileNotFoundError(2, f"segment {number} is missing", journal.segments_folder)
    _, first_sequence, name = entries[0]
    path = os.path.join(journal.segments_folder, name)
    segment = _header_of(journal, path)
    if (segment is None or segment.number != number) and journal.look_closely():
        return read_segment(journal, number)
    if segment is not None and segment.number == number:
        if segment.mended:
            journal.damage[number, 0] = _bad_header(number, "a flipped bit", first_sequence)
        elif not os.path.basename(name).startswith(f"{number:08d}-"):
            journal.damage[number, 0] = Damage(number, 0, 0, "its file name", name, first_sequence, first_sequence - 1, True)
        return segment
    journal.damage[number, 0] = _bad_header(number, "other bytes", first_sequence)
    before = CHAIN_START if number == 1 else b""
    size = os.path.getsize(path)
    segment = segments.Segment(number, first_sequence, size, segments.RESERVE_BYTES, 0, 0, before, journal.id, 0, segments.WHY_UNKNOWN)
    segment.path = path
    return segment


def _header_of(journal: Reader, path: str) -> segments.Segment | None:
    """What a file says it is, a flipped bit set right; None when it does not say, or is of another journal."""
    start = _start_of(path)
    segment = segments.parse(start, path) or segments.mend(start, path)
    return segment if segment is not None and segment.journal_id == journal.id else None


def _bad_header(number: int, found: str, first_sequence: int) -> Damage:
    return Damage(number, 0, segments.HEADER_BYTES, "a segment header", found, first_sequence, first_sequence - 1, True)


def listing_by_headers(journal: Reader) -> list[tuple[int, int, str]]:
    """``segments.listing`` by what the files say they are; one that does not say counts by its name if it stands beside another."""
    found: dict[int, tuple[int, int, str]] = {}
    silent: list[tuple[int, int, str]] = []
    for number, first, name in segments.listing(journal.segments_folder):
        header = _header_of(journal, os.path.join(journal.segments_folder, name))
        if header is None and os.path.isfile(os.path.join(journal.segments_folder, name)):
            silent.append((number, first, name))
        elif header is None:
            continue  # what is no file is no segment
        elif header.number not in found or header.number == number:
            found[header.number] = (header.number, header.first_sequence, name)
    for number, first, name in silent:
        if number not in found and (not found or number - 1 in found or number + 1 in found):
            found[number] = (number, first, name)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no journal here", journal.segments_folder)
    return sorted(found.values())


def stands(journal: Reader, position: Position) -> bool:
    """Whether the journal on disk still reaches a published position (it may have been cut or replaced)."""
    try:
        fd = journal.read_fd(position.segment)
    except FileNotFoundError:
        return False
    if os.fstat(fd).st_size < position.offset:
        return False
    if not position.back:
        return journal.segment(position.segment).before_hash == position.hash
    header = os.pread(fd, HEADER_BYTES, position.offset - position.back)
    return sha256(header).digest() == position.hash


def find_end(journal: Reader) -> Ending:
    """Read the last segment to its end. Damage in it goes to ``journal.damage``."""
    segment = journal.chosen(lambda listing: listing[-1][0])
    number = segment.number
    start = segment.start()
    fd = journal.read_fd(number)
    walk = Walk(fd, start, os.fstat(fd).st_size, journal.tag, proven=False)
    last: Frame | None = None
    for item in walk:
        if isinstance(item, Damage):
            journal.damage[item.segment, item.offset] = item
        else:
            last = item
    end = walk.position
    if not end.hash:
        end = _chained(journal, end)
    return Ending(end, last.batch_start if last else end.offset, segment.why == segments.WHY_UNKNOWN)


def known_last(journal: Reader) -> int:
    """The last commit that the published position (of whatever boot) or the name of a checkpoint says was durable."""
    try:
        with disk.reading(os.path.join(journal.folder, POSITION)) as file:
            raw = file.read(BYTES)
    except OSError:
        raw = b""
    published = decode_position(raw, journal.id, raw[16:32])
    found = published.sequence if published is not None else 0
    try:
        names = os.listdir(os.path.join(journal.folder, "checkpoints"))
    except OSError:
        return found
    ends = [name.removesuffix(".run").partition("-")[2] for name in names if name.endswith(".run")]
    return max([found, *(int(end) for end in ends if end.isdigit())])


def note_cut(journal: Reader, end: Position, known: int) -> None:
    """Remember that commits after *end* were there and are not: the next writer gives their numbers again.

    Until the journal is salvaged that is damage: what looks unclaimed may belong to one of them.
    """
    folder = os.path.join(journal.folder, QUARANTINE)
    disk.make_folder(folder)
    disk.write_beside(os.path.join(folder, CUT), f"{end.segment} {end.offset} {end.sequence} {known}".encode(), durable=journal.durable)
    if journal.durable:
        disk.sync_folder(journal.folder)


def find_cut(journal: Reader) -> None:
    """Put what ``note_cut`` remembers into ``damage``."""
    try:
        with disk.reading(os.path.join(journal.folder, QUARANTINE, CUT)) as file:
            segment, offset, last, known = (int(word) for word in file.read(200).split())
    except (OSError, ValueError):
        return
    journal.damage[segment, offset] = Damage(segment, offset, offset, f"commit {last + 1}", THE_END, last + 1, known, False)


def restore_genesis(journal: Reader) -> bool:
    """Write the first bytes of a journal that was cut before its commit 1 again, from their copy. Under the writer lock."""
    try:
        with disk.reading(os.path.join(journal.folder, "genesis")) as file:
            copy = file.read()
    except FileNotFoundError:
        return False
    segment = segments.parse(copy[: segments.HEADER_BYTES], "")
    if segment is None or segment.journal_id != journal.id:
        return False
    fd = disk.open_to_write(journal.segment(1).path)
    try:
        there = os.pread(fd, os.fstat(fd).st_size, 0).rstrip(b"\0")
        if there:
            keep(journal, f"genesis-{time.time_ns()}", there)
        disk.pwrite_all(fd, copy.ljust(len(there), b"\0"), 0)
        disk.write_zeros(fd, max(len(copy), len(there)), segment.size - max(len(copy), len(there)))
        disk.fsync(fd)
    finally:
        os.close(fd)
    return True


def _chained(journal: Reader, end: Position) -> Position:
    """*end* of a segment without header and frames, with the hash and sequence of the segments before it."""
    listing = journal.listing()
    before = [number for number, _, _ in listing if number < end.segment]
    if not before:
        return Position(end.segment, end.offset, end.sequence, end.time_ns, CHAIN_START, 0)
    segment = journal.segment(before[-1])
    fd = journal.read_fd(before[-1])
    walk = Walk(fd, segment.start(), os.fstat(fd).st_size, journal.tag, proven=False)
    for _ in walk:
        pass
    last = walk.position
    return Position(end.segment, end.offset, max(end.sequence, last.sequence), last.time_ns, last.hash, 0)


def end_after(journal: Reader, proven: Position) -> Position:
    """The point after the whole frames that follow a durable point in its segment."""
    fd = journal.read_fd(proven.segment)
    walk = Walk(fd, proven, os.fstat(fd).st_size, journal.tag, proven=False)
    for item in walk:
        if isinstance(item, Damage):
            journal.damage[item.segment, item.offset] = item
    return walk.position


def settle(journal: Reader, fd: int, rewrite_from: int, end: Position) -> None:
    """Make the bytes up to *end* durable and the rest of the segment zeros. Under the writer lock.

    Torn bytes are durable in ``quarantine/`` before they are overwritten.
    """
    size = os.fstat(fd).st_size
    torn = _torn_bytes(fd, end.offset, size)
    if torn:
        keep(journal, f"torn-{end.segment:08d}-{end.offset}-{time.time_ns()}", torn)
        disk.write_zeros(fd, end.offset, len(torn))
    if rewrite_from < end.offset:
        disk.pwrite_all(fd, os.pread(fd, end.offset - rewrite_from, rewrite_from), rewrite_from)
    if journal.durable and (torn or rewrite_from < end.offset):
        disk.fdatasync(fd)


def _torn_bytes(fd: int, offset: int, size: int) -> bytes:
    rest = os.pread(fd, max(size - offset, 0), offset)
    return rest.rstrip(b"\0")


def keep_lost_end(journal: Reader, end: Position) -> None:
    """Remember that the journal once reached *end*, before its last position is overwritten: what was cut off stays named."""
    keep(journal, f"{LOST}-{end.segment:08d}-{end.offset}-{time.time_ns()}", encode_position(end, journal.id, bytes(16)))


def lost_ends(journal: Reader) -> list[Position]:
    """Positions up to which the journal was durable once, and does not reach, or did not when it was opened."""
    last = journal.published_before()
    found = [last] if last is not None and last.sequence > journal.position.sequence else []
    folder = os.path.join(journal.folder, QUARANTINE)
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(f"{LOST}-"))
    except FileNotFoundError:
        return found
    for name in names:
        with disk.reading(os.path.join(folder, name)) as file:
            end = decode_position(file.read(), journal.id, None)
        if end is not None:
            found.append(end)
    return found


def keep(journal: Reader, name: str, data: bytes) -> None:
    """Put bytes into ``quarantine/``, durable; on a full disk they are given up, since the store must open."""
    folder = os.path.join(journal.folder, QUARANTINE)
    try:
        disk.make_folder(folder)
        disk.write_beside(os.path.join(folder, name), data, durable=journal.durable)
        if journal.durable:
            disk.sync_folder(journal.folder)
    except OSError as error:
        if error.errno not in disk.NO_ROOM:
            raise


def overwrite_payload(journal: Reader, number: int, offset: int, payload: bytes) -> None:
    """Put a redacted payload in the place of the one that the frame at *offset* has. Under the writer lock; can be repeated."""
    path = journal.segment(number).path
    fd = disk.open_to_write(path)
    try:
        frame = Frame(number, os.pread(fd, HEADER_BYTES, offset))
        if frame.offset != offset or frame.length != len(payload):
            raise JournalError(f"{path}: no commit of {len(payload)} bytes at {offset}")
        disk.pwrite_all(fd, payload, offset + HEADER_BYTES)
        disk.fdatasync(fd)
    finally:
        os.close(fd)
