"""What nothing offers any more is given up, at the size of the damage: things go to the trash, contents to nowhere else.

A data item that cannot be read loses its entry, not its image. A layer takes what stands on it: containers, images,
children; images go as records, so that layers which are whole stay. A container whose image has no record loses that
word, not its files. On vfs a layer whose parent has no record stands alone, since its folder is its whole tree.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from layerlog import change
from layerlog.decide import layers as decide_layers
from layerlog.decide.common import event
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every, get
from layerlog.repairing import Repair, Step

if TYPE_CHECKING:
    from layerlog.core import Core
    from layerlog.eventstore.rows import Rows

_LAYER_FIELDS = ("names", "metadata", "mount_label", "flags", "uid_map", "gid_map", "big_data")
_CONTAINER_FIELDS = ("id", "layer", "names", "metadata", "big_data", "uid_map", "gid_map", "flags")


def give_up(core: Core, found: Repair) -> None:
    """Turn what is ``left`` of a plan into steps that leave a clean store."""
    found.left.clear()
    for kind, item_id, key in found.left_items:
        words = f"{kind} {item_id}: data item {key} given up"
        found.steps.append(Step(words, partial(_forget_item, core, kind, item_id, key)))
    going = dict(found.left_layers)
    for layer_id in [one for one in going if (core.layer_row(one) or {}).get("contents", {}).get("unproven")]:
        del going[layer_id]
        found.steps.append(Step(f"layer {layer_id}: kept as it is, unproven", partial(_as_it_is, core, layer_id)))
    for kind, item_id, what in found.dangling:
        if kind == "container" and what.startswith("image "):
            words = f"container {item_id}: forgets its {what}, which has no record"
            found.steps.append(Step(words, partial(_without_image, core, item_id)))
        elif kind == "layer" and core.driver.stands_alone and item_id not in going:
            words = f"layer {item_id}: stands alone, since its {what} has no record"
            found.steps.append(Step(words, partial(_alone, core, item_id)))
        elif kind == "layer":
            going[item_id] = f"its {what} has no record"
        else:
            words = f"{kind} {item_id}: its {what} has no record; to the trash"
            found.steps.append(Step(words, partial(_delete, core, [(kind, item_id)])))
    if going:
        doomed = _standing_on(core, set(going))
        shown = ", ".join(f"{kind} {item_id}" for kind, item_id in doomed)
        why = "; ".join(f"layer {layer_id}: {reason}" for layer_id, reason in going.items())
        found.steps.append(Step(f"{why}; given up: to the trash go {shown}", partial(_delete, core, doomed)))


def _standing_on(core: Core, layers: set[str]) -> list[tuple[str, str]]:
    """Those layers with all that needs them, in an order in which they can be deleted."""
    with core.reading() as rows:
        doomed = [row["id"] for row in every(rows.own, "layer") if layers & {row["id"], *layer_rows.chain(rows, row["id"])}]
        boxes = [row["id"] for row in every(rows.own, "container") if row.get("layer") in doomed]
        images = [row["id"] for row in every(rows.own, "image") if {row.get("layer", ""), *row.get("mapped_layers", ())} & set(doomed)]
    above = [("layer", one) for one in reversed(doomed)]
    return [*(("container", one) for one in boxes), *(("image", one) for one in images), *above]


def _delete(core: Core, doomed: list[tuple[str, str]]) -> None:
    """One commit for all of them, restorable within retention."""
    kept = core.retention_seconds > 0

    def decide(rows: Rows) -> list[Any]:
        there = [(kind, item_id) for kind, item_id in doomed if get(rows, kind, item_id) is not None]
        return [decide_layers.deleted(kind, item_id, kept) for kind, item_id in there]

    change.remove(core, decide, "repair")


def _forget_item(core: Core, kind: str, item_id: str, key: str) -> None:
    def decide(rows: Rows) -> list[Any]:
        row = get(rows, kind, item_id)
        there = row is not None and key in row.get("big_data", {})
        return [{"type": "BigDataRemoved", "kind": kind, "id": item_id, "key": key}] if there else []

    change.commit(core, decide)


def _without_image(core: Core, container_id: str) -> None:
    """The same record without the image."""

    def decide(rows: Rows) -> list[Any]:
        row = get(rows, "container", container_id)
        if row is None:
            return []
        return [event("ContainerCreated", **{name: row[name] for name in _CONTAINER_FIELDS if name in row})]

    change.commit(core, decide)


def _as_it_is(core: Core, layer_id: str) -> None:
    """The same layer, its contents as they are: nothing is claimed of them any more."""
    _anew(core, layer_id, (*_LAYER_FIELDS, "parent"))


def _alone(core: Core, layer_id: str) -> None:
    """The same layer without a parent; its tree is not its diff any more, so its contents are as they are."""
    _anew(core, layer_id, _LAYER_FIELDS)


def _anew(core: Core, layer_id: str, fields: tuple[str, ...]) -> None:
    core.driver.sync_layer(layer_id)

    def decide(rows: Rows) -> list[Any]:
        row = get(rows, "layer", layer_id)
        if row is None:
            return []
        return [event("LayerCreated", id=layer_id, opened=True, **{name: row[name] for name in fields if name in row})]

    change.commit(core, decide)
