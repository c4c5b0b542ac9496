"""What a prune would delete, as a table."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.views import palette, units
from layerlog.cli.views.tables import names_text, new_table
from layerlog.cli.views.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import RenderableType

    from layerlog.pruning import PrunePlan


def plan_view(plan: PrunePlan) -> RenderableType:
    """A row per thing, layers that go with an image indented below it; then the sum."""
    if not plan.going:
        return Text("nothing to delete", style=palette.QUIET)
    table = new_table("NAME", "ID", "KIND", "SIZE>", "WHY")
    for one in plan.going:
        indent = "  " if one.with_image else ""
        size = units.size(one.size) if one.size else "–"
        table.add_row(names_text(one.names, palette.NAME), indent + units.short(one.id), one.kind, size, one.why)
    total = f"{units.count(len(plan.going), 'thing')}, {units.size(plan.size)}; planned on commit {plan.planned_on}"
    return Group(table, Text(total, style=palette.QUIET))
