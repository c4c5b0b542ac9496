"""What layers, images and containers have in common: one row each, and indexes derived from it.

A fold never edits an index by hand. It says which row replaces which, and ``replace`` works out the
index keys that come and go from the two rows alone; so an index cannot disagree with its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter

from layerlog.projections.keys import key, prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows

Row = dict[str, "Any"]
RowChange = tuple[bytes, "Any"]
"""A key and its new value; None removes it."""
Index = Callable[[Row], Iterable[RowChange]]


def get(rows: Rows, kind: str, item_id: str) -> Row | None:
    """The row of that exact ID."""
    row: Row | None = rows.get(key(kind, item_id))
    return row


def holder(rows: Rows, kind: str, name: str) -> str | None:
    """ID of the *kind* of thing that holds *name*."""
    found: str | None = rows.get(key("name", kind, name))
    return found


def find(rows: Rows, kind: str, asked: str) -> Row | None:
    """Exact ID, exact name, unique ID prefix, in this order, in one store after the other (contract/cli.md §3).

    What is found in a later store and stands in the first as well is a record that was copied up: there it no
    longer answers to what was asked (contract/semantics.md §7).
    """
    if "\0" in asked:
        return None
    parts = rows.parts_for(kind)
    row = _find_in(parts[0], kind, asked)
    for part in parts[1:]:
        if row is not None:
            break
        found = _find_in(part, kind, asked)
        if found is not None and get(parts[0], kind, found["id"]) is None:
            row = found
    return row


def _find_in(rows: Rows, kind: str, asked: str) -> Row | None:
    row = get(rows, kind, asked)
    if row is None and (named := holder(rows, kind, asked)) is not None:
        row = get(rows, kind, named)
    return row if row is not None else find_prefix(rows, kind, asked)


def find_prefix(rows: Rows, kind: str, asked: str) -> Row | None:
    """The only thing whose ID starts with *asked*; None if there are none or several."""
    if not asked:
        return None
    matches = rows.scan(key(kind, asked))
    first = next(matches, None)
    if first is None or next(matches, None) is not None:
        return None
    row: Row = first[1]
    return row


_order = itemgetter("order")


def every(rows: Rows, kind: str) -> list[Row]:
    """All rows of a kind in order of creation, one store after the other."""
    found: list[Row] = []
    for part in rows.parts_for(kind):
        found += sorted(part.found(prefix(kind)).values(), key=_order)
    return found


def index_of(kind: str, row: Row) -> Iterator[RowChange]:
    """Index rows that every kind has: names and references to blobs."""
    item_id = row["id"]
    for name in row.get("names", ()):
        yield key("name", kind, name), item_id
    for item, ref in row.get("big_data", {}).items():
        yield key("blob", ref["blob"], kind, item_id, item), 1


def replace(rows: Rows, kind: str, index: Index, indexed: tuple[str, ...], old: Row | None, new: Row | None) -> Iterator[RowChange]:
    """Row changes that put *new* in the place of *old*, indexes included. *indexed*: what *index* looks at, besides the ID."""
    if old is not None and new is not None:
        for field in indexed:
            if old.get(field) is not new.get(field):
                break
        else:
            yield key(kind, new["id"]), new  # the very same values: they give the same index
            return
    before = dict(index(old)) if old is not None else {}
    after = dict(index(new)) if new is not None else {}
    for found, value in before.items():
        if found not in after and rows.get(found) == value:
            yield found, None
    for found, value in after.items():
        if before.get(found) != value:
            yield found, value
    item_id = (new or old or {})["id"]
    yield key(kind, item_id), new


def edited(row: Row, sequence: int, **fields: object) -> Row:
    """A copy of *row*, which has no empty fields, with *fields* set; empty ones are left out."""
    new = {**row, **fields, "changed": sequence}
    for name, value in fields.items():
        if value in ("", [], {}, None):
            del new[name]
    return new
