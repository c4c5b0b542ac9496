"""Decisions that take a commit back: what its events did, turned around.

Each inverse is worked out from three states: the rows before the commit, the rows now, and the event. Where
somebody changed the same thing since, the inverse would destroy that change: it becomes a named conflict
instead of an event. Contents are never rolled back by an undo, only deletions and creations are.
"""

from __future__ import annotations

from layerlog.decide import images, layers
from layerlog.decide.common import not_pinned
from layerlog.decide.names import Events, set_names
from layerlog.decide.netting import PLANNED
from layerlog.decide.restoring import KINDS, restore_at
from layerlog.eventstore.errors import StoreError
from layerlog.projections import images as image_rows
from layerlog.projections import layers as layer_rows
from layerlog.projections import trash
from layerlog.projections.fold import ORDER_BITS
from layerlog.projections.items import Row, every, get, holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog.eventstore.rows import Rows


class UndoConflict(StoreError):
    """An undo would destroy what was done since. Data: ``sequence``, ``why``."""

    message = "commit {sequence} cannot be undone: {why}"
    hint = "undo the later change first, or change what stands in the way"


def inverse(before: Rows, now: Rows, event: Any, sequence: int, kept: bool, undid: Callable[[int], bool]) -> Events:
    """Events that undo one event of commit *sequence*. Raises UndoConflict, or what refuses the step.

    *undid* tells of a commit whether it was an undo, whose deletions are none that somebody wanted.
    """
    kind, _, verb = _split(event["type"])
    if verb in ("Created", "Restored") and kind in KINDS:
        if _younger(get(now.own, kind, event["id"]), sequence):
            return []
        return _delete(before, now, kind, event["id"], kept)
    if verb == "Deleted":
        if (there := get(now.own, kind, event["id"])) is not None:
            if _younger(there, sequence):
                raise UndoConflict(sequence=sequence, why=f"another {kind} has the ID {event['id'][:12]} now")
            return []
        thrown = trash.get(now, kind, sequence, event["id"])
        again = trash.last_seen(now, kind, event["id"]) if thrown is None else None
        if again is not None and again["sequence"] > sequence:
            raise UndoConflict(sequence=sequence, why=_came_back(kind, event["id"], again["sequence"]))
        if thrown is None or not thrown["kept"]:
            raise UndoConflict(sequence=sequence, why=f"{kind} {event['id'][:12]} was freed, and is gone for good")
        return restore_at(now, kind, sequence, event["id"], before)
    if event["type"] == "StoreWiped":
        return _unwiped(before, now, sequence, undid)
    handler = _INVERSE.get(event["type"])
    if handler is None:
        raise UndoConflict(sequence=sequence, why=f"{event['type']} has no way back")
    item_kind = event.get("kind", "layer" if event["type"].startswith("Layer") else "image")
    row = get(now.own, item_kind, event["id"]) if "id" in event else None
    if "id" in event and (row is None or _younger(row, sequence)):
        raise UndoConflict(sequence=sequence, why=f"{item_kind} {event['id'][:12]} is gone since")
    return handler(before, now, event, row or {}, sequence)


def _younger(row: Row | None, sequence: int) -> bool:
    """Whether a thing was made after commit *sequence*: then that commit was about another one, whose ID was given again."""
    return row is not None and row["order"] >> ORDER_BITS > sequence > PLANNED


def touched_by(event: Any) -> tuple[str, str]:
    """(kind, ID) of what an inverse's event is about."""
    return str(event.get("kind") or _split(event["type"])[0] or "layer"), event["id"]


def _unwiped(before: Rows, now: Rows, sequence: int, undid: Callable[[int], bool]) -> Events:
    """Everything that a wipe deleted comes back, layers base first: also what came back since, and was deleted by an undo.

    Raises UndoConflict, and what refuses one of them.
    """
    events: Events = []
    for kind in ("layer", "image", "container"):
        for row in every(before, kind):
            there = get(now.own, kind, row["id"])
            if there is not None and there["order"] == row["order"]:
                continue
            thrown = trash.of(now, kind, row["id"], row["order"])
            if thrown is None or not thrown["kept"]:
                raise UndoConflict(sequence=sequence, why=f"{kind} {row['id'][:12]} was freed, and is gone for good")
            if thrown["sequence"] != sequence and not undid(thrown["sequence"]):
                raise UndoConflict(sequence=sequence, why=_came_back(kind, row["id"], thrown["sequence"]))
            events.append(restore_at(now, kind, thrown["sequence"], row["id"], before)[-1])  # what it needs comes back by itself
    return events


def _came_back(kind: str, item_id: str, sequence: int) -> str:
    return f"{kind} {item_id[:12]} came back since, and was deleted by commit {sequence}"


def _split(type_: str) -> tuple[str, str, str]:
    """("layer", "", "Created") of LayerCreated."""
    for kind in KINDS:
        if type_.startswith(kind.capitalize()):
            return kind, "", type_[len(kind) :]
    return "", "", type_


