"""Decisions about names, metadata, big data and pins: what every kind has."""

from __future__ import annotations

from layerlog.decide.common import need, need_any
from layerlog.eventstore.errors import BigDataUnknown, ImageUnknown
from layerlog.projections.items import get, holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows

Events = list["Any"]


def set_names(rows: Rows, kind: str, item_id: str, names: list[str]) -> Events:
    """Give *names* to an item, newest first, taking each from its present holder (contract/cli.md §3)."""
    names = list(dict.fromkeys(names))
    losing: dict[str, list[str]] = {}
    for name in names:
        other = holder(rows, kind, name)
        if other is not None and other != item_id:
            held = losing.get(other) or (get(rows, kind, other) or {}).get("names", [])
            losing[other] = [kept for kept in held if kept != name]
    moved = [_named(kind, other, rest) for other, rest in losing.items()]
    return [*moved, _named(kind, item_id, names)]


def _named(kind: str, item_id: str, names: list[str]) -> Any:
    return {"type": "NamesSet", "kind": kind, "id": item_id, "names": names}


def rename(rows: Rows, asked: str, kind: str | None, edit: str, names: list[str]) -> Events:
    """``set``, ``add`` (in front) or ``remove`` names of an item of any kind. Nothing to change is no event."""
    found_kind, row = need_any(rows, asked, (kind,) if kind else ("layer", "image", "container"))
    old = row.get("names", [])
    if edit == "add":
        names = [*names, *(name for name in old if name not in names)]
    elif edit == "remove":
        names = [name for name in old if name not in names]
    return [] if names == old and edit != "set" else set_names(rows, found_kind, row["id"], names)


def untag(rows: Rows, name: str) -> Events:
    """Take one name from the image that holds it."""
    held_by = holder(rows, "image", name)
    if held_by is None:
        raise ImageUnknown(asked=name)
    return rename(rows, held_by, "image", "remove", [name])


def set_metadata(rows: Rows, asked: str, kind: str | None, metadata: str) -> Events:
    """Replace the free text of an item of any kind."""
    found_kind, row = need_any(rows, asked, (kind,) if kind else ("layer", "image", "container"))
    return [{"type": "MetadataSet", "kind": found_kind, "id": row["id"], "metadata": metadata}]


def set_big_data(rows: Rows, kind: str, asked: str, item: str, blob: str, size: int) -> Events:
    """Point a big-data item to a blob; the same content again is no event."""
    row = need(rows, kind, asked)
    if row.get("big_data", {}).get(item) == {"blob": blob, "size": size}:
        return []
    return [{"type": "BigDataSet", "kind": kind, "id": row["id"], "key": item, "blob": blob, "size": size}]


def remove_big_data(rows: Rows, kind: str, asked: str, item: str) -> Events:
    """Forget a big-data item."""
    row = need(rows, kind, asked)
    if item not in row.get("big_data", {}):
        raise BigDataUnknown(kind=kind, id=row["id"], key=item)
    return [{"type": "BigDataRemoved", "kind": kind, "id": row["id"], "key": item}]


def pin(rows: Rows, asked: str, kind: str | None, word: str) -> Events:
    """Keep an item from deletion until the same word unpins it."""
    found_kind, row = need_any(rows, asked, (kind,) if kind else ("image", "container", "layer"))
    return [] if word in row.get("pins", ()) else [{"type": "Pinned", "kind": found_kind, "id": row["id"], "pin": word}]


def unpin(rows: Rows, asked: str, kind: str | None, word: str) -> Events:
    """Take a pin away; a pin that is not there is no event."""
    found_kind, row = need_any(rows, asked, (kind,) if kind else ("image", "container", "layer"))
    return [{"type": "Unpinned", "kind": found_kind, "id": row["id"], "pin": word}] if word in row.get("pins", ()) else []
