"""Containers: an image's layer chain with a writable layer on top."""

from __future__ import annotations

from layerlog.projections.items import Row, RowChange, find_prefix, get, holder, index_of, replace
from layerlog.projections.keys import key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.rows import Rows

_FIELDS = ("image", "names", "metadata", "big_data", "uid_map", "gid_map", "flags")
INDEXED = ("image", "layer", "names", "big_data")
"""Fields that the index rows of a container follow from."""


def created(event: Row, sequence: int, time_ns: int, order: int) -> Row:
    """The row that a ContainerCreated makes."""
    row: Row = {"id": event["id"], "created_ns": time_ns, "order": order, "changed": sequence, "layer": event["layer"]}
    row.update({name: event[name] for name in _FIELDS if event.get(name)})
    return row


def container_index(row: Row) -> Iterator[RowChange]:
    """Index rows of a container: names, blobs, its layer, its image."""
    yield from index_of("container", row)
    yield key("of-layer", row["layer"]), row["id"]
    if image := row.get("image"):
        yield key("of-image", image, row["id"]), 1


def put(rows: Rows, old: Row | None, new: Row | None) -> Iterator[RowChange]:
    """Replace a container's row."""
    return replace(rows, "container", container_index, INDEXED, old, new)


def find(rows: Rows, asked: str) -> Row | None:
    """Exact ID, exact name, ID of its layer, unique ID prefix (contract/cli.md §3)."""
    if "\0" in asked:
        return None
    return next((row for part in rows.parts_for("container") if (row := _find_in(part, asked)) is not None), None)


def _find_in(rows: Rows, asked: str) -> Row | None:
    row = get(rows, "container", asked)
    for other in (holder(rows, "container", asked), rows.get(key("of-layer", asked))):
        if row is None and other is not None:
            row = get(rows, "container", other)
    return row if row is not None else find_prefix(rows, "container", asked)