def _delete(before: Rows, now: Rows, kind: str, item_id: str, kept: bool) -> Events:
    """Delete what the commit made; no more than that, and only if nothing needs it that did not dangle before it."""
    row = get(now.own, kind, item_id)
    if row is None:
        return []
    if (users := _users(now, kind, item_id)) and users <= _users(before, kind, item_id):
        not_pinned(kind, row)
        return [layers.deleted(kind, item_id, kept)]
    if kind == "layer":
        return layers.delete(now, item_id, kept)
    if kind == "image":
        return [event for event in images.delete(now, item_id, kept) if event["type"] == "ImageDeleted"]
    not_pinned("container", row)  # what its layer is pinned for concerns the layer alone
    return [layers.deleted("container", item_id, kept)]


def _users(rows: Rows, kind: str, item_id: str) -> set[tuple[str, str]]:
    """What names a layer or an image as something that it stands on, whether that is there or not."""
    if kind == "image":
        return {("container", one) for one in image_rows.containers_of(rows, item_id)}
    if kind != "layer":
        return set()
    owner = layer_rows.container_of(rows, item_id)
    found = {("container", owner)} if owner is not None else set()
    found |= {("layer", one) for one in layer_rows.children(rows, item_id)}
    return found | {("image", one) for one in layer_rows.image_tops(rows, item_id)}


def _names(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    """Names it gained go, names it lost come back, as far as nobody holds them now."""
    kind, item_id = event["kind"], event["id"]
    was = (get(before, kind, item_id) or {}).get("names", [])
    gained = [name for name in event["names"] if name not in was]
    lost = [name for name in was if name not in event["names"]]
    for name in lost:
        other = holder(now.own, kind, name)
        if other is not None and other != item_id:
            raise UndoConflict(sequence=sequence, why=f"the name {name!r} now belongs to {kind} {other[:12]}")
    held = row.get("names", [])
    if held == event["names"]:
        wanted = was
    else:
        wanted = [name for name in held if name not in gained] + [name for name in lost if name not in held]
    return [] if wanted == held else set_names(now, kind, item_id, wanted)


def _metadata(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    return _field(before, event, row, sequence, "metadata", "MetadataSet", "")


def _flags(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    return _field(before, event, row, sequence, "flags", "FlagsSet", {})


def _field(before: Rows, event: Any, row: Row, sequence: int, field: str, type_: str, empty: object) -> Events:
    was = (get(before, event["kind"], event["id"]) or {}).get(field, empty)
    if row.get(field, empty) == was:
        return []
    if row.get(field, empty) != event[field]:
        raise UndoConflict(sequence=sequence, why=f"the {field} of {event['kind']} {event['id'][:12]} changed again")
    return [{"type": type_, "kind": event["kind"], "id": event["id"], field: was}]


def _big_data(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    """The item as it was: an earlier blob, or none."""
    kind, item_id, item = event["kind"], event["id"], event["key"]
    was = (get(before, kind, item_id) or {}).get("big_data", {}).get(item)
    current = row.get("big_data", {}).get(item)
    if current == was:
        return []
    expected = {"blob": event["blob"], "size": event["size"]} if event["type"] == "BigDataSet" else None
    if current != expected:
        raise UndoConflict(sequence=sequence, why=f"big data {item!r} of {kind} {item_id[:12]} changed again")
    if was is None:
        return [{"type": "BigDataRemoved", "kind": kind, "id": item_id, "key": item}]
    return [{"type": "BigDataSet", "kind": kind, "id": item_id, "key": item, **was}]


def _pin(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    """A pin is taken away, an unpin put back."""
    there = event["pin"] in row.get("pins", ())
    if there != (event["type"] == "Pinned"):
        return []
    turned = "Unpinned" if there else "Pinned"
    return [{"type": turned, "kind": event["kind"], "id": event["id"], "pin": event["pin"]}]


def _mapped_layers(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    was = (get(before, "image", event["id"]) or {}).get("mapped_layers", [])
    there = [layer_id for layer_id in was if get(now, "layer", layer_id) is not None]
    return [] if there == row.get("mapped_layers", []) else [{"type": "ImageMappedLayersSet", "id": event["id"], "mapped_layers": there}]


def _contents(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    raise UndoConflict(sequence=sequence, why=f"the contents of layer {event['id'][:12]} were replaced, and are not kept")


def _nothing(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    return []


def _freed(before: Rows, now: Rows, event: Any, row: Row, sequence: int) -> Events:
    raise UndoConflict(sequence=sequence, why="what it freed is gone for good")


_INVERSE = {
    "NamesSet": _names,
    "MetadataSet": _metadata,
    "FlagsSet": _flags,
    "BigDataSet": _big_data,
    "BigDataRemoved": _big_data,
    "Pinned": _pin,
    "Unpinned": _pin,
    "ImageMappedLayersSet": _mapped_layers,
    "LayerDiffApplied": _contents,
    "LayerOpenedForWriting": _nothing,
    "LayerKeyed": _nothing,
    "StoreMended": _nothing,
    "TrashFreed": _freed,
}
