"""One change from start to end. The steps stand here in order; everything else is called from here.

Law 2 (DESIGN §2): what creates makes its effects durable first and then commits; what deletes
commits first and then has its effects. ``commit`` is a change of records alone; ``remove`` is one
that also takes layers away or brings them back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext

from layerlog.blob_keeping import blobs_in, copy_up, putting
from layerlog.decide.common import UNKNOWN, unchanged_since
from layerlog.eventstore.errors import BlobMissing, NotSupported, StoreError
from layerlog.projections.items import get
from layerlog.projections.keys import key
from layerlog.projections.trash import entry_name, last_seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.locks import Lease
    from layerlog.eventstore.requests import Committed
    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row

SPLIT_LEASE = ".split"
"""In the image half of a split store: shared by changes that may refer across the halves, held alone by deletes."""
Decide = Callable[["Rows"], list["Any"]]


_WITH_FILES = frozenset(("LayerOpenedForWriting", "LayerDeleted", "LayerRestored", "StoreWiped"))


class _PlanAgain(StoreError):
    """The state moved between plan and lock: more layers are touched than leases are held for."""


class _LookAgain(StoreError):
    """Containers appeared in the run journal while the writer lock was waited for: the decision must see them."""


def commit(core: Core, decide: Decide, what: str = "", reserve: bool = False, *, sees_run: bool = True) -> Committed:
    """Decide on the caught-up state under the writer lock and make the events durable as one commit.

    Durable and visible on return. *what* describes the request: with a client key, a retry of the
    same request returns the first outcome (``repeated``) and another request raises RetryMismatch.
    *sees_run*: off for a decision about which it makes no difference what containers the run journal holds.
    Raises what *decide* raises, StaleVersion, BlobMissing, JournalError.
    """
    if core.retried():
        return _commit(core, decide, what, reserve)
    if not core.durable:
        with core.exclusively() as under:  # type: ignore[attr-defined] # a RunHalf (transient.py)
            return _commit(core, lambda rows: decide(under(rows)), what, reserve)
    if not core.image_roots and not (sees_run and core.lazy.run_seen):
        try:
            return _commit(core, _unless_run(core, decide) if sees_run else decide, what, reserve)
        except _LookAgain:
            core.lazy.run_seen = True
    with core.elsewhere() as under:
        with core.ledger.reading() as rows:
            planned = decide(under(rows))
        lent = {digest for event in planned for digest in blobs_in(event) if not core.blobs.has(digest)}
        with putting(core) if lent else nullcontext():
            for digest in sorted(lent):
                copy_up(core, digest)
            if core.other_half is None:
                return _commit(core, lambda rows: decide(under(rows)), what, reserve)
    leaving = any(event["type"].endswith(("Deleted", "Wiped")) for event in planned)
    with _both_halves(core, leaving), core.elsewhere() as under:
        return _commit(core, lambda rows: decide(under(rows)), what, reserve)


def _unless_run(core: Core, decide: Decide) -> Decide:
    """The same decision, refused when the run journal holds containers. Under the lock: whoever adds one there needs that lock, too.

    One look is enough for all changes of a batch, which share the lock.
    """

    def decide_on_own(rows: Rows) -> list[Any]:
        if core.lazy.run_looked != core.ledger.tenure:
            if core.looks_elsewhere():
                raise _LookAgain("containers of this boot")
            core.lazy.run_looked = core.ledger.tenure
        return decide(rows)

    return decide_on_own


def _both_halves(core: Core, leaving: bool) -> AbstractContextManager[object]:
    """Until it is left nothing goes away in the other half, and with *leaving* nothing is made there that could refer to what goes here."""
    assert core.other_half is not None
    holder = core.other_half if core.images_there else core
    return holder.lease(SPLIT_LEASE, "split store", shared=not leaving, wait=True)


def _commit(core: Core, decide: Decide, what: str, reserve: bool) -> Committed:
    terms = core.terms
    if terms.expected is not None and terms.planned_elsewhere:
        raise NotSupported(
            "this changes what has a journal of its own, and the plan names a commit of the root's: make the change without it"
        )

    def decide_checked(rows: Rows) -> list[Any]:
        events = decide(rows)
        if terms.expected is not None:
            unchanged_since(rows, events, terms.expected)
        _blobs_there(core, events)
        _in_this_driver(core, rows, events)
        return events

    committed = core.ledger.commit(decide_checked, envelope=terms.envelope, key=terms.key, fingerprint=what, reserve=reserve)
    if core.lazy.hooks and committed.events and not committed.repeated:
        from layerlog.following import tell

        tell(core, committed)
    return committed


def _in_this_driver(core: Core, rows: Rows, events: list[Any]) -> None:
    """Raise StoreMigrated when contents were put where the store no longer is: another process migrated it meanwhile."""
    if any("contents" in event or event["type"] in _WITH_FILES for event in events):
        moved = rows.own.get(key("store", "driver"))
        if moved is not None and moved["driver"] != core.driver_name:
            from layerlog.recovery import StoreMigrated

            raise StoreMigrated(root=core.root, driver=moved["driver"])


def outcome(core: Core, committed: Committed, kind: str, item_id: str) -> Row:
    """The row of a thing as that commit left it, whatever somebody did to it since. Raises the kind's NotFound."""
    row: Row | None = committed.changes.get(key(kind, item_id))
    if row is None:
        row = get(core.ledger.at(committed.sequence), kind, item_id)
    if row is None:
        raise UNKNOWN[kind](asked=item_id)
    return row


