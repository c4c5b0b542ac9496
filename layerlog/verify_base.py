"""The base of a compacted journal: whole, the one that was committed, standing where the chain says, and what its archive gives."""

from __future__ import annotations

import os

from layerlog.eventstore import archive, base, segments
from layerlog.eventstore.errors import CorruptRecord, JournalError
from layerlog.eventstore.state import State
from layerlog.findings import CONTENT, METADATA, MISSING, Finding
from layerlog.projections.fold import FOLD_VERSION, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.eventstore.base import Base
    from layerlog.eventstore.journal import Journal

LOOK = "layerlog log"


def files(journal: Journal) -> Iterator[Finding]:
    """The base's own bytes, and the segments that its archive should hold."""
    try:
        found = base.newest(journal.segments_folder)
    except JournalError as unreadable:
        yield _finding(MISSING, "damaged or gone", str(unreadable))
        return
    if found is None:
        return
    for damage in found.damage():
        proof = f"{found.path}, bytes {damage.offset} to {damage.end}: expected {damage.expected}, found {damage.found}"
        if damage.mended:
            yield _finding(CONTENT, "damaged, and mended in memory", proof)
        else:
            yield _finding(MISSING, "damaged: the state that it stands for is lost", proof)
    try:
        found.archives  # noqa: B018 - reads the first frame
    except CorruptRecord:
        return
    places = [os.path.join(journal.segments_folder, place) for place in found.archives]
    if any(os.path.isdir(place) and os.listdir(place) for place in places) and archive.before(journal.segments_folder) is None:
        gone = _first_gap(journal.segments_folder, found)
        proof = f"{' and '.join(places)} hold other segments, but not segment {gone}"
        yield Finding(MISSING, "store", "archive", f"archive: segment {gone} is gone, and what came before cannot be read", proof, LOOK)


def _first_gap(folder: str, found: Base) -> int:
    """The newest segment that should be in an archive and is not."""
    there: set[int] = set()
    for place in archive.folders(folder, found):
        names = os.listdir(place) if os.path.isdir(place) else []
        there |= {number for number, _, _ in segments.numbered(names, segments.SUFFIX)}
    return next(number for number in range(found.segment.number - 1, -1, -1) if number not in there)


def committed(journal: Journal, compactions: list[Any]) -> Iterator[Finding]:
    """It is the one that a commit names. *compactions*: all JournalCompacted events that can be read."""
    found = base.newest(journal.segments_folder)
    if found is None:
        return
    if found.redacted:
        yield _finding(METADATA, "its rows were redacted", f"{found.path} was made for a bundle; nothing proves what it says")
        return
    named = [event for event in compactions if event["through"] == found.sequence]
    if not named:
        yield _finding(CONTENT, "no commit says who made it", f"{found.path} stands for commits 1 to {found.sequence}")
    elif named[-1]["base"] != base.digest(found.path):
        proof = f"{found.path} has another SHA-256 than {named[-1]['base'][:16]}…, which the commit that made it says"
        yield _finding(CONTENT, "another one than was written", proof)


def replayed(journal: Journal) -> Iterator[Finding]:
    """Where the archive is whole: the base holds what a replay of the archive gives."""
    found = base.newest(journal.segments_folder)
    if found is None or journal.start().sequence:
        return
    state = State(journal.folder, journal, fold, fold_version=FOLD_VERSION, may_write=False, until=0)
    state.replay_to(found.sequence)
    if dict(state.rows.scan(b"")) != dict(found.rows()):
        yield _finding(CONTENT, "not what a replay of the archive gives", f"{found.path} and the archived segments differ")


def _finding(grade: str, what: str, proof: str) -> Finding:
    return Finding(grade, "store", "base", f"base: {what}", proof, LOOK)
