"""From a renderable to stdout: the one place that knows the terminal."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from layerlog.cli.views.text import Text

PLAIN_WIDTH = 160
"""Columns where there is no terminal: wide enough that nothing is cut, narrow enough to read."""


def console(error: bool = False) -> Console:
    """A console on stdout or stderr: colours only on a terminal and without NO_COLOR, never markup or highlighting."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def show(renderable: RenderableType) -> None:
    """Print one renderable on stdout, without blanks at the ends of lines where it is no terminal.

    Lines that are longer than the terminal (see advice.py) are left to it, not cut.
    """
    target = console()
    if target.is_terminal:
        target.print(renderable, crop=False)
        return
    from rich.segment import Segment

    for line in Segment.split_lines(target.render(renderable)):
        sys.stdout.write("".join(segment.text for segment in line).rstrip() + "\n")


def show_lines(lines: Iterable[Text]) -> None:
    """Print lines as they come; long ones are not broken."""
    target = console()
    for line in lines:
        target.print(line, soft_wrap=True)


def width() -> int:
    """Columns of the console on stdout."""
    return console().width
