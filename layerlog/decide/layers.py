"""Decisions about layers."""

from __future__ import annotations

from layerlog.decide.common import event, lookup, names_free, need_own, not_pinned
from layerlog.decide.lending import loan
from layerlog.decide.names import set_names
from layerlog.eventstore.errors import (
    DuplicateID,
    LayerHasChildren,
    LayerUnknown,
    LayerUsedByContainer,
    LayerUsedByImage,
    ParentIsContainer,
    ParentUnknown,
)
from layerlog.projections import layers
from layerlog.projections.items import Row, get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container as In
    from collections.abc import Iterable
    from typing import Any

    from layerlog.eventstore.rows import Rows

Events = list["Any"]


def parent_of_new(rows: Rows, parent: str) -> Row | None:
    """The row of a would-be parent; None for no parent."""
    if not parent:
        return None
    row = lookup(rows, "layer", parent)
    if row is None:
        raise ParentUnknown(asked=parent)
    owner = layers.container_of(rows, row["id"])
    if owner is not None:
        raise ParentIsContainer(id=row["id"], holder_id=owner)
    return row


def create(rows: Rows, layer_id: str, parent: str = "", names: list[str] | None = None, *, inherit: bool = True, **fields: Any) -> Events:
    """A new layer; with *inherit* its ID maps are those of the parent unless given (contract/cli.md §4).

    An ID that a layer of another store has is taken, too: chains over there would silently stand on ours.
    """
    over = parent_of_new(rows, parent)
    if get(rows, "layer", layer_id) is not None:
        raise DuplicateID(kind="layer", id=layer_id)
    names_free(rows, "layer", names or [])
    if over is not None and inherit:
        for field in ("uid_map", "gid_map"):
            fields[field] = fields.get(field) or over.get(field)
    return [event("LayerCreated", id=layer_id, parent=over["id"] if over else "", names=names, loan=loan(over), **fields)]


def apply_diff(rows: Rows, layer_id: str, generation: int, contents: Any, in_place: bool) -> Events:
    """New contents for a layer whose generation is still the one they were made for."""
    row = get(rows.own, "layer", layer_id)
    if row is None or row["generation"] != generation:
        raise LayerUnknown(asked=layer_id)
    return [event("LayerDiffApplied", id=layer_id, contents=contents, in_place=in_place)]


def captured(rows: Rows, layer_id: str, made: list[Any], names: list[str], key: str) -> Events:
    """A snapshot's layer: new (*made*) or an equal one that is here; its names and its ``layer_for`` key."""
    events: Events = []
    for one in made:
        events += create(rows, one["id"], one["parent"], contents=one["contents"])
    row = get(rows if not names and not key else rows.own, "layer", layer_id)
    if row is None and not made:
        raise LayerUnknown(asked=layer_id)
    held = (row or {}).get("names", [])
    wanted = list(dict.fromkeys([*names, *held]))
    if wanted != held:
        events += set_names(rows, "layer", layer_id, wanted)
    if key and key not in (row or {}).get("keys", ()):
        events.append({"type": "LayerKeyed", "id": layer_id, "key": key})
    return events


def delete(rows: Rows, asked: str, kept: bool) -> Events:
    """Delete one layer that nothing uses; a mapped copy is dropped from its image instead of refused."""
    row, rows = need_own(rows, "layer", asked), rows.domain
    layer_id = row["id"]
    not_pinned("layer", row)
    if children := layers.children(rows, layer_id):
        raise LayerHasChildren(id=layer_id, holder_id=layers.first(rows, "layer", children))
    tops = {image_id: get(rows, "image", image_id) or {} for image_id in layers.image_tops(rows, layer_id)}
    if holders := [image_id for image_id, image in tops.items() if image.get("layer") == layer_id]:
        raise LayerUsedByImage(id=layer_id, holder_id=layers.first(rows, "image", holders))
    events: Events = []
    for image_id, image in tops.items():
        rest = [copy for copy in image.get("mapped_layers", ()) if copy != layer_id]
        events.append({"type": "ImageMappedLayersSet", "id": image_id, "mapped_layers": rest})
    owner = layers.container_of(rows, layer_id)
    if owner is not None:
        raise LayerUsedByContainer(id=layer_id, holder_id=owner)
    return [*events, deleted("layer", layer_id, kept)]


def deleted(kind: str, item_id: str, kept: bool) -> Any:
    """The event that deletes one thing."""
    return {"type": f"{kind.capitalize()}Deleted", "id": item_id, "kept": kept}


def unused_from(rows: Rows, top: str | None, image_id: str, busy: In[str], ignoring: Iterable[str] = ()) -> list[str]:
    """*top* and its ancestors down to the first that something besides *image_id* needs.

    Stops at a layer that another image tops, that has another child (*ignoring* go as well), that a
    container uses, that is pinned, or that is in *busy* (somebody's lease): contract/cli.md §6, delete-image.
    """
    found: list[str] = []
    going = set(ignoring)
    rows = rows.domain
    while top and top not in going:
        row = get(rows.own, "layer", top)
        if row is None or top in busy or row.get("pins") or layers.container_of(rows, top) is not None:
            break
        if set(layers.children(rows, top)) - going or set(layers.image_tops(rows, top)) - {image_id}:
            break
        found.append(top)
        going.add(top)
        top = row.get("parent")
    return found
