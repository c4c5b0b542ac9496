"""Help: the original's usage texts for the compat door, manual pages for people."""

from __future__ import annotations

import os

from layerlog.cli.command import COMPAT, FRIENDLY, Flag, switch
from layerlog.cli.commands import ALIASES, FRIENDLY_MODULES, every
from layerlog.cli.flags import PEOPLE_FLAGS, STORE_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from layerlog.cli.command import Command

HELP_FLAG = switch("--help", "Print usage")
FIRST = (
    ("who deleted app:1, and why?", "layerlog why-gone app:1"),
    ("what took the space since yesterday?", "layerlog df --since yesterday"),
    ("bring container web back", "layerlog restore web"),
    ("take my last change back", "layerlog undo --last 1"),
    ("what was here two hours ago?", "layerlog tree --at 2h"),
)
"""What people come with, and the command that answers it."""
GROUPS = {
    "Images in and out": "load save",
    "Look": "tree ls ps inspect df layers images containers layer image container changes diff",
    "Ask the history": "log show why-gone blame who diff-state watch",
    "Change": "commit tag untag rename rm rmi restore undo trash pin unpin create-layer create-image create-container mount unmount copy",
    "Bad days": "recover journal rebuild repair mounts",
    "Keep house": "check migrate verify compact redact gc bundle replay wipe status doctor batch compat completion prune apply man",
}
"""Friendly commands that stand in none of them are listed under ``More``."""


def compat_flags(command: Command) -> list[Flag]:
    """Flags of a command at the compat door."""
    return [flag for flag in (*command.flags, *STORE_FLAGS) if flag.door != FRIENDLY]


def friendly_flags(command: Command) -> list[Flag]:
    """Flags of a command at the friendly door. A command's own flag hides a global word of the same spelling."""
    own = [flag for flag in command.flags if flag.door != COMPAT]
    taken = {word for flag in own for word in flag.words}
    wanted = [flag for flag in (*STORE_FLAGS, *PEOPLE_FLAGS) if flag.key != "at" or command.reads]
    rest = []
    for flag in wanted:
        words = [word for word in flag.words if word not in taken]
        if words and flag.key not in {own_flag.key for own_flag in own}:
            rest.append(Flag(" ".join(words), flag.kind, flag.usage, flag.key, flag.default, flag.door))
    return own + rest


def option_table(flags: Iterable[Flag], values: dict[str, Any]) -> str:
    """Rows ``  --long, -s=VALUE   usage`` as the original's tab writer sets them, after an empty line."""
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.words[0].lstrip("-").lower()):
        value = values.get(flag.key, flag.default)
        if flag.kind == "texts":
            shown = f"=[{' '.join(value)}]"
        elif value in ("", 0, False, None):
            shown = ""
        else:
            shown = f"={str(value).lower() if flag.kind == 'switch' else value}"
        rows.append((f"  {', '.join(flag.words)}{shown}", flag.usage))
    width = max(20, max((len(left) for left, _ in rows), default=0) + 3)
    return "\n" + "".join(f"{left:<{width}} {usage}\n" for left, usage in rows)


def compat_usage() -> tuple[str, str]:
    """The global usage: what goes to stdout, and the option table (stderr, except with ``--help``)."""
    lines = ["Usage: containers-storage command [options [...]]", "", "Commands:", ""]
    lines += [f"  {command.names[0]:<30}{command.summary}" for command in every(compat=True)]
    return "\n".join([*lines, "", "Options:", ""]), option_table([*STORE_FLAGS, HELP_FLAG], {"unshare": os.geteuid() != 0})


def compat_help(command: Command, word: str, values: dict[str, Any]) -> tuple[str, str]:
    """The usage of one command: stdout part and stderr part."""
    head = f"Usage: containers-storage {word} {command.usage}\n\n{command.summary}\n\nOptions:\n"
    return head, option_table(compat_flags(command), values)


def overview() -> str:
    """``layerlog --help``."""
    by_name = {command.names[0]: command for command in every()}
    lines = [
        "layerlog stores layers, images and containers, and remembers every change.",
        "",
        "Usage: layerlog COMMAND [arguments and flags in any order]",
        "",
        *(f"  {question:<40}{command}" for question, command in FIRST),
        "",
    ]
    shown: set[str] = set()
    placed = {name for names in GROUPS.values() for name in names.split()}
    more = {"More": " ".join(name for name in FRIENDLY_MODULES if name not in placed)}
    for title, names in (GROUPS | more if more["More"] else GROUPS).items():
        lines += [title]
        for name in names.split():
            lines.append(f"  {name:<18}{by_name[name].summary}")
            shown.add(name)
        lines.append("")
    rest = [name for name in by_name if name not in shown and name not in FRIENDLY_MODULES]
    lines += ["All other commands of containers-storage, with the same flags"]
    lines += [f"  {row}" for row in _filled(rest, 76)]
    lines += ["", "Flags that every command takes"]
    lines += _flag_rows([*STORE_FLAGS, *PEOPLE_FLAGS])
    lines += ["", "layerlog COMMAND --help is the manual of a command; layerlog compat --link DIR makes a containers-storage.", ""]
    return "\n".join(lines)


def manual(command: Command) -> str:
    """``layerlog COMMAND --help``."""
    aliases = [alias for alias, name in ALIASES.items() if name == command.names[0]]
    usage = command.usage.replace("[options [...]]", "[flags]")
    lines = [f"Usage: layerlog {command.names[0]} {usage}".rstrip(), "", command.summary + "."]
    if command.about:
        lines += ["", *_paragraphs(command.about)]
    if aliases:
        lines += ["", f"Also called {', '.join(aliases)}."]
    own = [flag for flag in command.flags if flag.door != COMPAT]
    if own:
        lines += ["", "Flags", *_flag_rows(own)]
    others = [flag for flag in friendly_flags(command) if flag.key not in {flag.key for flag in own}]
    lines += ["", "Flags that every command takes", *_flag_rows(others), ""]
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    """Running text filled to 80 columns; indented lines are examples and stay as they are."""
    import textwrap

    lines: list[str] = []
    for paragraph in text.strip("\n").split("\n\n"):
        lines += [""] if lines else []
        lines += paragraph.split("\n") if paragraph.startswith("  ") else textwrap.wrap(paragraph, 80)
    return lines


def _flag_rows(flags: Iterable[Flag]) -> list[str]:
    """Two columns, the right one broken at 80."""
    import textwrap

    rows = []
    for flag in flags:
        left = "  " + ", ".join(flag.words) + {"switch": "", "number": " N"}.get(flag.kind, " VALUE")
        usage = textwrap.wrap(flag.usage, 52) or [""]
        if len(left) > 26:
            rows += [left]
            left = ""
        rows.append(f"{left:<27}{usage[0]}")
        rows += [" " * 27 + line for line in usage[1:]]
    return rows


def _filled(words: list[str], width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(" ".join(words), width, break_on_hyphens=False)
