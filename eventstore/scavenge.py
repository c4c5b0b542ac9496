"""What of a journal can still be read, whatever its state: for tools that need no healthy store.

``Reader`` refuses a journal that says nothing of itself any more, and believes checkpoints only where the journal
holds the commit that they end with. Here every whole frame counts, and so does every checkpoint that the same
journal made: behind damage it may be the only one that knows what the lost commits did.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress

from layerlog.eventstore import disk, segments, tail
from layerlog.eventstore.blocks import RunDamaged
from layerlog.eventstore.checkpoints import Checkpoints
from layerlog.eventstore.damage import Damage, is_redacted, next_whole
from layerlog.eventstore.errors import JournalError, StoreError
from layerlog.eventstore.frame import HEADER_BYTES, MAGIC
from layerlog.eventstore.position import BYTES, Position, decode
from layerlog.eventstore.reading import POSITION, Reader
from layerlog.eventstore.rows import Table
from layerlog.eventstore.runs import Run, RunSet
from layerlog.eventstore.state import CHECKPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.base import Base
    from layerlog.eventstore.frame import Frame


class Lost:
    """Commits that cannot be read any more, and how that is known."""

    __slots__ = ("first", "last", "why")

    def __init__(self, first: int, last: int, why: str) -> None:
        self.first, self.last, self.why = first, last, why

    def __str__(self) -> str:
        which = f"commit {self.first}" if self.first == self.last else f"commits {self.first} to {self.last}"
        return f"{which}: {self.why}"


class Scavenger(Reader):
    """A journal opened for what is left of it. Only its files are read; nobody's lock is taken, nothing is settled."""

    def __init__(self, folder: str) -> None:
        """Raises FileNotFoundError (no segment at all), JournalError (no frame and no header in any), UnknownFormat."""
        super().__init__(folder, read_only=True, durable=True)
        below = self.segments_folder
        listing = [entry for entry in segments.listing(below) if os.path.isfile(os.path.join(below, entry[2]))]
        if not listing:
            raise FileNotFoundError(2, "no journal here", self.segments_folder)
        try:
            self.id = tail.journal_id(self, listing)
        except JournalError:
            self.id = self._id_of_frames(listing)
        self.tag = self.id[:8]
        self.position = tail.find_end(self).end
        tail.find_cut(self)
        self._cut = next((one for one in self.damage.values() if one.found == tail.THE_END), None)
        with suppress(StoreError, OSError):  # what compaction archived is part of what is left
            self.reach_back(0)

    def __del__(self) -> None:
        """Its files stay open as long as a plan that was made of them is held."""
        self.close()

    def _id_of_frames(self, listing: list[tuple[int, int, str]]) -> bytes:
        """The journal's ID by its first half, which every frame carries; zeros for the other half where nothing beside it has that."""
        tags: Counter[bytes] = Counter()
        for _, _, name in listing:
            with disk.reading(os.path.join(self.segments_folder, name)) as file:
                data = file.read()
            at = data.find(MAGIC)
            while at >= 0:
                tags[data[at + 120 : at + HEADER_BYTES]] += 1
                at = data.find(MAGIC, at + 1)
        for tag, _ in tags.most_common():
            for _, _, name in listing:
                fd = disk.open_to_read(os.path.join(self.segments_folder, name))
                try:
                    if next_whole(fd, 0, os.fstat(fd).st_size, tag, 1) is not None:
                        return next((one for one in self._ids_beside() if one.startswith(tag)), tag + bytes(8))
                finally:
                    os.close(fd)
        raise JournalError(f"nothing in {self.segments_folder} can be read")

    def _ids_beside(self) -> Iterator[bytes]:
        """Journal IDs that the position and checkpoints name."""
        with suppress(OSError), disk.reading(os.path.join(self.folder, POSITION)) as file:
            raw = file.read(BYTES)
            if decode(raw, raw[32:48], raw[16:32]) is not None:
                yield raw[32:48]
        yield from (footer[20:36] for _, footer in _footers(self.folder))

    def items(self) -> Iterator[Frame | Damage]:
        """Every frame with a readable payload, and what is damaged between them, in order."""
        for item in self.walk(self._first_readable(), self.position):
            if isinstance(item, Damage) or item.payload:
                yield item
        yield from (one for one in list(self.damage.values()) if one.found != tail.THE_END)

    def payloads(self) -> Iterator[tuple[int, int, bytes]]:
        """Sequence, time and payload of every commit that can be read, in order, each once."""
        last = 0
        for item in self.items():
            if not isinstance(item, Damage) and item.payload and item.sequence > last:
                last = item.sequence
                yield item.sequence, item.time_ns, item.payload

    def lost(self, known_last: int = 0) -> list[Lost]:
        """What is missing between the first commit and the last that anything knows of (*known_last*: of other witnesses)."""
        why: dict[int, str] = {}
        found: list[Lost] = []
        at = self._before_first()
        for item in self.items():
            if isinstance(item, Damage):
                where = f"segment {item.segment}, bytes {item.offset} to {item.end}"
                said = f"{where}: expected {item.expected}, found {item.found}"
                why.update(dict.fromkeys(range(item.first_sequence, item.last_sequence + 1), said))
                continue
            if item.sequence > at + 1:
                found += _grouped(at + 1, item.sequence - 1, why, "no readable record")
            at = max(at, item.sequence)
        witnesses = [(known_last, "the trash"), (self.published(), "the published position"), *self._run_ends()]
        if self._cut is not None:
            witnesses.append((self._cut.last_sequence, "a position that was published before"))
            if self._cut.first_sequence <= at:
                again = "the journal was cut off there; the numbers were given again"
                found.append(Lost(self._cut.first_sequence, min(self._cut.last_sequence, at), again))
        for last, witness in sorted(witnesses):
            if last > at:
                found += _grouped(at + 1, last, why, f"cut off; {witness} knows commit {last}")
                at = last
        return found

    def _before_first(self) -> int:
        """0, or the last commit that a base stands for."""
        base = self._whole_base()
        return base.sequence if base is not None else 0

    def _first_readable(self) -> Position:
        return self.first_point() if self._whole_base() is None else self.start()

    def _whole_base(self) -> Base | None:
        """The base that the journal begins with, if there is one and it can be read to its end."""
        try:
            found = self.base()
            for _ in found.rows() if found is not None else ():
                pass
        except (StoreError, OSError):
            return None
        return found

    def mended(self) -> list[Damage]:
        """Damage that loses nothing: flipped bits that the checksums tell."""
        found = {(item.segment, item.offset): item for item in self.items() if isinstance(item, Damage) and item.mended}
        return list(found.values())

    def published(self) -> int:
        """The last commit that a writer published, in whatever boot; 0 when nothing tells."""
        try:
            with disk.reading(os.path.join(self.folder, POSITION)) as file:
                raw = file.read(BYTES)
        except OSError:
            return 0
        found = decode(raw, self.id, raw[16:32])
        return found.sequence if found is not None else 0

    # --- checkpoints

    def runs(self) -> list[Run]:
        """The runs that together tell most, oldest first; those of this journal whose contents hold."""
        folder = os.path.join(self.folder, CHECKPOINTS)
        checkpoints = _Believed(folder, self, fold_version=1, may_write=False)  # type: ignore[arg-type] # it asks for the ID only
        found = checkpoints.cover(1 << 62)
        for number, run in enumerate(found):
            try:
                for _ in run.slices(b""):
                    pass
            except RunDamaged:
                return found[:number]
        return found

    def _run_ends(self) -> list[tuple[int, str]]:
        return [(run.last, "a checkpoint") for run in self.runs()]

    def beginning(self) -> tuple[Table, int]:
        """The rows that the journal begins with, and after which commit: those of a base whose archive is not here."""
        base = self._whole_base()
        return (Table(base.rows()), base.sequence) if base is not None else (Table(), 0)

    def checkpoint(self) -> tuple[Table, int]:
        """The rows that checkpoints, or the base of a compaction, hold, and up to which commit."""
        return max(rows_of(self.runs()), self.beginning(), key=lambda found: found[1])


