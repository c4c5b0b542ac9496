"""Decisions about images."""

from __future__ import annotations

from layerlog.decide.common import event, names_free, need, need_own, not_pinned
from layerlog.decide.layers import Events, deleted, unused_from
from layerlog.decide.lending import loan
from layerlog.decide.names import copied_up, set_big_data, set_names
from layerlog.eventstore.errors import DuplicateID, DuplicateImageID, ImageUsedByContainer, LayerUnknown
from layerlog.projections import images, layers
from layerlog.projections.items import Row, get, holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container as In
    from typing import Any

    from layerlog.eventstore.rows import Rows


def create(rows: Rows, image_id: str, layer: str = "", names: list[str] | None = None, **fields: Any) -> Events:
    """A new image on an existing layer, or on none. Under the ID of another store's image it starts as a copy of that."""
    top = need(rows, "layer", layer)["id"] if layer else ""
    if get(rows.own, "image", image_id) is not None:
        raise DuplicateImageID(kind="image", id=image_id)
    names_free(rows, "image", names or [])
    lent = get(rows, "image", image_id)
    if lent is not None:
        return _over(rows, lent, top, names or [], fields)
    return [event("ImageCreated", id=image_id, layer=top, names=names, **fields)]


def _over(rows: Rows, lent: Row, top: str, names: list[str], fields: dict[str, Any]) -> Events:
    """A copy of another store's image with what was asked for on top; its names come along, as far as they are free here."""
    given = {"layer": top, **{field: value for field, value in fields.items() if value}}
    given["big_data"] = {**lent.get("big_data", {}), **given.get("big_data", {})}
    kept = [name for name in lent.get("names", []) if holder(rows.own, "image", name) is None]
    made = {**copied_up(lent, []), **{field: value for field, value in given.items() if value}}
    return [made, *set_names(rows, "image", lent["id"], [*kept, *names])]


def loaded(rows: Rows, image_id: str, made: list[Any], layer: str, names: list[str], **fields: Any) -> Events:
    """An image whose layers are in place: the new ones (*made*, base first), the image unless it is there, its names.

    Names move to it from their holders, as in podman and docker. An image that is there already, and came by another
    manifest, gets that manifest as well, so that it is found by both digests (as skopeo does).
    """
    events: Events = []
    for one in made:
        if get(rows, "layer", one["id"]) is not None:
            raise DuplicateID(kind="layer", id=one["id"])
        events.append(event("LayerCreated", loan=loan(get(rows, "layer", one["parent"]) if one["parent"] else None), **one))
    coming = {one["id"] for one in made}
    for needed in (layer, *(one["parent"] for one in made)):
        if needed and needed not in coming and get(rows, "layer", needed) is None:
            raise LayerUnknown(asked=needed)
    present = get(rows.own, "image", image_id)
    if present is None:
        events.append(event("ImageCreated", id=image_id, layer=layer, **fields))
    else:
        for item, ref in fields.get("big_data", {}).items():
            events += set_big_data(rows, "image", image_id, item, ref["blob"], ref["size"])
    held = (present or {}).get("names", [])
    wanted = list(dict.fromkeys([*names, *held]))
    return events + (set_names(rows, "image", image_id, wanted) if wanted != held else [])


def delete(rows: Rows, asked: str, kept: bool, busy: In[str] = ()) -> Events:
    """Delete an image, its mapped copies and every layer that only it needed (contract/cli.md §6)."""
    row = need_own(rows, "image", asked)
    image_id = row["id"]
    not_pinned("image", row)
    if users := images.containers_of(rows.domain, image_id):
        raise ImageUsedByContainer(id=image_id, holder_id=layers.last(rows.domain, "container", users))
    gone: list[str] = []
    for copy in row.get("mapped_layers", ()):
        gone += unused_from(rows, copy, image_id, busy)[:1]
    gone += unused_from(rows, row.get("layer"), image_id, busy, ignoring=gone)
    return [deleted("image", image_id, kept), *(deleted("layer", layer_id, kept) for layer_id in gone)]
