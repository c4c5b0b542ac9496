"""Mount counts, folded from the run journal."""

from __future__ import annotations

from layerlog.projections.keys import key, prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row, RowChange


def get(rows: Rows, layer_id: str) -> Row | None:
    """The mount row of a layer; None when its count is 0."""
    found: Row | None = rows.get(key("mount", layer_id))
    return found


def every(rows: Rows) -> list[Row]:
    """All mounted layers, by ID."""
    return [row for _, row in rows.scan(prefix("mount"))]


def mounted(rows: Rows, event: Row) -> Iterator[RowChange]:
    """One more mount."""
    old = get(rows, event["id"])
    row = {"id": event["id"], "path": event["path"], "count": (old["count"] if old else 0) + 1}
    if namespace := event.get("namespace") or (old or {}).get("namespace"):
        row["namespace"] = namespace
    yield key("mount", event["id"]), row


def unmounted(rows: Rows, event: Row) -> Iterator[RowChange]:
    """*count* mounts are left."""
    old = get(rows, event["id"])
    yield key("mount", event["id"]), {**old, "count": event["count"]} if old and event["count"] > 0 else None
