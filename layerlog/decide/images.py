"""Decisions about images."""

from __future__ import annotations

from layerlog.decide.common import event, names_free, need, not_pinned
from layerlog.decide.layers import Events, deleted, unused_from
from layerlog.decide.names import set_big_data, set_names
from layerlog.eventstore.errors import DuplicateID, DuplicateImageID, ImageUsedByContainer, LayerUnknown
from layerlog.projections import images
from layerlog.projections.items import get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container as In
    from typing import Any

    from layerlog.eventstore.rows import Rows


def create(rows: Rows, image_id: str, layer: str = "", names: list[str] | None = None, **fields: Any) -> Events:
    """A new image on an existing layer, or on none."""
    top = need(rows, "layer", layer)["id"] if layer else ""
    if get(rows, "image", image_id) is not None:
        raise DuplicateImageID(kind="image", id=image_id)
    names_free(rows, "image", names or [])
    return [event("ImageCreated", id=image_id, layer=top, names=names, **fields)]


def loaded(rows: Rows, image_id: str, made: list[Any], layer: str, names: list[str], **fields: Any) -> Events:
    """An image whose layers are in place: the new ones (*made*, base first), the image unless it is there, its names.

    Names move to it from their holders, as in podman and docker. An image that is there already, and came by another
    manifest, gets that manifest as well, so that it is found by both digests (as skopeo does).
    """
    events: Events = []
    for one in made:
        if get(rows, "layer", one["id"]) is not None:
            raise DuplicateID(kind="layer", id=one["id"])
        events.append(event("LayerCreated", **one))
    coming = {one["id"] for one in made}
    for needed in (layer, *(one["parent"] for one in made)):
        if needed and needed not in coming and get(rows, "layer", needed) is None:
            raise LayerUnknown(asked=needed)
    present = get(rows, "image", image_id)
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
    row = need(rows, "image", asked)
    image_id = row["id"]
    not_pinned("image", row)
    for container_id in images.containers_of(rows, image_id):
        raise ImageUsedByContainer(id=image_id, holder_id=container_id)
    gone: list[str] = []
    for copy in row.get("mapped_layers", ()):
        gone += unused_from(rows, copy, image_id, busy)[:1]
    gone += unused_from(rows, row.get("layer"), image_id, busy, ignoring=gone)
    return [deleted("image", image_id, kept), *(deleted("layer", layer_id, kept) for layer_id in gone)]
