"""Decisions about what lies in another store: what a loan records, and whether it still holds.

A layer on a parent of another store records from which store it was borrowed, at which commit, and the digest of
what it held (DESIGN §5). The owner takes no notice of us: whenever the chain is used the loan is verified, so that
a layer which went away or became another one is an error with a name and never a file system with a hole.
"""

from __future__ import annotations

from layerlog.eventstore.errors import NotFound
from layerlog.projections.items import get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row


class BorrowedLayerGone(NotFound):
    """Data: ``id``, ``needed_by``, ``store``, ``root``, ``why``."""

    message = "layer {id}, which {needed_by} borrows from the image store {root}, {why}"
    hint = "open with that image store (--storage-opt DRIVER.imagestore={root}); it was store {store}"

    @classmethod
    def of(cls, row: Row, why: str) -> BorrowedLayerGone:
        """The error about the parent of *row*."""
        terms = row["loan"]
        return cls(id=row["parent"], needed_by=row["id"], store=terms.get("store", ""), root=terms.get("root", "?"), why=why)


def loan(parent: Row | None) -> dict[str, Any]:
    """What a new layer records of a parent in another store; nothing for a parent of one's own."""
    if parent is None or not parent.get("borrowed"):
        return {}
    digest = parent.get("contents", {}).get("diff_digest", "")
    return {**parent["borrowed"], **({"diff_digest": digest} if digest else {})}


def claims_contents(row: Row) -> bool:
    """Whether a layer holds something that nobody could derive from its parent."""
    return "contents" in row or "opened" in row


def is_hollow(row: Row | None) -> bool:
    """A layer of another store that adds nothing to its parent: its owner may not have made its folders, and we may not."""
    return row is not None and "borrowed" in row and not claims_contents(row)


def lowers(rows: Rows, layer_id: str) -> list[str]:
    """Ancestors of *layer_id* that a driver needs, nearest first. Raises BorrowedLayerGone.

    The same as ``layers.chain`` without hollow layers of other stores.
    """
    found: dict[str, None] = {}
    seen = {layer_id}
    row = get(rows, "layer", layer_id)
    while row is not None and (parent_id := row.get("parent")) and parent_id not in seen:
        seen.add(parent_id)
        parent = get(rows, "layer", parent_id)
        if "loan" in row:
            _still_there(row, parent)
        if not is_hollow(parent):
            found[parent_id] = None
        row = parent
    return list(found)


def chains_of(rows: Rows, layer_ids: list[str]) -> dict[str, list[str]]:
    """``lowers`` of each of these layers, but of those whose chain is broken: somebody else tells of that."""
    found = {}
    for layer_id in layer_ids:
        try:
            found[layer_id] = lowers(rows, layer_id)
        except BorrowedLayerGone:
            continue
    return found


def lowers_from(rows: Rows, parent_id: str) -> list[str]:
    """What a new layer on *parent_id* stands on: the parent, unless it is hollow, and its lowers."""
    rest = lowers(rows, parent_id)
    return rest if is_hollow(get(rows, "layer", parent_id)) else [parent_id, *rest]


def _still_there(row: Row, parent: Row | None) -> None:
    terms = row["loan"]
    why = ""
    if parent is None:
        why = "is no longer there"
    elif terms.get("diff_digest", "") != parent.get("contents", {}).get("diff_digest", ""):
        why = "has other contents now"
    if why:
        raise BorrowedLayerGone.of(row, why)
