"""Decisions that bring deleted things back."""

from __future__ import annotations

from layerlog.decide.common import names_free
from layerlog.decide.lending import BorrowedLayerGone
from layerlog.eventstore.errors import Conflict, DuplicateID, LayerHasChildren, LayerUsedByContainer, LayerUsedByImage, NotInTrash
from layerlog.eventstore.ids import chain_id
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


class LayerReplaced(Conflict):
    """Data: ``asked`` (what was to come back), ``needed`` (the layer that it stood on)."""

    message = "{asked} stood on layer {needed}, and another layer has that ID now"
    hint = "delete that layer first: the one that was there comes back with it, if it is still in the trash"


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
            events += _layer_back(rows, layer_id, {event["id"] for event in events}, before, row)
        except NotInTrash as gone:
            raise NeededLayerGone(asked=f"{kind} {row['id'][:12]}", needed=gone.data["asked"]) from gone
    return [*events, {"type": f"{kind.capitalize()}Restored", "id": row["id"], "deleted_at": row["sequence"]}]


def _image_back(rows: Rows, was: Row, before: Rows | None) -> Events:
    """Events for the image that a container was made from, whose record would else point nowhere; none when it is gone for good.

    Nor when the container had lost it *before*, or another one bore its ID since. Raises DuplicateName when its name was taken since.
    """
    image_id = was.get("image")
    if not image_id or get(rows, "image", image_id) is not None or (before is not None and get(before, "image", image_id) is None):
        return []
    seen = trash.last_seen(rows, "image", image_id)
    row = trash.get(rows, "image", seen["sequence"], image_id) if seen is not None and seen["id"] == image_id else None
    if row is not None and row["row"]["order"] > was["order"]:
        return []
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


def _layer_back(rows: Rows, layer_id: str, coming: set[str], before: Rows | None, above: Row) -> Events:
    """Events for a layer and its ancestors, base first; none for what is there or on its way, nor for what was missing *before* too.

    *above* is the trash row of what stands on it. Raises LayerReplaced where another layer has the ID by now.
    """
    chain: list[Row] = []
    wanted: str | None = layer_id
    while wanted and wanted not in coming:
        there = get(rows.own, "layer", wanted)
        if there is not None and not _is_the_same(rows, there, above, before):
            raise LayerReplaced(asked=f"{above['kind']} {above['id'][:12]}", needed=wanted)
        if get(rows, "layer", wanted) is not None:
            break
        if "loan" in above["row"]:  # nobody here brings back what another store lent
            raise BorrowedLayerGone.of(above["row"], "is not there")
        if before is not None and get(before, "layer", wanted) is None:
            break
        row = _ground(rows, wanted, above)
        if not row["kept"]:
            raise NotInTrash(asked=wanted)
        names_free(rows, "layer", row["row"].get("names", []))
        chain.append(row)
        wanted, above = row["row"].get("parent"), row
    return [{"type": "LayerRestored", "id": row["id"], "deleted_at": row["sequence"]} for row in reversed(chain)]


def _ground(rows: Rows, layer_id: str, above: Row) -> Row:
    """The trash row of the layer that *above* stood on: of several that bore its ID one after the other, the last that is older.

    Raises NotInTrash.
    """
    newest = thrown(rows, layer_id, "layer")
    if newest["id"] != layer_id:
        raise NotInTrash(asked=layer_id)
    if newest["row"]["order"] < above["row"]["order"] or layer_id in above["row"].get("mapped_layers", ()):
        return newest
    every = (row for row in trash.every(rows) if row["kind"] == "layer" and row["id"] == layer_id)
    older = [row for row in every if row["row"]["order"] < above["row"]["order"]]
    if not older and not _says_its_contents(newest["row"]):
        raise NotInTrash(asked=layer_id)
    return max(older, key=lambda row: int(row["row"]["order"]), default=newest)


def _is_the_same(rows: Rows, there: Row, above: Row, before: Rows | None) -> bool:
    """Whether a layer that is there is what the deleted thing *above* stood on, or has the same contents: IDs may be given again.

    What stands on a layer is made after it. One that is younger, and whose ID something deleted bore, came in its place.
    """
    if there["order"] < above["row"]["order"] or there["id"] in above["row"].get("mapped_layers", ()):
        return True
    earlier = get(before, "layer", there["id"]) if before is not None else None
    if earlier is not None and earlier["order"] == there["order"]:
        return True
    deleted = [row for row in trash.every(rows) if row["kind"] == "layer" and row["id"] == there["id"]]
    if not deleted and trash.last_seen(rows, "layer", there["id"]) is None:
        return True
    was = next((row["row"] for row in deleted if row["sequence"] >= above["sequence"]), None)
    if was is not None and _filled_alike(was, there):
        return True
    return _says_its_contents(there)


def _filled_alike(one: Row, other: Row) -> bool:
    digests = [row.get("contents", {}).get("diff_digest") for row in (one, other)]
    return digests[0] == digests[1] and one.get("parent") == other.get("parent") and not other.get("opened")


def _says_its_contents(row: Row) -> bool:
    """Whether its ID follows from its contents and its parent, as with images that were loaded."""
    digest = row.get("contents", {}).get("diff_digest")
    return digest is not None and not row.get("opened") and row["id"] == chain_id(row.get("parent", ""), digest)
