"""Decisions about containers."""

from __future__ import annotations

from layerlog.decide import layers
from layerlog.decide.common import KINDS, event, names_free, need, need_any_own, need_own, not_pinned
from layerlog.decide.layers import Events, deleted
from layerlog.eventstore.errors import DuplicateID, ItemUnknown, LayerUnknown
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every, get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows


def create(
    rows: Rows,
    container_id: str,
    layer_id: str,
    image: str = "",
    names: list[str] | None = None,
    label: str = "",
    top: str = "",
    layer_maps: dict[str, Any] | None = None,
    **fields: Any,
) -> Events:
    """A container and its layer, on *top*, on an image's top layer, or on nothing. *layer_maps*: ID maps of the layer alone."""
    base = need(rows, "image", image) if image else {}
    if get(rows, "container", container_id) is not None:
        raise DuplicateID(kind="container", id=container_id)
    names_free(rows, "container", names or [])
    maps = layer_maps if layer_maps is not None else {field: fields.get(field) for field in ("uid_map", "gid_map")}
    made = layers.create(rows, layer_id, top or base.get("layer", ""), mount_label=label, inherit=layer_maps is None, **maps)
    return [*made, event("ContainerCreated", id=container_id, layer=layer_id, image=base.get("id", ""), names=names, **fields)]


def delete(rows: Rows, asked: str, kept: bool) -> Events:
    """Delete a container and its layer."""
    row = need_own(rows, "container", asked)
    not_pinned("container", row)
    return [deleted("container", row["id"], kept), *_with_layer(rows, row["layer"], kept)]


def _with_layer(rows: Rows, layer_id: str, kept: bool) -> Events:
    row = get(rows.own, "layer", layer_id)
    if row is None:
        return []
    not_pinned("layer", row)
    return [deleted("layer", layer_id, kept)]


def delete_any(rows: Rows, asked: str, kept: bool) -> Events:
    """``delete``, without the safety checks: container with layer, else image record, else layer (contract/cli.md §6)."""
    try:
        kind, row = need_any_own(rows, asked, ("container", "image", "layer"))
    except ItemUnknown as unknown:
        raise LayerUnknown(asked=asked) from unknown
    if kind == "container":
        return delete(rows, row["id"], kept)
    not_pinned(kind, row)
    if kind == "layer":
        _needed_by_nothing_pinned(rows, row["id"])
    return [deleted(kind, row["id"], kept)]


def _needed_by_nothing_pinned(rows: Rows, layer_id: str) -> None:
    """Raise Pinned if a pinned layer, image or container stands on the layer."""
    above, rows = [layer_id], rows.domain
    while above:
        one = above.pop()
        owner = layer_rows.container_of(rows, one)
        users = [("layer", one), *(("image", image_id) for image_id in layer_rows.image_tops(rows, one))]
        for kind, item_id in [*users, *([("container", owner)] if owner else [])]:
            not_pinned(kind, get(rows, kind, item_id) or {})
        above += layer_rows.children(rows, one)


def wipe(rows: Rows, kept: bool) -> tuple[Events, list[str]]:
    """Delete everything: one event, and the IDs of the layers it takes. Raises Pinned if anything is pinned."""
    found: list[str] = []
    for kind in KINDS:
        for row in every(rows.own, kind):
            not_pinned(kind, row)
            if kind == "layer":
                found.append(row["id"])
    return [{"type": "StoreWiped", "kept": kept}], found
