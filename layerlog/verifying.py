"""Verify: is the history the one that was written? Chain, witnesses, checkpoints, blobs.

Four independent looks, each collecting all it finds. *Chain*: every frame holds the hash of the one before.
*Witnesses*: hashes that were written down elsewhere when a commit was the last one (published position,
checkpoints, the copy of the genesis, a head that the caller kept) are those of the chain; they catch what the
chain alone cannot, a tail that was cut off or written anew. *Checkpoints*: each run holds what a replay
of its commits gives. *Blobs*: each has its digest, and those that records refer to are there.
"""

from __future__ import annotations

import os
from contextlib import suppress

from layerlog.eventstore import disk
from layerlog.eventstore.archive import HistoryCompacted
from layerlog.eventstore.codec import decode as decode_payload
from layerlog.eventstore.damage import Damage, is_redacted
from layerlog.eventstore.errors import CorruptRecord, InvalidRequest
from layerlog.eventstore.frame import HEADER_BYTES, MAGIC, Frame, header_whole
from layerlog.eventstore.journal import GENESIS, Journal
from layerlog.eventstore.position import PositionFile
from layerlog.eventstore.reading import POSITION
from layerlog.eventstore.schema import SchemaBroken, structure_frame
from layerlog.eventstore.tail import QUARANTINE, lost_ends
from layerlog.findings import CONTENT, METADATA, MISSING, Finding
from layerlog.projections.keys import prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.core import Core

LOOK = "layerlog log"
"""What to run next: the history around it."""


class Witness:
    """A hash that was written down while that commit was the last one. An empty hash only says that it was there."""

    __slots__ = ("hash", "sequence", "what")

    def __init__(self, sequence: int, frame_hash: bytes, what: str) -> None:
        self.sequence, self.hash, self.what = sequence, frame_hash, what


def head(core: Core) -> str:
    """See ``Store.head``."""
    journal = Journal.open(core.ledger.folder, read_only=True, durable=True)
    try:
        return f"{journal.position.sequence}:{journal.position.hash.hex()}"
    finally:
        journal.close()


def parse_head(asked: str | int | None) -> Witness | None:
    """A head, or only the number of a commit. Raises InvalidRequest."""
    if asked is None:
        return None
    number, colon, digest = str(asked).partition(":")
    try:
        found = bytes.fromhex(digest)
        if not number.isascii() or not number.isdigit() or (colon and len(found) != 32):
            raise ValueError(number)
        return Witness(int(number), found, "the last known head")
    except ValueError as unreadable:
        raise InvalidRequest(f"cannot read {str(asked)[:40]!r} as a head: COMMIT or COMMIT:HASH, as verify prints it") from unreadable


def verify(core: Core, last_known: Witness | None = None) -> Iterator[Finding]:
    """See ``Store.verify``."""
    from layerlog import verify_base
    from layerlog.verify_checkpoints import checkpoints, ends

    folder = core.ledger.folder
    witnesses = [last_known] if last_known is not None else []
    published = _published(folder)
    journal = Journal.open(folder, read_only=True, durable=True)
    try:
        if published is not None:
            witnesses.append(published)
        witnesses += [Witness(end.sequence, end.hash, "a position that was published once") for end in lost_ends(journal)]
        witnesses += [Witness(end.sequence, end.hash, f"the checkpoint {name}") for name, end in ends(journal)]
        compactions: list[Any] = []
        whole = True
        for finding in (*verify_base.files(journal), *_chain(_with_archive(journal, witnesses), witnesses, compactions)):
            whole = whole and finding.grade not in (MISSING, CONTENT)
            yield finding
        yield from _genesis(journal)
        yield from _strays(journal)
        if whole:  # behind a gap a replay proves nothing
            yield from verify_base.committed(journal, compactions)
            yield from verify_base.replayed(journal)
            yield from checkpoints(journal)
    finally:
        journal.close()
    yield from _blobs(core)


