"""What stands in a layer's place and no record claims is moved out of the way, and never removed: it may be somebody's."""

from __future__ import annotations

from layerlog.decide.settling import LOSE
from layerlog.eventstore import disk
from layerlog.eventstore.errors import DriverError
from layerlog.projections import trash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.core import Core
    from layerlog.projections.items import Row

LOSING = LOSE
"""What the lease of a layer says that no record claims, while it is put aside: who dies over it leaves it where it is."""


def no_room_to_lose(error: BaseException) -> bool:
    """Whether a full disk refused ``lost+found/`` to a layer, which then stays where it is."""
    cause = error.__cause__
    losing = isinstance(error, DriverError) and error.data.get("operation") == "moving to lost+found"
    return losing and isinstance(cause, OSError) and cause.errno in disk.NO_ROOM


def lose_unclaimed(core: Core, layer_id: str) -> str:
    """Under its lease: move a layer that no record claims to lost+found; where it is now, or empty when there is none.

    What was deleted, and whoever did that has not come to it yet (a wipe holds one lease for all), goes to the trash instead.
    """
    if core.has_layer(layer_id) or not core.driver.exists(layer_id):
        return ""
    entry = still_to_put_aside(core, layer_id)
    if entry:
        core.forget_mount(layer_id)
        if core.driver.put_aside(layer_id, entry):
            return ""
    return core.driver.lose(layer_id)


def newest_trash(core: Core, layer_id: str) -> Row | None:
    """The trash row of the last deletion of a layer, while it is there."""
    with core.reading() as rows:
        seen = trash.last_seen(rows, "layer", layer_id)
        return trash.get(rows, "layer", seen["sequence"], layer_id) if seen and seen["id"] == layer_id else None


def still_to_put_aside(core: Core, layer_id: str) -> str:
    """The trash entry of a layer whose last deletion promised a restore and has not come to its contents yet; else empty."""
    row = newest_trash(core, layer_id)
    if row is None or not row["kept"] or {"contents", "opened"}.isdisjoint(row["row"]):
        return ""
    entry = trash.entry_name(row["sequence"], layer_id)
    return "" if core.driver.in_trash(entry) else entry
