"""Wipe: one event, whatever the size of the store; then the effects, layer by layer."""

from __future__ import annotations

from layerlog import change
from layerlog.decide import containers
from layerlog.eventstore.errors import InUse
from layerlog.projections.items import get
from layerlog.projections.trash import entry_name
from layerlog.recovery import SWEEP_LEASE, sweeping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.rows import Rows


def wipe(core: Core) -> None:
    """Delete everything. Raises InUse, naming the holder, when somebody works on something; then nothing is deleted.

    Only one lease is held, since a lease for each of 100,000 layers would need as many open files; if it is
    found dead, recovery looks at everything that was deleted.
    """
    from layerlog.left_behind import leaving_behind

    core.must_write()
    kept = core.retention_seconds > 0
    _ = core.driver  # must open before anything is committed that it is to carry out
    with sweeping(core, "wipe"):
        for holder_id, note in core.leases.holders().items():
            if holder_id != SWEEP_LEASE:
                raise InUse(id=holder_id, holder=note)
        wiped: list[str] = []

        def decide(rows: Rows) -> list[Any]:
            events, wiped[:] = containers.wipe(rows, kept)
            return events

        committed = change.commit(core, decide, "wipe", reserve=True)
        for layer_id in wiped:
            entry = entry_name(committed.sequence, layer_id)
            with leaving_behind(core, layer_id), core.lease(layer_id, "wipe", wait=True):
                with core.reading() as rows:
                    came_back = get(rows.own, "layer", layer_id) is not None  # who did that saw to what was there
                if not came_back:
                    change.put_aside(core, layer_id, entry, kept)