def _published(folder: str) -> Witness | None:
    """Up to where the journal was durable, as its last writer of this boot said."""
    journal = Journal.open(folder, read_only=True, durable=True)
    try:
        file = PositionFile(os.path.join(folder, POSITION), journal.id, read_only=True)
        try:
            found = file.read()
        finally:
            file.close()
    finally:
        journal.close()
    return Witness(found.sequence, found.hash, "the published position") if found is not None else None


# --- chain and witnesses


def _with_archive(journal: Journal, witnesses: list[Witness]) -> Journal:
    """The journal with all that compaction archived and that can be read; its base is one more witness."""
    based = journal.base()
    if based is not None:
        witnesses.append(Witness(based.sequence, based.after().hash, "the base"))
        with suppress(HistoryCompacted, CorruptRecord):  # the base's own damage is told besides
            journal.reach_back(0)
    return journal


def _chain(journal: Journal, witnesses: list[Witness], compactions: list[Any]) -> Iterator[Finding]:
    """Walk all frames; then compare with what witnesses say of them. Gathers the events of compactions on the way."""
    wanted = {witness.sequence for witness in witnesses}
    seen: dict[int, bytes] = {}
    named: set[int] = set()
    last = first = 0
    redacted: list[int] = []
    justified: set[int] = set()
    for item in journal.walk(journal.first_point(), journal.position):
        if isinstance(item, Damage):
            named.update(range(item.first_sequence, item.last_sequence + 1))
            yield _damaged(item, last)
            last = max(last, item.last_sequence)
            continue
        first = first or item.sequence
        last = item.sequence
        if item.sequence in wanted:
            seen[item.sequence] = item.hash
        try:
            structure_frame(item.payload or b"")
        except SchemaBroken as broken:
            yield _finding(CONTENT, item.sequence, item.sequence, "its events are not of their schema", str(broken))
        if item.payload is not None and is_redacted(item.payload):
            redacted.append(item.sequence)
        elif item.payload is not None and b'"PayloadRedacted"' in item.payload:
            justified.update(_redactions(item.payload))
        elif item.payload is not None and b'"JournalCompacted"' in item.payload:
            compactions += [event for event in decode_payload(item.payload)["events"] if event["type"] == "JournalCompacted"]
    for damage in [one for one in journal.damage.values() if one.offset == 0]:
        yield _damaged(damage, damage.first_sequence - 1)
    for start, end in _ranges([one for one in redacted if one not in justified]):
        yield _finding(METADATA, start, end, "its payload was redacted", "the payload was replaced; no later commit says by whom")
    yield from _disagreeing(witnesses, seen, named, first, last)


def _redactions(payload: bytes) -> set[int]:
    events = decode_payload(payload)["events"]
    return {sequence for event in events if event["type"] == "PayloadRedacted" for sequence in event["sequences"]}


def _damaged(damage: Damage, before: int) -> Finding:
    """Damage with the commits that it hit; a chain that breaks between two whole frames is laid to the first of them."""
    where = f"segment {damage.segment}, bytes {damage.offset} to {damage.end}"
    proof = f"{where}: expected {damage.expected}, found {damage.found}"
    if damage.mended:
        last = max(damage.first_sequence, damage.last_sequence)
        return _finding(CONTENT, damage.first_sequence, last, "damaged, and mended in memory", proof)
    if damage.last_sequence < damage.first_sequence:
        proof = f"{where}: commit {before + 1} was written after another commit {before} than the one that is here"
        return _finding(CONTENT, before, before, "altered: the next commit does not follow it", proof)
    return _finding(MISSING, damage.first_sequence, damage.last_sequence, "damaged or gone", proof)


def _finding(grade: str, first: int, last: int, what: str, proof: str) -> Finding:
    item = f"commit {first}" if last <= first else f"commits {first}-{last}"
    return Finding(grade, "store", item, f"{item}: {what}", proof, LOOK)


