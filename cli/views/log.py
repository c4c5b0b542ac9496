"""``log``: commits by day, each with who, how, and what changed in words."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.views import palette, units
from layerlog.cli.views.text import Text
from layerlog.cli.views.who import command_of, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from layerlog.cli.views.told import Words
    from layerlog.history import Commit

Told = tuple["Commit", list["Words"]]


def log_view(
    commits: Sequence[Told],
    width: int,
    now_ns: int,
    lanes: dict[int, tuple[str, str]] | None = None,
    stats: dict[int, str] | None = None,
) -> RenderableType:
    """Commits in the given order at *width* columns. *lanes* and *stats* by commit: see log_extras.py."""
    lines: list[Text] = []
    last_day = ""
    digits = max((len(str(commit.sequence)) for commit, _ in commits), default=1)
    for commit, words in commits:
        on = units.day(commit.time_ns)
        if on != last_day:
            lines += ([Text()] if lines else []) + [_day(on, commit.time_ns, now_ns), Text()]
            last_day = on
        found = _commit(commit, words, digits)
        if stats is not None:
            found.append(Text.assemble(" " * (digits + 9), (stats[commit.sequence], palette.QUIET)))
        if lanes is not None:
            first, further = lanes[commit.sequence]
            found = [Text.assemble((first if place == 0 else further, palette.LANE), "  ", line) for place, line in enumerate(found)]
        lines += _cut(found, width)
    return Group(*lines)


def _day(on: str, time_ns: int, now_ns: int) -> Text:
    word = {units.day(now_ns): " · today", units.day(now_ns - 86400 * 10**9): " · yesterday"}.get(on, "")
    return Text(on + word, style=palette.TITLE)


def _commit(commit: Commit, words: list[Words], digits: int) -> list[Text]:
    """A head line, and a line for each thing that changed."""
    indent = digits + 9
    head = Text.assemble(
        (f"{commit.sequence:>{digits}}", palette.COMMAND),
        (f"  {units.clock(commit.time_ns)}  ", palette.QUIET),
        (who(commit.envelope), palette.NAME),
        "  ",
        (command_of(commit.envelope), palette.QUIET),
    )
    lines = [head]
    if reason := commit.envelope.get("reason"):
        lines.append(Text.assemble(" " * indent, (f"“{reason}”", "italic")))
    for sign, text in words:
        lines.append(Text.assemble(" " * indent, (sign, palette.SIGN_STYLE.get(sign, "")), " ", text))
    return lines


def _cut(lines: list[Text], width: int) -> list[Text]:
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return lines
