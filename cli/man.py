"""Manual pages in roff, from the same data as ``--help``: a page for the program, one for each command (man(7))."""

from __future__ import annotations

from layerlog.cli.command import COMPAT, Command
from layerlog.cli.commands import ALIASES, FRIENDLY_MODULES, every
from layerlog.cli.flags import PEOPLE_FLAGS, STORE_FLAGS
from layerlog.cli.help import GROUPS, friendly_flags
from layerlog.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layerlog.cli.command import Flag

_OWN_ERROR = "0 when done; 1 when it failed, or one of several arguments did; 125 for a usage error."


def pages() -> Iterator[tuple[str, str]]:
    """(file name, contents) of every page."""
    commands = every()
    yield "layerlog.1", _overview(commands)
    for command in commands:
        yield f"layerlog-{command.names[0]}.1", _page(command)


def _page(command: Command) -> str:
    name = f"layerlog-{command.names[0]}"
    lines = [_title(name), ".SH NAME", f"{_text(name)} \\- {_text(_lower(command.summary))}", ".SH SYNOPSIS"]
    lines += [f".B layerlog {_text(command.names[0])}", f"{_text(command.usage.replace('[options [...]]', '[flags]'))}"]
    lines += [".SH DESCRIPTION", *_about(command.about or command.summary + ".")]
    aliases = [alias for alias, called in ALIASES.items() if called == command.names[0]]
    if aliases:
        lines += [".PP", _text(f"Also called {', '.join(aliases)}.")]
    own = [flag for flag in command.flags if flag.door != COMPAT]
    lines += [".SH OPTIONS", *_flags(own)] if own else []
    others = [flag for flag in friendly_flags(command) if flag.key not in {flag.key for flag in own}]
    lines += [".SH OPTIONS THAT EVERY COMMAND TAKES", *_flags(others)]
    return "\n".join([*lines, ".SH EXIT STATUS", _text(_OWN_ERROR), ".SH SEE ALSO", ".BR layerlog (1)", ""])


def _overview(commands: list[Command]) -> str:
    by_name = {command.names[0]: command for command in commands}
    lines = [_title("layerlog"), ".SH NAME", "layerlog \\- store layers, images and containers, and remember every change"]
    lines += [".SH SYNOPSIS", ".B layerlog", "COMMAND [arguments and flags in any order]"]
    lines += [".SH DESCRIPTION", *_about(_ABOUT), ".SH COMMANDS"]
    shown: set[str] = set()
    placed = {name for names in GROUPS.values() for name in names.split()}
    more = " ".join(name for name in FRIENDLY_MODULES if name not in placed)
    for title, names in [*GROUPS.items(), *([("More", more)] if more else [])]:
        lines += [f".SS {_text(title)}"]
        for name in names.split():
            lines += [".TP", f".BR layerlog\\-{_text(name)} (1)", _text(by_name[name].summary + ".")]
            shown.add(name)
    rest = [name for name in by_name if name not in shown]
    lines += [".SS Also, as in containers\\-storage"]
    for name in rest:
        lines += [".TP", f".BR layerlog\\-{_text(name)} (1)", _text(by_name[name].summary + ".")]
    lines += [".SH OPTIONS THAT EVERY COMMAND TAKES", *_flags([*STORE_FLAGS, *PEOPLE_FLAGS]), ".SH ENVIRONMENT"]
    for name, meaning in _ENVIRONMENT.items():
        lines += [".TP", f".B {_text(name)}", _text(meaning)]
    lines += [".SH FILES"]
    for name, meaning in _FILES.items():
        lines += [".TP", f".I {_text(name)}", _text(meaning)]
    return "\n".join([*lines, ".SH EXIT STATUS", _text(_OWN_ERROR), ""])


_ABOUT = """layerlog stores file-system layers, container images and containers. Every change is one record in a journal that is synced
before it is acknowledged: a kill or a power cut leaves each change done or not done, and what was deleted can come back.

Called by the name containers-storage (a link that layerlog compat --link DIR makes), or as layerlog compat, it takes the
arguments of containers-storage, and prints and ends as that does."""

_ENVIRONMENT = {
    "LAYERLOG_ROOT, LAYERLOG_RUN_ROOT": "Roots, where no flag gives them.",
    "LAYERLOG_ACTOR, LAYERLOG_REASON": "Who does this, and why, in the history.",
    "LAYERLOG_RETENTION": "How long deleted contents can come back: 24h, 7d, 0.",
    "CONTAINERS_STORAGE_CONF": "The configuration file, instead of those below.",
    "STORAGE_DRIVER, STORAGE_OPTS": "Driver and options, where no flag gives them.",
    "NO_COLOR": "No colours, whatever the terminal.",
}
_FILES = {
    "~/.config/layerlog/storage.conf, /etc/layerlog/storage.conf": "Configuration, in the form of containers-storage.conf(5).",
    "/var/lib/layerlog, ~/.local/share/layerlog": "The store, where nothing else is said: of root, and of others.",
}


def _title(name: str) -> str:
    return f'.TH {_text(name).upper()} 1 "" "layerlog {_text(__version__)}" "layerlog"'


def _lower(summary: str) -> str:
    return summary[0].lower() + summary[1:]


def _about(about: str) -> list[str]:
    """Paragraphs; indented lines are examples and stay as they are."""
    lines: list[str] = []
    for paragraph in about.strip("\n").split("\n\n"):
        if paragraph.startswith("  "):
            lines += [".PP", ".nf", ".RS 4", *(_text(line.removeprefix("  ")) for line in paragraph.split("\n")), ".RE", ".fi"]
        else:
            lines += [".PP", *(_text(line) for line in paragraph.split("\n"))]
    return lines


def _flags(flags: Iterable[Flag]) -> list[str]:
    lines = []
    for flag in flags:
        value = {"switch": "", "number": " \\fIN\\fR"}.get(flag.kind, " \\fIVALUE\\fR")
        lines += [".TP", ", ".join(f"\\fB{_text(word)}\\fR" for word in flag.words) + value, _text(flag.usage + ".")]
    return lines


def _text(text: str) -> str:
    """One line that roff takes as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + escaped if escaped.startswith(".") else escaped
