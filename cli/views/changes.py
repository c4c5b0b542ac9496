"""One changed path in a line."""

from __future__ import annotations

from layerlog.cli.views.palette import ADDED, CHANGED, REMOVED
from layerlog.cli.views.text import Text

_SIGNS = (("~", CHANGED), ("+", ADDED), ("−", REMOVED))


def change_line(kind: int, path: str) -> Text:
    """``+ /etc/hosts``; *kind* is 0 modified, 1 added, 2 deleted."""
    from layerlog.cli.run import one_line

    sign, style = _SIGNS[kind]
    return Text(f"{sign} {one_line(path)}", style=style)
