"""Decisions about names, metadata, big data and pins: what every kind has."""

from __future__ import annotations

from layerlog.decide.common import UNKNOWN, event, lookup, need_any_own, need_own
from layerlog.eventstore.errors import BigDataUnknown, ImageUnknown, ItemUnknown
from layerlog.projections.items import Row, find, get, holder

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
        other = holder(rows.own, kind, name)
        if other is not None and other != item_id:
            held = losing.get(other) or (get(rows.own, kind, other) or {}).get("names", [])
            losing[other] = [kept for kept in held if kept != name]
    lost = {"lost": True} if kind == "image" else {}
    moved = [{**_named(kind, other, rest), **lost} for other, rest in losing.items()]
    return [*moved, _named(kind, item_id, names)]


def _named(kind: str, item_id: str, names: list[str]) -> Any:
    return {"type": "NamesSet", "kind": kind, "id": item_id, "names": names}


def rename(rows: Rows, asked: str, kind: str | None, edit: str, names: list[str]) -> Events:
    """``set``, ``add`` (in front) or ``remove`` names of an item of any kind. Nothing to change is no event.

    An image of another store is copied up first: its record, not its layers (contract/semantics.md §7).
    """
    found_kind, row = renamed(rows, asked, (kind,) if kind else ("layer", "image", "container"))
    old = row.get("names", [])
    if "borrowed" in row:
        old = [name for name in old if holder(rows.own, "image", name) is None]
        return [copied_up(row, old), *_edited(rows, found_kind, row["id"], edit, names, old)]
    return _edited(rows, found_kind, row["id"], edit, names, old)


def renamed(rows: Rows, asked: str, order: tuple[str, ...]) -> tuple[str, Row]:
    """Kind and row of what *asked* means to a rename: a thing of one's own, or else an image of another store."""
    for kind in order:
        row = lookup(rows if kind == "image" else rows.own, kind, asked)
        if row is not None:
            return kind, row
    raise (ItemUnknown if len(order) > 1 else UNKNOWN[order[0]])(asked=asked)


def copied_up(row: Row, names: list[str]) -> Any:
    """The event that copies the record of another store's image, under *names*."""
    kept = {field: row[field] for field in ("layer", "names_history", "digest", "metadata", "big_data", "flags") if field in row}
    return event("ImageCreated", id=row["id"], names=names, created_ns=row["created_ns"], **kept)


def _edited(rows: Rows, found_kind: str, item_id: str, edit: str, names: list[str], old: list[str]) -> Events:
    if edit == "add":
        names = [*names, *(name for name in old if name not in names)]
    elif edit == "remove":
        names = [name for name in old if name not in names]
    return [] if names == old and edit != "set" else set_names(rows, found_kind, item_id, names)


def untag(rows: Rows, name: str) -> Events:
    """Take one name from the image that holds it."""
    row = find(rows, "image", name)
    held_by = row["id"] if row is not None and name in row.get("names", ()) else None
    if held_by is None:
        raise ImageUnknown(asked=name)
    return rename(rows, held_by, "image", "remove", [name])


def set_metadata(rows: Rows, asked: str, kind: str | None, metadata: str) -> Events:
    """Replace the free text of an item of any kind."""
    found_kind, row = need_any_own(rows, asked, (kind,) if kind else ("layer", "image", "container"))
    return [{"type": "MetadataSet", "kind": found_kind, "id": row["id"], "metadata": metadata}]


def set_big_data(rows: Rows, kind: str, asked: str, item: str, blob: str, size: int) -> Events:
    """Point a big-data item to a blob; the same content again is no event."""
    row = need_own(rows, kind, asked)
    if row.get("big_data", {}).get(item) == {"blob": blob, "size": size}:
        return []
    return [{"type": "BigDataSet", "kind": kind, "id": row["id"], "key": item, "blob": blob, "size": size}]


def remove_big_data(rows: Rows, kind: str, asked: str, item: str) -> Events:
    """Forget a big-data item."""
    row = need_own(rows, kind, asked)
    if item not in row.get("big_data", {}):
        raise BigDataUnknown(kind=kind, id=row["id"], key=item)
    return [{"type": "BigDataRemoved", "kind": kind, "id": row["id"], "key": item}]


def pin(rows: Rows, asked: str, kind: str | None, word: str) -> Events:
    """Keep an item from deletion until the same word unpins it."""
    found_kind, row = need_any_own(rows, asked, (kind,) if kind else ("image", "container", "layer"))
    return [] if word in row.get("pins", ()) else [{"type": "Pinned", "kind": found_kind, "id": row["id"], "pin": word}]


def unpin(rows: Rows, asked: str, kind: str | None, word: str) -> Events:
    """Take a pin away; a pin that is not there is no event."""
    found_kind, row = need_any_own(rows, asked, (kind,) if kind else ("image", "container", "layer"))
    return [{"type": "Unpinned", "kind": found_kind, "id": row["id"], "pin": word}] if word in row.get("pins", ()) else []
