"""What is recorded as mounted beside what the kernel has; and the one set right by the other.

The run journal counts, the kernel mounts, and both can be wrong about the other: somebody unmounts behind the store's
back, a program is killed in between, a mount lives in a namespace that this process does not see. A boot that nobody
noticed voids the journal by itself (``eventstore/volatile.py``).
"""

from __future__ import annotations

import os

from layerlog import run_state
from layerlog.drivers import mounts as kernel
from layerlog.eventstore.errors import DriverError, InUse
from layerlog.projections.items import get
from layerlog.run_roots import counted_elsewhere, counted_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.projections.items import Row

OK, VANISHED, UNCOUNTED, ELSEWHERE, STRANGE = "ok", "vanished", "uncounted", "elsewhere", "strange"


class MountState:
    """One mount, recorded or real or both.

    ``state``: ok; vanished (counted, and the kernel has none); uncounted (mounted, and nobody counts it); elsewhere (in a
    mount namespace that some process still has and this one does not see, or counted by another run root); strange (below the
    store, of no layer).
    """

    __slots__ = ("count", "id", "name", "path", "state")

    def __init__(self, layer_id: str, name: str, path: str, count: int, state: str) -> None:
        self.id, self.name, self.path, self.count, self.state = layer_id, name, path, count, state


def mount_states(core: Core) -> list[MountState]:
    """Everything that is counted or mounted, by layer; then what is mounted below the store and belongs to no layer."""
    counted = {row["id"]: row for row in counted_here(core)}
    found = [MountState(layer_id, _name(core, layer_id), row["path"], row["count"], _state(core, row)) for layer_id, row in counted.items()]
    for row in counted_elsewhere(core):
        if row["id"] not in counted and _state(core, row) != VANISHED:
            counted[row["id"]] = row
            found.append(MountState(row["id"], _name(core, row["id"]), row["path"], row["count"], ELSEWHERE))
    known = {one.path for one in found}
    for layer_id in core.driver.list():
        if layer_id not in counted and core.driver.mounted(layer_id) and core.leases.holder(layer_id) is None:
            path = os.path.join(core.driver.path(layer_id), "merged")
            found.append(MountState(layer_id, _name(core, layer_id), path, 0, UNCOUNTED))
            known.add(path)
    home = os.path.realpath(core.driver.home)
    strange = [point for point in kernel.below(home) if point != home and point not in {os.path.realpath(one) for one in known}]
    return [*found, *(MountState("", "", point, 0, STRANGE) for point in strange)]


def _name(core: Core, layer_id: str) -> str:
    """What people call it: the container's name, or the layer's."""
    with core.reading() as rows:
        row = get(rows, "layer", layer_id) or {}
        owner = rows.get(b"of-layer\0" + layer_id.encode("utf-8", "surrogateescape"))
        box = get(rows, "container", owner) if owner else None
    names = (box or row).get("names", [])
    return str(names[0]) if names else ""


def _state(core: Core, row: Row) -> str:
    """How a counted mount stands with the kernel."""
    layer_id = row["id"]
    if row["path"] == core.driver.path(layer_id):  # vfs, btrfs: the folder itself
        return OK if os.path.isdir(row["path"]) else VANISHED
    if core.driver.mounted(layer_id):
        return OK
    namespace = row.get("namespace", 0)
    return ELSEWHERE if namespace and namespace != run_state.namespace() and _lives(namespace) else VANISHED


def _lives(namespace: int) -> bool:
    """Whether some process that may be looked at is in that mount namespace."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}/ns/mnt").st_ino == namespace:
                    return True
            except OSError:
                continue
    return False


def stale(core: Core, row: Row | None) -> bool:
    """Whether a count stands for a mount that is gone."""
    return row is not None and row["path"] != core.driver.path(row["id"]) and _state(core, row) == VANISHED


def reconcile(core: Core, do: bool) -> Iterator[str]:
    """Counts without a mount become 0; mounts that nobody counts are unmounted; the rest is told. What was (or would be) done."""
    for one in mount_states(core):
        if one.state == VANISHED:
            if do:
                with run_state.mount_lock(core):
                    run_state.commit(core, [{"type": "Unmounted", "id": one.id, "count": 0}])
            yield f"layer {one.id}: counted {one.count} times and not mounted; the count is 0"
        elif one.state == UNCOUNTED:
            try:
                if do:
                    with core.lease(one.id, "recover"):
                        core.driver.unmount(one.id)
            except (InUse, DriverError) as refused:
                yield f"layer {one.id}: mounted, not counted, and stays: {refused}"
                continue
            yield f"layer {one.id}: mounted, and nobody counted it; unmounted"
