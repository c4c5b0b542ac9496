"""Litter: files of a store that no record claims, and that nobody is working on.

Each is looked at twice, since others may be at work: it must be there, unleased, and unclaimed, in this order; who
creates holds the lease until the record is there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layerlog.blob_keeping import SHARED_LEASE, unclaimed
from layerlog.decide.lending import chains_of
from layerlog.eventstore.blobs import ASIDE
from layerlog.findings import COSMETIC, METADATA, MISSING, Finding
from layerlog.projections import mounts, trash
from layerlog.projections.items import every, get
from layerlog.run_roots import counted_elsewhere, counted_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.projections.items import Row

SETTLE = "layerlog gc"
RECOVER = "layerlog recover"


def litter(core: Core) -> Iterator[Finding]:
    """Driver folders, staged contents, trash entries, blobs, leases and mounts that nothing claims."""
    yield from _driver_folders(core)
    yield from _staged(core)
    yield from _trash(core)
    yield from _blobs(core)
    yield from _leases(core)
    yield from _mounts(core)
    yield from _derived(core)


def _driver_folders(core: Core) -> Iterator[Finding]:
    for layer_id in core.driver.list():
        if not _claimed(core, layer_id) and core.driver.exists(layer_id):
            message = f"layer {layer_id}: layer in lower level storage driver not accounted for"
            yield Finding(COSMETIC, "layer", layer_id, message, f"{core.driver.path(layer_id)} has no record", SETTLE)


def _claimed(core: Core, layer_id: str) -> bool:
    """A lease first, then a record: a creator lets go only when its record is there."""
    return core.leases.holder(layer_id) is not None or core.has_layer(layer_id)


def _staged(core: Core) -> Iterator[Finding]:
    folder = os.path.join(core.driver.home, "staging")
    for name in _names(folder):
        layer_id = name.removeprefix(".superseded.")
        if core.leases.holder(layer_id) is None and os.path.lexists(os.path.join(folder, name)):
            message = f"store staging/{name}: staged contents that nobody works on"
            yield Finding(COSMETIC, "store", f"staging/{name}", message, f"{folder}/{name}: its lease is free", RECOVER)


def _trash(core: Core) -> Iterator[Finding]:
    """Entries that no deletion claims, and contents that a deletion promised to keep and that are gone."""
    for entry in core.driver.trash():
        sequence, layer_id = _parts(entry)
        if layer_id and core.leases.holder(layer_id) is not None:
            continue
        with core.reading() as rows:
            row = trash.get(rows, "layer", sequence, layer_id)
        if (row is None or not row["kept"]) and core.driver.in_trash(entry):
            message = f"store trash/{entry}: trash that no deletion claims"
            yield Finding(COSMETIC, "store", f"trash/{entry}", message, f"{core.driver.home}/trash/{entry} has no record", RECOVER)
    for row in missing_trash(core):
        entry = trash.entry_name(row["sequence"], row["id"])
        message = f"store trash/{entry}: kept for a restore, and gone"
        yield Finding(METADATA, "store", f"trash/{entry}", message, f"{core.driver.home}/trash/{entry} is missing", RECOVER)


def missing_trash(core: Core) -> Iterator[Row]:
    """Trash rows of layers that promise contents which are not in the trash."""
    with core.reading() as rows:
        kept = [row for row in trash.every(rows) if row["kept"] and row["kind"] == "layer"]
    for row in kept:
        entry = trash.entry_name(row["sequence"], row["id"])
        held = "contents" in row["row"] or "opened" in row["row"]
        if not held or core.driver.in_trash(entry) or core.leases.holder(row["id"]) is not None:
            continue
        with core.reading() as rows:
            late = trash.get(rows, "layer", row["sequence"], row["id"])
        if late is not None and late["kept"]:
            yield row


def _parts(entry: str) -> tuple[int, str]:
    """Sequence and ID of a trash entry; 0 and nothing for a name that is none of ours."""
    number, _, layer_id = entry.partition("-")
    return (int(number), layer_id) if number.isascii() and number.isdigit() and len(number) < 19 else (0, "")


def _blobs(core: Core) -> Iterator[Finding]:
    """What nothing refers to, and what a writer left half written."""
    if core.leases.holder(SHARED_LEASE) is not None:
        return  # somebody is putting blobs: what they wrote is referred to when they are done
    for digest in sorted(unclaimed(core)):
        if core.leases.holder(SHARED_LEASE) is None and core.blobs.has(digest):
            message = f"store {digest}: big data that nothing refers to"
            proof = f"{core.blobs.path(digest)} has no reference, nor had one within retention"
            yield Finding(COSMETIC, "store", digest, message, proof, SETTLE)
    for name in _names(os.path.join(core.blobs.folder, ASIDE)):
        message = f"store blobs/{ASIDE}/{name}: half-written big data"
        yield Finding(COSMETIC, "store", f"blobs/{ASIDE}/{name}", message, "its writer is gone", SETTLE)


def _leases(core: Core) -> Iterator[Finding]:
    for name in core.leases.dead():
        message = f"store leases/{name}: the lease of a process that died"
        yield Finding(COSMETIC, "store", f"leases/{name}", message, "its lock is free; opening the store settles it", RECOVER)


def _mounts(core: Core) -> Iterator[Finding]:
    """What is mounted must be counted. (A count without a mount is the next boot's business, or vfs.)"""
    counted = {row["id"]: row["path"] for row in counted_here(core)}
    elsewhere = {row["id"] for row in counted_elsewhere(core)}
    for layer_id in core.driver.list():
        if layer_id not in counted and layer_id not in elsewhere and core.driver.mounted(layer_id):
            with core.mount_rows() as rows:
                late = mounts.get(rows, layer_id)
            if late is None:
                message = f"layer {layer_id}: mounted, but nobody counts it"
                proof = f"the kernel shows a mount in {core.driver.path(layer_id)}; the run journal has none"
                yield Finding(METADATA, "layer", layer_id, message, proof, f"layerlog unmount --force {layer_id}")
    for layer_id, path in counted.items():
        with core.reading() as rows:
            row = get(rows, "layer", layer_id)
        if row is not None and not os.path.isdir(path):
            message = f"layer {layer_id}: its mount point is missing"
            yield Finding(MISSING, "layer", layer_id, message, f"{path} is no folder", f"layerlog unmount --force {layer_id}")


def _derived(core: Core) -> Iterator[Finding]:
    """overlay's links and lists of ancestors: nobody here believes them, but other tools and a rescue read them."""
    with core.reading() as rows:
        real = [row["id"] for row in every(rows.own, "layer") if "contents" in row or "opened" in row]  # others are derived altogether
        chains = chains_of(rows, real)
    for layer_id, below in chains.items():
        if not core.driver.exists(layer_id) or core.leases.holder(layer_id) is not None:
            continue
        wrong = core.driver.underived(layer_id, below)
        if wrong and core.leases.holder(layer_id) is None and core.layer_row(layer_id) is not None and core.driver.exists(layer_id):
            message = f"layer {layer_id}: {', '.join(wrong)}: not what its record says"
            yield Finding(COSMETIC, "layer", layer_id, message, f"in {core.driver.path(layer_id)}", RECOVER)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
