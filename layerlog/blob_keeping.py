"""Blobs between "written" and "referred to", and their end when nothing refers to them.

A writer of blobs holds ``.blobs`` shared from before the first byte until its commit; the collector takes it
exclusively, so it never removes what somebody is about to refer to. A lease of its own besides tells
recovery that a writer died and may have left a blob behind.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress

from layerlog.eventstore.errors import DigestMismatch, InUse, OutcomeUnknown, StoreError
from layerlog.projections.keys import prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.rows import Rows

SHARED_LEASE = ".blobs"
WRITER_LEASE = ".put-"
COLLECT_LEASE = ".collect"


@contextmanager
def putting(core: Core) -> Iterator[None]:
    """Blobs put inside the block stay at least until it ends; the commit that refers to them belongs inside.

    Left by an exception, what nothing refers to is removed again.
    """
    with core.lease(WRITER_LEASE + os.urandom(8).hex(), "put big data") as own:
        try:
            with core.lease(SHARED_LEASE, "put big data", shared=True, wait=True):
                yield
        except OutcomeUnknown:
            own.abandon()
            raise
        except BaseException:
            try:
                collect(core)
            except (StoreError, OSError):
                own.abandon()  # for recovery, when the disk is well again
            raise


def copy_up(core: Core, digest: str) -> None:
    """Copy a blob of another store into one's own; durable on return. Belongs into ``putting``. Raises BlobMissing, DigestMismatch."""
    with core.blobs_with(digest).open(digest) as source:
        found, _ = core.blobs.put(source)
    if found != digest:
        raise DigestMismatch(where=core.blobs_with(digest).path(digest), expected=digest, found=found)


def collect(core: Core) -> int:
    """Remove blobs that nothing refers to, now or in a past within retention; bytes freed.

    While somebody puts blobs it is left to a later open.
    """
    freed = collect_if_idle(core)
    if freed is None:
        core.leases.take(COLLECT_LEASE, {}, wait=True).abandon()
    return freed or 0


def collect_if_idle(core: Core) -> int | None:
    """The same; None, and nothing done, while somebody puts blobs."""
    try:
        exclusive = core.leases.take(SHARED_LEASE, {"doing": "collect blobs", **core.holder_note()})
    except InUse:
        return None
    with exclusive:
        going = unclaimed(core)
        freed = 0
        if going:
            with core.ledger.exclusively() as rows:
                _, freed = core.blobs.collect(lambda digest: digest not in going or _referred(rows, digest))
        core.blobs.sweep_aside(time.time_ns())
    if COLLECT_LEASE in core.leases.files():
        with suppress(InUse):
            core.leases.take(COLLECT_LEASE).release()
    return freed


def unclaimed(core: Core) -> set[str]:
    """Digests of the blobs that no record refers to, nor did at any time within retention: undo and ``at`` may ask for those."""
    with core.reading() as rows:
        found = {digest for digest in core.blobs.digests() if not _referred(rows, digest)}
    if not found or core.retention_seconds <= 0:
        return found
    start = core.ledger.sequence_at(time.time_ns() - int(core.retention_seconds * 1e9))
    past = core.ledger.at(start)
    found = {digest for digest in found if not _referred(past, digest)}
    for commit in core.ledger.history(after=start) if found else ():
        found -= {digest for event in commit.events for digest in blobs_in(event)}
    return found


def blobs_in(event: Any) -> Iterator[str]:
    """Digests of the blobs that an event makes something refer to."""
    for ref in (*event.get("big_data", {}).values(), event.get("contents", {}).get("tar_split"), event):
        if ref and "blob" in ref:
            yield ref["blob"]


def _referred(rows: Rows, digest: str) -> bool:
    return next(rows.keys(prefix("blob", digest)), None) is not None