def _disagreeing(witnesses: list[Witness], seen: dict[int, bytes], named: set[int], first: int, last: int) -> Iterator[Finding]:
    """What witnesses know and the chain does not have; each commit is named once."""
    cut = max((witness for witness in witnesses if witness.sequence > last), key=lambda witness: witness.sequence, default=None)
    if cut is not None:
        proof = f"{cut.what} was commit {cut.sequence}; the journal ends with commit {last}"
        yield _finding(MISSING, last + 1, cut.sequence, "cut off", proof)
    for witness in witnesses:
        found = seen.get(witness.sequence)
        if found is None and first <= witness.sequence <= last and witness.sequence not in named:
            named.add(witness.sequence)
            yield _finding(MISSING, witness.sequence, witness.sequence, "gone", f"{witness.what} was there")
        elif found is not None and witness.hash and found != witness.hash and witness.sequence not in named:
            named.add(witness.sequence)
            proof = f"{witness.what} says its hash was {witness.hash.hex()[:16]}…, it is {found.hex()[:16]}…"
            yield _finding(CONTENT, witness.sequence, witness.sequence, "another one than was written", proof)


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Sorted numbers as (first, last) of what follows each other."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _genesis(journal: Journal) -> Iterator[Finding]:
    """The copy of the first bytes is still equal to them (unless the first segment was archived)."""
    path = os.path.join(journal.folder, GENESIS)
    if journal.listing()[0][0] != 1:
        return
    try:
        with disk.reading(path) as file:
            copy = file.read()
        with disk.reading(journal.segment(1).path) as file:
            start = file.read(len(copy))
    except FileNotFoundError:
        return
    if copy != start:
        proof = f"{path} and the start of segment 1 differ"
        yield Finding(CONTENT, "store", "genesis", "genesis: the journal begins otherwise than its copy", proof, LOOK)


def _strays(journal: Journal) -> Iterator[Finding]:
    """Records in bytes that do not count: behind the journal's end, or set aside from there. Torn by a power cut, or moved."""
    end = journal.position
    if not journal.trusted:  # else a writer may be at work there
        fd = journal.read_fd(end.segment)
        yield from _headers_in(journal, os.pread(fd, os.fstat(fd).st_size - end.offset, end.offset), end.offset, "behind the end")
    folder = os.path.join(journal.folder, QUARANTINE)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        parts = name.split("-")
        if parts[0] == "torn" and len(parts) > 3:
            with disk.reading(os.path.join(folder, name)) as file:
                yield from _headers_in(journal, file.read(), int(parts[2]), f"in {folder}/{name}")


def _headers_in(journal: Journal, data: bytes, base: int, where: str) -> Iterator[Finding]:
    at = data.find(MAGIC)
    while at >= 0:
        header = data[at : at + HEADER_BYTES]
        written_for = int.from_bytes(header[40:48], "little")
        if header_whole(header, journal.tag, written_for):
            sequence = Frame(0, header).sequence
            if written_for == base + at:
                yield _finding(METADATA, sequence, sequence, "not whole", f"{where}: never finished in a power cut, or altered since")
            else:
                proof = f"{where}: written for byte {written_for}, found at byte {base + at}"
                yield _finding(CONTENT, sequence, sequence, "not in its place", proof)
        at = data.find(MAGIC, at + 1)


# --- blobs


def _blobs(core: Core) -> Iterator[Finding]:
    """Contents of every blob, and the presence of those that records refer to, the trash included."""
    damaged = list(core.blobs.damaged())
    with core.reading() as rows:
        owners: dict[str, list[str]] = {}
        for found in rows.keys(prefix("blob")):
            parts = found.decode("utf-8", "surrogateescape").split("\0")
            owners.setdefault(parts[1], []).append(" ".join(part[:64] for part in parts[2:]))
        missing = [digest for digest in owners if not core.blobs.has(digest)]
    for digest in damaged:
        proof = f"{core.blobs.path(digest)} has other contents; it belongs to {', '.join(owners.get(digest, ['nothing']))}"
        yield Finding(CONTENT, "store", digest, f"blob {digest}: its contents are not those of its digest", proof, "layerlog check")
    for digest in missing:
        proof = f"{core.blobs.path(digest)} is not there; it belongs to {', '.join(owners[digest])}"
        yield Finding(MISSING, "store", digest, f"blob {digest}: missing", proof, "layerlog check")
