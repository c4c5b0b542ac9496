"""The plan of an undo: what was done, what will be done about it, what stands in the way."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.views import palette, units
from layerlog.cli.views.text import Text
from layerlog.cli.views.who import command_of, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from layerlog.cli.views.log import Told
    from layerlog.cli.views.told import Words

COMMITS_SHOWN = 10


def plan_view(told: Sequence[Told], words: Sequence[Words], conflicts: Sequence[tuple[int, str]], now_ns: int) -> RenderableType:
    """*told* are the commits to undo, newest first; *words* what the undo changes."""
    lines = [Text(f"Undoing {units.count(len(told), 'commit')}:", style=palette.TITLE)]
    for commit, said in told[:COMMITS_SHOWN]:
        head = Text.assemble((f"  {commit.sequence}", palette.COMMAND), "  ", (who(commit.envelope), palette.NAME))
        head.append(f"  {command_of(commit.envelope)}  {units.age(commit.time_ns, now_ns)}", style=palette.QUIET)
        lines += [_one_line(head), *(_told(sign, text, 6) for sign, text in said)]
    if len(told) > COMMITS_SHOWN:
        lines.append(Text(f"  … and {len(told) - COMMITS_SHOWN:,} older", style=palette.QUIET))
    if words:
        lines += [Text(), Text("That does:" if not conflicts else "That would do:", style=palette.TITLE)]
        lines += [_told(sign, text, 2) for sign, text in words]
    if conflicts:
        lines += [Text(), Text("It cannot be done, and nothing was changed:", style=palette.TITLE)]
        lines += [Text(f"  ✗ commit {sequence}: {why}", style=palette.REMOVED) for sequence, why in conflicts]
    return Group(*lines)


def _told(sign: str, text: str, indent: int) -> Text:
    return _one_line(Text.assemble(" " * indent, (sign, palette.SIGN_STYLE.get(sign, "")), " ", text))


def _one_line(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
