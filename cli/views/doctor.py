"""Findings about the host, one a line."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.views import palette
from layerlog.cli.views.advice import copyable
from layerlog.cli.views.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from layerlog.cli.doctor import Finding

_SIGNS = {"ok": ("✓", palette.ADDED), "lack": ("–", palette.CHANGED), "fault": ("✗", palette.REMOVED)}


def doctor_view(found: Sequence[Finding]) -> RenderableType:
    """Sign, what, how it is; below, the command that mends it."""
    width = max(len(one.what) for one in found)
    lines = []
    for one in found:
        sign, style = _SIGNS[one.state]
        lines.append(Text.assemble((sign, style), f" {one.what:<{width}}  ", (one.text, "" if one.state != "ok" else palette.QUIET)))
        if one.mend:
            lines.append(copyable(one.mend, width + 4))
    return Group(*lines)
