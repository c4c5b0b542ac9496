"""The layer tree."""

from __future__ import annotations

from layerlog.projections.items import Row, RowChange, edited, get, index_of, replace
from layerlog.projections.keys import key, last_part, prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.rows import Rows

INDEXED = ("parent", "names", "contents", "big_data", "keys")
"""Fields that the index rows of a layer follow from."""
DIGEST_SPACES = {"diff": "diff_digest", "archive": "compressed_digest", "toc": "toc_digest"}
_FIELDS = ("parent", "names", "metadata", "mount_label", "flags", "uid_map", "gid_map", "contents", "big_data", "loan", "copy_of")


def created(event: Row, sequence: int, time_ns: int, order: int) -> Row:
    """The row that a LayerCreated makes."""
    row: Row = {"id": event["id"], "created_ns": time_ns, "order": order, "changed": sequence, "generation": 0}
    row.update({name: event[name] for name in _FIELDS if event.get(name)})
    if event.get("opened"):
        row["opened"] = sequence
    return row


def layer_index(row: Row) -> Iterator[RowChange]:
    """Index rows of a layer: names, blobs, parent, digests."""
    yield from index_of("layer", row)
    layer_id = row["id"]
    if parent := row.get("parent"):
        yield key("child", parent, layer_id), 1
    contents = row.get("contents", {})
    for space, field in DIGEST_SPACES.items():
        if digest := contents.get(field):
            yield key(space, digest, layer_id), 1
    if record := contents.get("tar_split"):
        yield key("blob", record["blob"], "layer", layer_id), 1
    for made_for in row.get("keys", ()):
        yield key("made-for", made_for), layer_id


def put(rows: Rows, old: Row | None, new: Row | None) -> Iterator[RowChange]:
    """Replace a layer's row."""
    return replace(rows, "layer", layer_index, INDEXED, old, new)


def diff_applied(rows: Rows, event: Row, sequence: int) -> Iterator[RowChange]:
    """New contents, one generation on."""
    old = get(rows, "layer", event["id"])
    if old is not None:
        generation = old["generation"] + (0 if event.get("in_place") else 1)
        anew = generation if event.get("anew") else None
        yield from put(rows, old, edited(old, sequence, contents=event["contents"], generation=generation, anew=anew))


def opened(rows: Rows, event: Row, sequence: int) -> Iterator[RowChange]:
    """First writable mount."""
    old = get(rows, "layer", event["id"])
    if old is not None and "opened" not in old:
        yield from put(rows, old, edited(old, sequence, opened=sequence))


def children(rows: Rows, layer_id: str) -> list[str]:
    """IDs of the layers whose parent is *layer_id*."""
    return [last_part(found) for found in rows.keys(prefix("child", layer_id))]


def first(rows: Rows, kind: str, ids: list[str]) -> str:
    """That of *ids* that was created first: who is named where several stand in the way, as the original names them."""
    return min(ids, key=lambda one: (get(rows, kind, one) or {}).get("order", 0))


def last(rows: Rows, kind: str, ids: list[str]) -> str:
    """That of *ids* that was created last: so the original names the container that stands in the way of an image."""
    return max(ids, key=lambda one: (get(rows, kind, one) or {}).get("order", 0))


def chain(rows: Rows, layer_id: str) -> list[str]:
    """Ancestors of *layer_id*, nearest first. Ends at a missing one, and at a loop (damage)."""
    found: dict[str, None] = {}
    row = get(rows, "layer", layer_id)
    while row is not None and (parent := row.get("parent")) and parent not in found and parent != layer_id:
        found[parent] = None
        row = get(rows, "layer", parent)
    return list(found)


def with_digest(rows: Rows, space: str, digest: str) -> list[str]:
    """IDs of the layers with that digest; *space* is ``diff``, ``archive`` or ``toc``."""
    return [last_part(found) for found in rows.keys(prefix(space, digest))]


def image_tops(rows: Rows, layer_id: str) -> list[str]:
    """IDs of the images whose top layer, or a mapped copy of it, is *layer_id*."""
    return [last_part(found) for found in rows.keys(prefix("top", layer_id))]


def container_of(rows: Rows, layer_id: str) -> str | None:
    """ID of the container that owns the layer."""
    found: str | None = rows.get(key("of-layer", layer_id))
    return found


def made_for(rows: Rows, wanted: str) -> str | None:
    """ID of the layer that was made for a ``layer_for`` key."""
    found: str | None = rows.get(key("made-for", wanted))
    return found
