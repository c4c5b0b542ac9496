"""Commands that a reader is meant to copy: never broken by the width of the terminal."""

from __future__ import annotations

from layerlog.cli.views import palette
from layerlog.cli.views.text import Text


def copyable(command: str, indent: int = 4) -> Text:
    """A line of its own that only the terminal itself wraps, so that what is marked with the mouse is the command."""
    return Text.assemble(" " * indent, (command, palette.COMMAND), no_wrap=True, overflow="ignore")
