"""Deleted things: what may come back, and where each ID and name was last seen."""

from __future__ import annotations

from layerlog.projections.keys import key, prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row, RowChange


def entry_name(sequence: int, item_id: str) -> str:
    """Name of a trash entry: the commit that deleted it and the ID."""
    return f"{sequence}-{item_id}"


def split_entry(entry: str) -> tuple[int, str]:
    """The reverse of ``entry_name``."""
    sequence, _, item_id = entry.partition("-")
    return int(sequence), item_id


def entry_key(kind: str, sequence: int, item_id: str) -> bytes:
    """Key of a trash row; sorted by age. A kind each, since one commit may delete a container and its equally named layer."""
    return key("trash", f"{sequence:020d}", kind, item_id)


def thrown(kind: str, row: Row, kept: bool, sequence: int, time_ns: int) -> Iterator[RowChange]:
    """Row changes that remember a deleted thing. References to its blobs stay, so that they are not collected."""
    item_id = row["id"]
    yield entry_key(kind, sequence, item_id), {
        "kind": kind, "id": item_id, "sequence": sequence, "time_ns": time_ns, "kept": kept, "row": row,
    }  # fmt: skip
    gone = {"kind": kind, "id": item_id, "sequence": sequence}
    yield key("gone", kind, item_id), gone
    for name in row.get("names", ()):
        yield key("gone-name", kind, name), gone
    for blob in blobs_of(row):
        yield key("blob", blob, "trash", f"{sequence:020d}", item_id), 1


def taken_out(rows: Rows, kind: str, sequence: int, item_id: str) -> Iterator[RowChange]:
    """Row changes after a restore, or after the contents were freed."""
    found = entry_key(kind, sequence, item_id)
    thrown_row: Row | None = rows.get(found)
    if thrown_row is not None:
        yield found, None
        for blob in blobs_of(thrown_row["row"]):
            yield key("blob", blob, "trash", f"{sequence:020d}", item_id), None


def blobs_of(row: Row) -> Iterator[str]:
    """Digests of all blobs that a row refers to."""
    for ref in row.get("big_data", {}).values():
        yield ref["blob"]
    if record := row.get("contents", {}).get("tar_split"):
        yield record["blob"]


def get(rows: Rows, kind: str, sequence: int, item_id: str) -> Row | None:
    """The trash row of one deletion."""
    found: Row | None = rows.get(entry_key(kind, sequence, item_id))
    return found


def every(rows: Rows) -> Iterator[Row]:
    """All trash rows, oldest first."""
    return (row for _, row in rows.scan(prefix("trash")))


def last_seen(rows: Rows, kind: str, word: str) -> Row | None:
    """The last deletion of an ID, or of something that held that name."""
    found: Row | None = rows.get(key("gone", kind, word)) or rows.get(key("gone-name", kind, word))
    return found


def of(rows: Rows, kind: str, item_id: str, order: int) -> Row | None:
    """The trash row of a certain thing: several may have borne its ID one after the other, and *order* tells them apart."""
    seen = last_seen(rows, kind, item_id)
    newest = get(rows, kind, seen["sequence"], seen["id"]) if seen else None
    if newest is not None and newest["row"]["order"] == order:
        return newest
    found = (row for row in every(rows) if row["kind"] == kind and row["id"] == item_id and row["row"]["order"] == order)
    return next(found, None)
