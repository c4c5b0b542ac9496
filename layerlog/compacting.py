"""Compaction: old commits become one base, their segments an archive, or nothing.

``compact`` is one change from start to end: lease, base aside, commit, base in place, segments away. Everything after the
commit is repeated by ``finish``, which also takes back a base that was never committed (CRASH.md §3).
"""

from __future__ import annotations

import os
import time

from layerlog import change
from layerlog.decide.compacting import Limit, limit
from layerlog.eventstore import base, compaction
from layerlog.eventstore.errors import InvalidRequest, StoreError
from layerlog.eventstore.journal import Journal
from layerlog.projections.fold import FOLD_VERSION, fold
from layerlog.projections.keys import key
from layerlog.recovery import COMPACT_LEASE, finish_redaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.compaction import Cut
    from layerlog.eventstore.rows import Rows
    from layerlog.history import HistoryMethods


class Compacted:
    """What a compaction did or, planned, would do."""

    __slots__ = ("archive", "bytes", "kept_by", "segments", "sequence", "through")

    def __init__(self, cut: Cut | None, limited: Limit, archive: str) -> None:
        self.through = cut.through if cut else 0
        """The last commit that is folded into the base; 0: nothing is, since no segment is old as a whole."""
        self.segments = len(cut.numbers) if cut else 0
        """How many segments go."""
        self.bytes = cut.bytes if cut else 0
        """Their bytes on disk."""
        self.archive = archive
        """The folder they go to; empty: they are dropped."""
        self.kept_by = limited.why
        """What kept it from going as far as asked; empty when nothing did."""
        self.sequence = 0
        """The commit that says so; 0 for a plan."""


def plan(core: HistoryMethods, before: str | int | float, archive: str | None) -> Compacted:
    """See ``Store.plan_compaction``."""
    return _plan(core, before, archive)[0]


def compact(core: HistoryMethods, before: str | int | float, archive: str | None) -> Compacted:
    """See ``Store.compact``."""
    core.must_write()
    with core.lease(COMPACT_LEASE, "compact the journal") as lease:
        try:
            finish(core)  # what another one may have left
            finish_redaction(core)  # else the base would hold what is to be gone
            planned, cut = _plan(core, before, archive)
            if cut is not None:
                _fold(core, before, planned)
                finish(core)
        except BaseException as error:
            _after_failure(core, lease, error)
            raise
    return planned


def _plan(core: HistoryMethods, before: str | int | float, archive: str | None) -> tuple[Compacted, Cut | None]:
    journal = Journal.open(core.ledger.folder, read_only=True, durable=True)
    try:
        with core.reading() as rows:
            limited = _limit(core, rows, journal, before)
        cut = compaction.find_cut(journal, limited.sequence)
        return Compacted(cut, limited, _place(journal, archive)), cut
    finally:
        journal.close()


def _limit(core: HistoryMethods, rows: Rows, journal: Journal, before: str | int | float) -> Limit:
    asked = core.sequence_at(before)
    retained_from = core.ledger.sequence_at(time.time_ns() - int(core.retention_seconds * 1e9))
    return limit(rows, asked, retained_from, compaction.unfollowed(journal))


def _place(journal: Journal, archive: str | None) -> str:
    """The archive's folder as a whole path; empty: none."""
    if archive == "":
        return ""
    return os.path.join(journal.segments_folder, base.ARCHIVE) if archive is None else os.path.abspath(os.path.expanduser(archive))


def _fold(core: HistoryMethods, before: str | int | float, planned: Compacted) -> None:
    """Effect, then commit: the base is durable beside the journal before a record names it."""
    journal = Journal.open(core.ledger.folder, read_only=True, durable=True)
    try:
        place = _relative(planned.archive, journal.segments_folder)
        if planned.archive and os.path.isdir(planned.archive) and os.listdir(planned.archive) and not _is_archive(planned.archive):
            raise InvalidRequest(f"{planned.archive} holds other files than archived segments: give another folder")
        digest = compaction.fold_to(journal, fold, planned.through, _archives(journal, place), FOLD_VERSION)
        frame_hash = base.Base(os.path.join(journal.segments_folder, base.ASIDE)).after().hash.hex()

        def decide(rows: Rows) -> list[Any]:
            if _limit(core, rows, journal, before).sequence < planned.through:
                raise StoreError("something that needs the old commits came meanwhile: plan again")
            return [{"type": "JournalCompacted", "through": planned.through, "hash": frame_hash, "base": digest, "archive": place}]

        planned.sequence = change.commit(core, decide, f"compact {planned.through}").sequence
    finally:
        journal.close()


def _archives(journal: Journal, place: str) -> list[str]:
    """Folders that hold, together, what came before the new base: nothing is remembered of what was dropped."""
    older = journal.base()
    known = older.archives if older is not None else []
    return [*(one for one in known if one != place), place] if place else []


def _relative(archive: str, segments_folder: str) -> str:
    """How the journal names an archive: a folder below its own keeps its place when the journal is copied."""
    below = os.path.join(segments_folder, "")
    return archive.removeprefix(below)


def _is_archive(folder: str) -> bool:
    return all(name.endswith((".segment", ".base", ".new")) for name in os.listdir(folder))


def finish(core: Core) -> None:
    """What a compaction that was cut short left: its base is put in its place, or away when it was never committed."""
    with core.reading() as rows:
        row = rows.get(key("store", "compacted")) or {}
    compaction.settle(core.ledger.folder, row.get("base", ""), row.get("archive", ""))


def _after_failure(core: Core, lease: Any, error: BaseException) -> None:
    from layerlog.eventstore.errors import OutcomeUnknown

    if isinstance(error, OutcomeUnknown):
        lease.abandon()
        return
    try:
        finish(core)
    except (StoreError, OSError):
        lease.abandon()
