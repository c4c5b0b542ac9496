"""The live view: tree, changes, work in progress, disk. Fits any terminal from 40 columns and 10 lines on."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.run import visible
from layerlog.cli.views import palette, units
from layerlog.cli.views.tables import bar
from layerlog.cli.views.text import Text
from layerlog.cli.views.tree import tree_lines
from layerlog.cli.views.who import command_of, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from rich.console import RenderableType

    from layerlog.cli.views.log import Told
    from layerlog.cli.views.told import Words
    from layerlog.cli.views.tree_rows import Row
    from layerlog.history import Commit

WORKING_MAX = 6


class Working:
    """A held lease: what is being worked on, by whom, how far it is, how fast it goes (bytes, bytes a second)."""

    __slots__ = ("id", "note", "rate", "size")

    def __init__(self, id: str, note: dict[str, Any], size: int, rate: float) -> None:
        self.id, self.note, self.size, self.rate = id, note, size, rate


class Seen:
    """One look at a store. ``room`` is the file system's size and what is free of it."""

    __slots__ = ("head", "now_ns", "room", "rows", "told", "trash", "working")

    def __init__(
        self,
        head: str,
        rows: Sequence[Row],
        told: Sequence[Told],
        working: Sequence[Working],
        room: tuple[int, int],
        trash: int,
        now_ns: int,
    ) -> None:
        self.head, self.rows, self.told, self.working = head, rows, told, working
        self.room, self.trash, self.now_ns = room, trash, now_ns


def watch_view(seen: Seen, width: int, height: int) -> RenderableType:
    """Exactly *height* lines of at most *width* columns: the newest changes and the top of the tree are what is cut last."""
    foot = [*_working(seen.working), _disk(seen, width)]
    room = max(height - 1 - len(foot) - 2, 2)
    tree = tree_lines(seen.rows, width, seen.now_ns)
    changes = [line for told in seen.told for line in _change(*told)]
    for_changes = min(max(len(changes), 1), max(room // 3, room - len(tree)))
    for_tree = room - for_changes
    if len(tree) > for_tree:
        tree = [*tree[: max(for_tree - 1, 0)], Text(f"… {len(tree) - for_tree + 1} lines more: layerlog tree", style=palette.QUIET)][
            :for_tree
        ]
    tree += [Text()] * (for_tree - len(tree))
    changes = changes[-for_changes:] or [Text("nothing has changed since you look", style=palette.QUIET)]
    changes += [Text()] * (for_changes - len(changes))
    lines = [Text(seen.head, style=palette.TITLE), *tree, _rule(width), *changes, _rule(width, " q quits "), *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    lines[-1].end = ""
    return Group(*lines[-height:])


def _rule(width: int, word: str = "") -> Text:
    return Text(f"{word:─>{max(width - 2, 0)}}──", style=palette.QUIET)


def _change(commit: Commit, words: Sequence[Words]) -> list[Text]:
    """``12  03:41:22  anna  load  + image app (6 layers)``; further things below each other."""
    head = Text.assemble((f"{commit.sequence}", palette.COMMAND), (f"  {units.clock(commit.time_ns, seconds=True)}  ", palette.QUIET))
    head.append(who(commit.envelope), style=palette.NAME)
    head.append(f"  {command_of(commit.envelope).partition(' ')[0]}  ", style=palette.QUIET)
    lines: list[Text] = []
    for sign, text in words or [("", "")]:
        lead = head if not lines else Text(" " * head.cell_len)
        lines.append(Text.assemble(lead, (sign, palette.SIGN_STYLE.get(sign, "")), f" {text}"))
    return lines


def _working(working: Sequence[Working]) -> list[Text]:
    lines = []
    for one in working[:WORKING_MAX]:
        program = f"{one.note.get('program', '?')} (PID {one.note.get('pid', '?')})"
        line = Text.assemble(("▸ ", palette.MOUNT), (units.short(one.id), ""), f"  {one.note.get('doing', '')}  ", (program, palette.QUIET))
        if one.size:
            line.append(f"  {units.size(one.size)}")
        if one.rate > 0:
            line.append(f"  {units.size(one.rate)}/s", style=palette.ADDED)
        lines.append(line)
    if len(working) > WORKING_MAX:
        lines.append(Text(f"▸ and {len(working) - WORKING_MAX} others at work", style=palette.QUIET))
    return lines


def _disk(seen: Seen, width: int) -> Text:
    total, free = seen.room
    words = f" {units.size(total - free)} of {units.size(total)} used, {units.size(free)} free"
    words += f" · trash {units.size(seen.trash)}" if seen.trash else ""
    room = max(min(width - len(words) - 6, 30), 4)
    used = bar((total - free) / total if total else 0.0, room)
    return Text.assemble("disk ", used, ("·" * max(room - used.cell_len, 0), palette.QUIET), words)


def plain_lines(commit: Commit, words: Sequence[Words]) -> Iterator[str]:
    """For pipes: everything on each line, so that grep finds whole facts."""
    for sign, text in words or [("", "")]:
        when = units.clock(commit.time_ns, seconds=True)
        yield visible(f"{commit.sequence} {when} {who(commit.envelope)} {command_of(commit.envelope)}: {sign} {text}".rstrip())
