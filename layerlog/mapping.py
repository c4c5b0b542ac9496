"""Layers with ID maps: made with their owners, and copied under other maps (contract/semantics.md §6).

Which maps and which layer is decided in ``decide/mapping.py``, chowning and idmapped mounts are the driver's
(``drivers/idmaps.py``, ``drivers/shifting.py``).
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

from layerlog import change
from layerlog.contents import Filled
from layerlog.decide import layers as decide_layers
from layerlog.decide import mapping as decide
from layerlog.decide.common import need
from layerlog.decide.lending import lowers
from layerlog.decide.mapping import Asked
from layerlog.drivers.idmaps import IDMaps, Remap, maps_of
from layerlog.eventstore.errors import ImageUnknown, LayerUnknown
from layerlog.eventstore.ids import new_id
from layerlog.projections.items import get
from layerlog.records import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.core import Core
    from layerlog.drivers.driver import Maps
    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row


def can_shift(core: Core) -> bool:
    """Whether containers' maps are the business of their mounts alone."""
    return core.driver.can_shift()


def layer_maps(core: Core, over: Row | None, asked: Asked) -> dict[str, Any]:
    """Maps that a new layer on *over* is stored with: none where mounts can show it under any."""
    if asked and not any(decide.maps(over).values()) and can_shift(core):
        return {field: [] for field in decide.FIELDS}
    return asked.over(over)


def create_layer(core: Core, layer_id: str, parent: str, names: list[str], asked: Asked, fields: dict[str, Any]) -> Layer:
    """See ``Store.create_layer``: an empty layer with maps of its own."""
    retried = core.retried()
    with core.reading() as rows:
        if not retried:
            decide_layers.create(rows, layer_id, parent, names)
        over = decide_layers.parent_of_new(rows, parent)
    maps = layer_maps(core, over, asked)
    what = f"create-layer {parent} {names} {maps}"

    def created(rows: Rows) -> list[Any]:
        return decide_layers.create(rows, layer_id, parent, names, inherit=False, **maps, **fields)

    with with_owners(core, layer_id, over, maps, "create-layer") if not retried else nullcontext():
        committed = change.commit(core, created, what)
    return Layer(change.outcome(core, committed, "layer", committed.events[0]["id"]))


@contextmanager
def with_owners(core: Core, layer_id: str, over: Row | None, maps: dict[str, Any], doing: str) -> Iterator[None]:
    """The folders of an empty layer under its own maps, in place before the commit inside; its parent's maps need none."""
    if decide.maps(over) == maps:
        yield
        return
    with Filled(core, layer_id, over["id"] if over else "", doing, maps=maps) as filled:
        filled.place()
        yield


def base_of_container(core: Core, image: str, asked: Asked) -> str:
    """The layer that a container of *image* stands on: the top layer, or its copy under the maps asked for, made if need be."""
    with core.reading() as rows:
        row = need(rows, "image", image)
        shifting = bool(asked) and can_shift(core)
        top, fits = decide.top_for(rows, row, asked, shifting)
    home = core.image_core
    if fits or home.own_row("image", row["id"]) is None:
        return top
    return copied_top(home, row["id"], top, asked)


def copied_top(core: Core, image_id: str, top_id: str, asked: Asked) -> str:
    """Make the copy of an image's top layer under the maps asked for; its ID. It and the image's note of it are durable on return.

    Raises UnmappedID, ImageUnknown, LayerUnknown.
    """
    wanted = asked.over(None)
    with core.reading() as rows:
        top, image = get(rows, "layer", top_id), get(rows.own, "image", image_id)
        if top is None or image is None:
            raise LayerUnknown(asked=top_id) if top is None else ImageUnknown(asked=image_id)
        below = lowers(rows, top_id)
    copy_id = new_id()
    with core.lease(top_id, "map layer", shared=True, wait=True), Filled(core, copy_id, "", "map layer", chain=below) as filled:
        contents = top.get("contents")
        filled.copy_shifted(top_id, Remap(maps_of(top), maps_of(wanted)))
        filled.place()
        change.commit(core.plainly(), lambda rows: decide.copy_of_top(rows, image_id, copy_id, top, wanted, contents))
    return copy_id


def inside(core: Core, layer_id: str) -> IDMaps:
    """Maps that tell who the owners in a layer's files stand for."""
    with core.reading() as rows:
        row = get(rows, "layer", layer_id)
        return maps_of(decide.owner_maps(rows, row)) if row is not None else IDMaps()


def compared(core: Core, layer_id: str, against: list[str] | None) -> Maps | None:
    """Maps of a layer and of its parent, or of what it is compared with; None where neither has any."""
    mine = inside(core, layer_id)
    with core.reading() as rows:
        other = against[0] if against else (get(rows, "layer", layer_id) or {}).get("parent", "")
    theirs = inside(core, other) if other else IDMaps()
    return (mine, theirs) if mine or theirs else None


__all__ = ["Asked", "base_of_container", "compared", "copied_top", "create_layer", "inside", "layer_maps", "with_owners"]