def remove(core: Core, decide: Decide, what: str = "") -> Committed:
    """A change that deletes layers, or brings deleted ones back, among other things.

    plan -> lease every layer it touches -> bring back what is restored -> decide again and commit ->
    put aside what is deleted. A crash anywhere is settled from the leases (recovery.py).
    Raises InUse when somebody works on one of the layers.
    """
    if core.retried():  # what it touched may be gone
        return commit(core, decide, what, reserve=True)
    _ = core.driver  # must open before anything is committed that it is to carry out
    while True:
        with core.reading() as rows:
            events = decide(rows)
        planned = _touched(events)
        for event in events:
            if event["type"] == "LayerRestored":
                _make_way(core, event["id"], event["deleted_at"])
        try:
            return _remove_planned(core, decide, what, planned)
        except _PlanAgain:
            continue


def _remove_planned(core: Core, decide: Decide, what: str, planned: set[str]) -> Committed:
    def decide_within_leases(rows: Rows) -> list[Any]:
        events = decide(rows)
        if not _touched(events) <= planned:
            raise _PlanAgain("planned on an older state")
        return events

    with ExitStack() as stack:
        leases = [stack.enter_context(core.lease(layer_id, "delete or restore")) for layer_id in sorted(planned)]
        with core.reading() as rows:
            restoring = [event for event in decide_within_leases(rows) if event["type"] == "LayerRestored"]
        notes: dict[str, dict[str, Any]] = {}
        try:
            _bring_back(core, restoring, {lease.id: lease for lease in leases}, notes)
            committed = commit(core, decide_within_leases, what, reserve=True)
            if not committed.repeated:
                _put_all_aside(core, committed)
        except BaseException as error:
            for lease in leases:
                core.after_failure(lease, error, notes.get(lease.id))
            raise
        return committed


def _make_way(core: Core, layer_id: str, deleted_at: int) -> None:
    """What stands where a deleted layer is to come back, and is not what was deleted, goes to lost+found: it is somebody's.

    Raises InUse; JournalError, DiskError where it cannot be moved.
    """
    if not core.driver.exists(layer_id) or core.has_layer(layer_id):
        return
    from layerlog.losing import still_to_put_aside

    if entry := still_to_put_aside(core, layer_id):  # who deleted it is at it, or died, and a full disk took no lease of it
        if entry != entry_name(deleted_at, layer_id):
            from layerlog.recovery import settle

            settle(core, layer_id)
        return
    from layerlog.contents import make_way

    make_way(core, layer_id)


def _touched(events: list[Any]) -> set[str]:
    return {event["id"] for event in events if event["type"] in ("LayerDeleted", "LayerRestored")}


def _bring_back(core: Core, restoring: list[Any], leases: dict[str, Lease], notes: dict[str, dict[str, Any]]) -> None:
    """Effect before commit: contents return to their place.

    Where another layer that bore the ID was deleted later, the lease says first which of them it is, durably: recovery goes by the last.
    """
    for event in restoring:
        entry, layer_id = entry_name(event["deleted_at"], event["id"]), event["id"]
        if not core.driver.in_trash(entry):
            continue
        with core.reading() as rows:
            last = last_seen(rows, "layer", layer_id)
        if last is None or last["sequence"] != event["deleted_at"]:
            core.driver.sync_places()  # a power cut could have the last one in its place again, and recovery take it for this one's copy
            notes[layer_id] = {"doing": "delete or restore", "entry": entry, **core.holder_note()}
            leases[layer_id].rewrite(notes[layer_id])
        core.driver.bring_back(entry, layer_id)


def _put_all_aside(core: Core, committed: Committed) -> None:
    """Effect after commit: rename away what *committed* deleted; free what is not kept."""
    from layerlog.left_behind import leaving_behind

    for event in committed.events:
        if event["type"] == "LayerDeleted":
            core.lazy.deleted = True
            entry = entry_name(committed.sequence, event["id"])
            with leaving_behind(core, event["id"]):
                put_aside(core, event["id"], entry, event["kept"])


def put_aside(core: Core, layer_id: str, entry: str, kept: bool = True) -> None:
    """Unmount a deleted layer and rename it into the trash; free it there unless it is *kept*.

    A full disk may refuse the rename. Then the layer is removed where it is, and first (law 2) a commit from the
    reserve says that it cannot come back; ``Store.unkept`` tells the caller.
    """
    core.forget_mount(layer_id)
    if core.driver.put_aside(layer_id, entry):
        if not kept:
            core.driver.free(entry)
        return
    if kept:
        from layerlog.decide.restoring import not_kept

        commit(core.plainly(), lambda rows: not_kept(rows, entry), reserve=True)
        core.lazy.unkept.append(layer_id)
    core.driver.remove(layer_id)


def _blobs_there(core: Core, events: list[Any]) -> None:
    """Every blob that *events* refer to is there, now, under the writer lock (the collector needs that lock)."""
    for event in events:
        for digest in blobs_in(event):
            if not core.blobs.has(digest):
                raise BlobMissing(digest=digest)
