"""Which rows of the decision table does recovery use? For a child that ends soon."""

from __future__ import annotations

from layerlog import recovery
from layerlog.decide import settling


def rows_met() -> set[str]:
    """The names of the rows that this process uses from now on: the set grows."""
    met: set[str] = set()

    def deciding(seen: settling.Seen) -> list[str]:
        met.update(row.name for row in settling.rows_for(seen))
        return settling.decide_settling(seen)

    vars(recovery)["decide_settling"] = deciding
    return met
