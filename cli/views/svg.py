"""A view as a picture: SVG that fetches nothing and shows anywhere."""

from __future__ import annotations

import io
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import RenderableType


def drawn(view: RenderableType, columns: int, title: str) -> str:
    """The text of an SVG file with *view* as a terminal of that width shows it."""
    from rich.console import Console

    nowhere = io.StringIO()
    console = Console(record=True, width=columns, file=nowhere, force_terminal=True, color_system="truecolor", markup=False, emoji=False)
    console.print(view, crop=False)
    return without_fetches(console.export_svg(title=title))


def without_fetches(svg: str) -> str:
    """No fonts from elsewhere, no comments: the reader's own monospace does."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"\s*<!--.*?-->", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
