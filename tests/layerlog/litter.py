"""What a store must not leave lying about, found by looking at the disk and not by asking the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layerlog.eventstore.leases import ROOM
from layerlog.projections.trash import entry_name

if TYPE_CHECKING:
    from layerlog import Store


def left_behind(store: Store) -> list[str]:
    """Everything on disk that no record claims; for a store that nobody works on. Sorted, one line each."""
    layers = {one.id for one in store.layers()}
    kept = {entry_name(one.sequence, one.id) for one in store.trash() if one.kind == "layer"}
    claimed = set().union(*(_blobs_of(commit.events) for commit in store.history()))
    found = [f"staging/{name}" for name in store.driver.staged()]
    found += [f"layer {name}" for name in store.driver.list() if name not in layers]
    found += [f"trash/{name}" for name in store.driver.trash() if name not in kept]
    found += [f"lease {name}" for name in _names(store.folder("leases")) if name != ROOM]  # room kept for leases on a full disk
    found += [f"blob aside {name}" for name in _names(store.folder("blobs", "aside"))]
    found += [f"blob {digest}" for digest in store.blobs.digests() if digest not in claimed]
    found += [f"file {name}" for name in _names(store.folder()) if name.endswith(".new") or name.startswith(".")]
    return sorted(found)


def _blobs_of(events: list[dict[str, object]]) -> set[str]:
    """Digests that events mention, however deep."""
    found: set[str] = set()
    todo: list[object] = list(events)
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo += one.values()
            if isinstance(one.get("blob"), str):
                found.add(one["blob"])
        elif isinstance(one, list):
            todo += one
    return found


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []
