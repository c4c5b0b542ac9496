"""``recover``: settle all that a crash may have left, in the whole store, and say what was done.

Opening a store settles what dead leases name (recovery.py) and stays quick. This looks at everything that can be put
right without any data but the store's own: half-done layers, what overlay derives, mounts and their counts,
checkpoints, the copy of the genesis. What was done is a commit. Nothing that a record claims is removed.
"""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from layerlog.blob_keeping import collect_if_idle
from layerlog.check_files import missing_trash
from layerlog.decide.lending import chains_of
from layerlog.decide.restoring import not_kept
from layerlog.eventstore import disk
from layerlog.eventstore.errors import DriverError
from layerlog.eventstore.journal import GENESIS, Journal
from layerlog.eventstore.segments import HEADER_BYTES as SEGMENT_HEADER_BYTES
from layerlog.mount_states import reconcile
from layerlog.projections import trash
from layerlog.projections.items import every
from layerlog.recovery import _clear, half_done, in_words, settle, was_thrown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core


def recover_all(core: Core, *, do: bool = True) -> list[str]:
    """What was done (*do*) or would be, a line each. Raises ReadOnlyStore.

    Under a journal with holes nothing is settled, since what looks unclaimed may be claimed by what is lost, and a
    checkpoint that a replay does not give may be the only one that knows. Afterwards the ledger knows whether it has any.
    """
    core.ledger.read_through()
    found = [f"layer {layer_id}: {in_words(steps)}" for layer_id, steps in getattr(core, "recovered", ())]
    told = len(found)  # in a commit, when the store was opened
    if core.ledger.has_damage():
        return [*found, "the journal has damaged records: nothing more is settled before it is salvaged"]
    if last := later_than_the_journal(core):
        short = f"the trash knows commit {last}, and the journal ends with {core.sequence}: it was cut off, or an older copy was put back"
        return [*found, f"{short}; nothing more is settled before it is salvaged"]
    if do:
        core.must_write()
    for part in (_layers, _trash, _derived, reconcile, _asides, _genesis, _checkpoints, _leases):
        found += part(core, do)
    if do and found[told:]:
        event = {"type": "StoreMended", "tool": "recover", "did": found[told:]}
        core.ledger.commit(lambda rows: [event], envelope=core.terms.envelope)
    return found


def later_than_the_journal(core: Core) -> int:
    """The newest commit that a trash entry names, when the journal does not come so far; else 0."""
    last = max((int(number) for one in core.driver.trash() if (number := one.partition("-")[0]).isdigit() and len(number) < 19), default=0)
    return last if last > core.sequence else 0


def _layers(core: Core, do: bool) -> Iterator[str]:
    """What is staged, superseded, deleted and still in place; or named by a dead lease."""
    dead = {one for one in core.leases.dead() if not one.startswith(".")}
    if not do:
        driver = core.driver
        yield from (f"layer {one}: to be settled" for one in sorted({*driver.staged(), *driver.superseded(), *dead}))
        return
    for layer_id in sorted(half_done(core) | dead):
        if steps := settle(core, layer_id):
            yield f"layer {layer_id}: {in_words(steps)}"


def _trash(core: Core, do: bool) -> Iterator[str]:
    """Names that are none of ours go to lost+found; a restore that cannot be kept is promised no more."""
    with core.reading() as rows:
        claimed = {trash.entry_name(row["sequence"], row["id"]) for row in trash.every(rows) if row["kind"] == "layer"}
    for entry in core.driver.trash():
        if entry in claimed or was_thrown(core, entry):
            continue
        if do:
            core.driver.lose_other("trash", entry)
        yield f"trash/{entry}: no deletion claims it; to lost+found"
    for row in list(missing_trash(core)):
        entry = trash.entry_name(row["sequence"], row["id"])
        if do:
            core.ledger.commit(lambda rows, entry=entry: not_kept(rows, entry), envelope=core.terms.envelope)  # type: ignore[misc]
        yield f"layer {row['id']}: its contents are gone from the trash; it cannot be restored any more"


def _derived(core: Core, do: bool) -> Iterator[str]:
    """overlay's links and short names, from the records."""
    with core.reading() as rows:
        chains = chains_of(rows, [row["id"] for row in every(rows.own, "layer")])
    for layer_id, chain in chains.items():
        if not core.driver.exists(layer_id):
            continue
        with suppress(DriverError):  # check names what cannot be read
            wrong = core.driver.derive(layer_id, chain) if do else core.driver.underived(layer_id, chain)
            if wrong:
                yield f"layer {layer_id}: {', '.join(wrong)} written from the records"


def _genesis(core: Core, do: bool) -> Iterator[str]:
    """The copy of the journal's first bytes."""
    journal = Journal.open(core.ledger.folder, read_only=True)
    try:
        first = next(iter(journal.frames(journal.start())), None)
        if first is None or first.sequence != 1:
            return
        whole = os.pread(journal.read_fd(1), first.end, 0)
    finally:
        journal.close()
    path = os.path.join(core.ledger.folder, GENESIS)
    try:
        with disk.reading(path) as file:
            copy = file.read()
    except OSError:
        copy = b""
    if copy != whole and len(whole) > SEGMENT_HEADER_BYTES:
        if do:
            with core.ledger.exclusively():
                disk.write_beside(path, whole, durable=True)
        yield "genesis: copied again from the journal"


def _asides(core: Core, do: bool) -> Iterator[str]:
    """A copy of the genesis that somebody was writing when he died. All are written under the writer lock, which is taken for it."""
    with core.ledger.exclusively() if do else nullcontext():
        for name in sorted(os.listdir(core.ledger.folder)):
            if name.startswith(f"{GENESIS}.") and name.endswith(".new"):
                if do:
                    disk.unlink(os.path.join(core.ledger.folder, name))
                yield f"{name}: half written; removed"


def _checkpoints(core: Core, do: bool) -> Iterator[str]:
    """Runs that hold something else than a replay gives."""
    from layerlog.verify_checkpoints import checkpoints

    journal = Journal.open(core.ledger.folder, read_only=True)
    try:
        wrong = [finding.id for finding in checkpoints(journal)]
    finally:
        journal.close()
    for name in wrong:
        path = os.path.join(core.ledger.folder, "checkpoints", os.path.basename(name.removeprefix("checkpoint ")))
        if do:
            disk.unlink(path)
        yield f"{name}: dropped, it is made again"


def _leases(core: Core, do: bool) -> Iterator[str]:
    """Dead leases that name no layer, and blobs that their holders left."""
    dead = [one for one in core.leases.dead() if one.startswith(".")]
    if not do:
        yield from (f"lease {one}: its holder is dead" for one in dead)
        return
    if collect_if_idle(core) is not None:
        core.driver.tidy()
        for one in dead:
            _clear(core, one)
            yield f"lease {one}: its holder is dead; cleared"