class _Believed(Checkpoints):
    """Runs that need no witness in the journal."""

    def _is_of_journal(self, run: Run) -> bool:
        return True


def rows_of(runs: list[Run]) -> tuple[Table, int]:
    """What a chain of runs says, in memory."""
    return Table(RunSet(runs, None).scan(b"")) if runs else Table(), runs[-1].last if runs else 0


def orphaned_runs(folder: str, of: bytes = b"") -> list[Run]:
    """The newest chain of runs of a ledger whose journal is gone: *of* the journal with that ID, or of the one that most of them name."""
    by_journal: dict[bytes, int] = {}
    for _, footer in _footers(folder):
        if not of or footer[20:36] == of:
            by_journal[footer[20:36]] = max(by_journal.get(footer[20:36], 0), int.from_bytes(footer[44:52], "little"))
    for journal_id, _ in sorted(by_journal.items(), key=lambda one: -one[1]):
        reader = Reader(folder, read_only=True, durable=True)
        reader.id = journal_id
        found = Scavenger.runs(reader)  # type: ignore[arg-type] # it asks for the folder and the ID only
        if found:
            return found
    return []


def _footers(folder: str) -> Iterator[tuple[str, bytes]]:
    """Name and last bytes of each file among the checkpoints (FORMAT.md §6)."""
    try:
        names = sorted(os.listdir(os.path.join(folder, CHECKPOINTS)))
    except FileNotFoundError:
        return
    for name in names:
        with suppress(OSError), disk.reading(os.path.join(folder, CHECKPOINTS, name)) as file:
            file.seek(-256, os.SEEK_END)
            yield name, file.read()


def genesis_copy(folder: str) -> bytes:
    """The payload of commit 1 from the copy beside the journal; empty when it cannot be read."""
    path = os.path.join(folder, "genesis")
    try:
        with disk.reading(path) as file:
            raw = file.read()
    except OSError:
        return b""
    from hashlib import sha256

    length = int.from_bytes(raw[segments.HEADER_BYTES + 16 : segments.HEADER_BYTES + 20], "little")
    start = segments.HEADER_BYTES + HEADER_BYTES
    header, payload = raw[segments.HEADER_BYTES : start], raw[start : start + length]
    whole = header.startswith(MAGIC) and (sha256(payload).digest() == header[88:120] or is_redacted(payload))
    return payload if whole else b""


def _grouped(first: int, last: int, why: dict[int, str], otherwise: str) -> list[Lost]:
    """One Lost for each stretch with the same reason."""
    found: list[Lost] = []
    for sequence in range(first, last + 1):
        reason = why.get(sequence, otherwise)
        if found and found[-1].why == reason:
            found[-1].last = sequence
        else:
            found.append(Lost(sequence, sequence, reason))
    return found


__all__ = ["Lost", "Position", "Scavenger", "genesis_copy", "orphaned_runs", "rows_of"]
