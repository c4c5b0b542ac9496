"""Images: a top layer, names, digests and big data."""

from __future__ import annotations

from layerlog.projections.items import Row, RowChange, index_of, replace
from layerlog.projections.keys import key, last_part, prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.rows import Rows

_FIELDS = ("layer", "names", "names_history", "digest", "metadata", "big_data", "flags")
INDEXED = ("layer", "names", "digest", "big_data", "mapped_layers")
"""Fields that the index rows of an image follow from."""


def created(event: Row, sequence: int, time_ns: int, order: int) -> Row:
    """The row that an ImageCreated makes."""
    row: Row = {"id": event["id"], "created_ns": event.get("created_ns", time_ns), "order": order, "changed": sequence}
    row.update({name: event[name] for name in _FIELDS if event.get(name)})
    return with_digest(row)


def with_digest(row: Row) -> Row:
    """Without an explicit digest, the first manifest's becomes the image's, for good (contract/cli.md §5)."""
    if row.get("digest"):
        return row
    first = next((ref["blob"] for item, ref in row.get("big_data", {}).items() if item.startswith("manifest")), None)
    return {**row, "digest": first} if first else row


def digests(row: Row) -> list[str]:
    """The explicit digest, then those of all ``manifest*`` items, without duplicates."""
    found = [row["digest"]] if row.get("digest") else []
    found += [ref["blob"] for item, ref in row.get("big_data", {}).items() if item.startswith("manifest")]
    return list(dict.fromkeys(found))


def image_index(row: Row) -> Iterator[RowChange]:
    """Index rows of an image: names, blobs, top layers, digests."""
    yield from index_of("image", row)
    image_id = row["id"]
    for layer_id in top_layers(row):
        yield key("top", layer_id, image_id), 1
    for digest in digests(row):
        yield key("digest", digest, image_id), 1


def top_layers(row: Row) -> list[str]:
    """The top layer and its mapped copies."""
    return [layer_id for layer_id in (row.get("layer"), *row.get("mapped_layers", ())) if layer_id]


def put(rows: Rows, old: Row | None, new: Row | None) -> Iterator[RowChange]:
    """Replace an image's row."""
    return replace(rows, "image", image_index, INDEXED, old, new)


def by_digest(rows: Rows, digest: str) -> list[str]:
    """IDs of the images that have *digest*."""
    return [last_part(found) for found in rows.keys(prefix("digest", digest))]


def containers_of(rows: Rows, image_id: str) -> list[str]:
    """IDs of the containers made from the image."""
    return [last_part(found) for found in rows.keys(prefix("of-image", image_id))]
