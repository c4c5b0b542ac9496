"""Decisions that bring deleted things back."""

from __future__ import annotations

from layerlog.decide.common import names_free
from layerlog.eventstore.errors import Conflict, DuplicateID, LayerHasChildren, LayerUsedByContainer, LayerUsedByImage, NotInTrash
from layerlog.projections import images, layers, trash
from layerlog.projections.items import Row, get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.decide.layers import Events
    from layerlog.eventstore.rows import Rows

KINDS = ("container", "image", "layer")


class NeededLayerGone(NotInTrash):
    """Data: ``asked`` (what was to come back), ``needed`` (the layer that it cannot be without)."""

    message = "{asked} stands on layer {needed}, which was freed, and is gone for good"
    hint = "layerlog why-gone {needed} tells when and by whom"


def thrown(rows: Rows, asked: str, kind: str | None = None) -> Row:
    """The newest trash row of *asked*: an ID, a name it held, or a unique prefix of an ID."""
    kinds = (kind,) if kind else KINDS
    for one in kinds:
        seen = trash.last_seen(rows, one, asked)
        if seen is not None and (row := trash.get(rows, one, seen["sequence"], seen["id"])) is not None:
            return row
    found = [row for row in trash.every(rows) if row["kind"] in kinds and asked and row["id"].startswith(asked)]
    for one in kinds:
        same = [row for row in found if row["kind"] == one]
        if same and len({row["id"] for row in same}) == 1:
            return same[-1]
    raise NotInTrash(asked=asked)


def restore(rows: Rows, asked: str, kind: str | None = None) -> Events:
    """Bring back a deleted thing with its ID, names and contents, and what it cannot be without.

    An image brings its layers, a container its layer and its image, a layer its ancestors, as far as they are gone.
    Raises NotInTrash when one of them was freed, DuplicateName/DuplicateID when its place was taken since.
    """
    return _restored(rows, thrown(rows, asked, kind))


def restore_at(rows: Rows, kind: str, sequence: int, item_id: str, before: Rows) -> Events:
    """Bring back what one certain commit deleted, and what it needs as far as it was there *before* that commit.

    Raises NotInTrash when it was freed since.
    """
    row = trash.get(rows, kind, sequence, item_id)
    if row is None:
        raise NotInTrash(asked=item_id)
    return _restored(rows, row, before)


def freed(rows: Rows, entries: list[str]) -> Events:
    """The contents of those trash entries are gone for good; entries that nothing refers to any more are left out."""
    known = {trash.entry_name(row["sequence"], row["id"]) for row in trash.every(rows)}
    left = [entry for entry in entries if entry in known]
    return [{"type": "TrashFreed", "entries": left}] if left else []


def not_kept(rows: Rows, entry: str) -> Events:
    """The contents of a deleted layer are lost, and with them the promise of every image and container in the trash that stands on it."""
    layer_id = trash.split_entry(entry)[1]
    promised = [row for row in trash.every(rows) if row["kept"] and row["kind"] != "layer"]
    standing = [row for row in promised if layer_id in _thrown_chains(rows, _needed_layers(row["kind"], row["row"]))]
    return freed(rows, [entry, *(trash.entry_name(row["sequence"], row["id"]) for row in standing)])


def _thrown_chains(rows: Rows, tops: list[str]) -> set[str]:
    """Those of *tops* and their ancestors that are in the trash and not in the store."""
    found: set[str] = set()
    todo = list(tops)
    while todo:
        layer_id = todo.pop()
        if layer_id in found or get(rows, "layer", layer_id) is not None:
            continue
        found.add(layer_id)
        seen = trash.last_seen(rows, "layer", layer_id)
        row = trash.get(rows, "layer", seen["sequence"], seen["id"]) if seen else None
        if row is not None and row["row"].get("parent"):
            todo.append(row["row"]["parent"])
    return found


def _restored(rows: Rows, row: Row, before: Rows | None = None) -> Events:
    kind, was = row["kind"], row["row"]
    if get(rows.own, kind, row["id"]) is not None:
        raise DuplicateID(kind=kind, id=row["id"])
    if not row["kept"]:
        raise NotInTrash(asked=row["id"])
    if was.get("flags", {}).get("OldTree"):
        raise Conflict(f"{row['id']} is the tree of another driver: layerlog migrate --to {was['flags']['OldTree']} goes back")
    names_free(rows, kind, was.get("names", []))
    if kind == "container":
        _layer_is_its_own(rows, was["layer"], before)
    events = _image_back(rows, was, before) if kind == "container" else []
    for layer_id in _needed_layers(kind, was):
        try:
            events += _layer_back(rows, layer_id, {event["id"] for event in events}, before)
        except NotInTrash as gone:
            raise NeededLayerGone(asked=f"{kind} {row['id'][:12]}", needed=gone.data["asked"]) from gone
    return [*events, {"type": f"{kind.capitalize()}Restored", "id": row["id"], "deleted_at": row["sequence"]}]


def _image_back(rows: Rows, was: Row, before: Rows | None) -> Events:
    """Events for the image that a container was made from, whose record would else point nowhere; none when it is gone for good.

    Nor when the container had lost it *before*. Raises DuplicateName when another image took its name since.
    """
    image_id = was.get("image")
    if not image_id or get(rows, "image", image_id) is not None or (before is not None and get(before, "image", image_id) is None):
        return []
    seen = trash.last_seen(rows, "image", image_id)
    row = trash.get(rows, "image", seen["sequence"], image_id) if seen is not None and seen["id"] == image_id else None
    return _restored(rows, row, before) if row is not None and row["kept"] else []


def _layer_is_its_own(rows: Rows, layer_id: str, before: Rows | None) -> None:
    """A container's layer that was brought back alone may be somebody else's ground by now; it would go with the container.

    Who stood on it *before* the container was deleted may stand there again: an undo brings back what was.
    Raises LayerHasChildren, LayerUsedByImage, LayerUsedByContainer.
    """
    if get(rows, "layer", layer_id) is None:
        return
    for users, refused in ((layers.children, LayerHasChildren), (layers.image_tops, LayerUsedByImage)):
        earlier = users(before, layer_id) if before is not None else ()
        for holder_id in users(rows, layer_id):
            if holder_id not in earlier:
                raise refused(id=layer_id, holder_id=holder_id)
    if (owner := layers.container_of(rows, layer_id)) is not None:
        raise LayerUsedByContainer(id=layer_id, holder_id=owner)


def _needed_layers(kind: str, was: Row) -> list[str]:
    if kind == "layer":
        return [was["parent"]] if was.get("parent") else []
    return images.top_layers(was) if kind == "image" else [was["layer"]]


def _layer_back(rows: Rows, layer_id: str, coming: set[str], before: Rows | None) -> Events:
    """Events for a layer and its ancestors, base first; none for what is there or on its way, nor for what was missing *before* too."""
    chain: list[Row] = []
    wanted: str | None = layer_id
    while wanted and wanted not in coming and get(rows, "layer", wanted) is None:
        if before is not None and get(before, "layer", wanted) is None:
            break
        row = thrown(rows, wanted, "layer")
        if row["id"] != wanted or not row["kept"]:
            raise NotInTrash(asked=wanted)
        names_free(rows, "layer", row["row"].get("names", []))
        chain.append(row)
        wanted = row["row"].get("parent")
    return [{"type": "LayerRestored", "id": row["id"], "deleted_at": row["sequence"]} for row in reversed(chain)]
