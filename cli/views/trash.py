"""What was deleted and may come back."""

from __future__ import annotations

import time

from layerlog.cli.views import units
from layerlog.cli.views.tables import names_text, new_table
from layerlog.cli.views.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from layerlog.trashing import Thrown


def trash_table(thrown: Sequence[Thrown], now_ns: int | None = None) -> Table:
    """Oldest first, as the store frees them."""
    table = new_table("NAME", "KIND", "ID", "SIZE>", "DELETED", "COMMIT>")
    now = now_ns if now_ns is not None else time.time_ns()
    for one in thrown:
        size = units.size(one.size) if one.size else ""
        table.add_row(
            names_text(one.names, "bold"), one.kind, units.short(one.id), size, units.age(one.time_ns, now), Text(str(one.sequence))
        )
    return table
