"""The switch to another driver. Pure."""

from __future__ import annotations

from layerlog.decide.restoring import freed
from layerlog.eventstore.errors import Conflict
from layerlog.projections import trash
from layerlog.projections.items import every

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows


def switch(rows: Rows, old: str, new: str, copied: dict[str, tuple[int, bool]]) -> list[Any]:
    """Events of the switch: what is in the trash can come back no more, since its files stay in the old tree.

    *copied*: generation, and whether opened, of each layer as it was copied. Raises Conflict when one is another now.
    """
    for row in every(rows, "layer"):
        claims = "contents" in row or "opened" in row
        if claims and copied.get(row["id"]) != (row["generation"], "opened" in row):
            raise Conflict(f"layer {row['id']} was made or changed meanwhile: migrate again")
    entries = [trash.entry_name(row["sequence"], row["id"]) for row in trash.every(rows)]
    return [*freed(rows, list(dict.fromkeys(entries))), {"type": "StoreMigrated", "old": old, "new": new}]
