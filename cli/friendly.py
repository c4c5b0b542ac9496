"""The front door ``layerlog``: flags anywhere, help on stdout, errors on stderr as one line and a hint."""

from __future__ import annotations

import sys

from layerlog.cli.commands import find
from layerlog.cli.flags import PEOPLE_FLAGS, STORE_FLAGS
from layerlog.cli.mflag import BadFlag, HelpAsked, parse, parse_anywhere
from layerlog.cli.opening import open_store
from layerlog.cli.run import Run, one_line, os_error, write
from layerlog.eventstore.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog.cli.command import Command
    from layerlog.store import Store

USAGE_STATUS = 125
"""A usage error, as in the original and in podman."""


def main(words: list[str]) -> int:
    """Run one command line."""
    values: dict[str, Any] = {"argv": words}
    try:
        rest = parse((*STORE_FLAGS, *PEOPLE_FLAGS), words, values)
    except BadFlag as bad:
        if words[:1] in (["--version"], ["-V"]):
            return version()
        return usage_error(str(bad), "layerlog --help lists commands and flags")
    except HelpAsked:
        return overview()
    if not rest or rest == ["help"]:
        return overview() if rest else overview(1)
    if rest[0] == "help":
        rest = [rest[1], "--help"]
    command = find(rest[0])
    if command is None:
        return unknown(rest[0])
    return run_words(command, rest, values, open_store)


def run_words(command: Command, rest: list[str], values: dict[str, Any], opener: Callable[[Run], Store]) -> int:
    """Parse the words after the command and run it with a store from *opener*."""
    run = prepare(command, rest, values, opener)
    if isinstance(run, int):
        return run
    try:
        if values["unshare"] and "argv" in values:
            from layerlog.cli.unshare import again

            if (status := again(run)) is not None:
                return status
        return act(run)
    finally:
        run.close()


def prepare(command: Command, rest: list[str], values: dict[str, Any], opener: Callable[[Run], Store]) -> Run | int:
    """A Run that is ready to act, or the exit status of help or of a usage error."""
    flags = _flags(command)
    try:
        arguments = parse_anywhere(flags, rest[1:], values)
    except HelpAsked:
        from layerlog.cli.help import manual

        write(sys.stdout, manual(command))
        return 0
    except BadFlag as bad:
        return usage_error(f"{rest[0]}: {bad}", f"layerlog {command.names[0]} --help lists its flags")
    if len(arguments) < command.least:
        return usage_error(f"{rest[0]}: more arguments required", f"usage: layerlog {command.names[0]} {command.usage}")
    if command.most is not None and len(arguments) > command.most:
        return usage_error(f"{rest[0]}: too many arguments", f"usage: layerlog {command.names[0]} {command.usage}")
    run = Run(command, command.names[0], values, arguments, compat=False, opener=opener)
    run.words = rest[1:]
    return run


def _flags(command: Command) -> list[Any]:
    """The command's own flags first; a later entry of the same word would hide them."""
    people = [flag for flag in PEOPLE_FLAGS if flag.key != "at" or command.reads]
    return [*STORE_FLAGS, *people, *(flag for flag in command.flags if flag.door != "compat")]


def act(run: Run) -> int:
    """Run the command; an error is one line on stderr, and a hint where there is one."""
    try:
        return run.command.action(run)
    except StoreError as error:
        return complain(str(error), error.advice(), error.exit_code)
    except BrokenPipeError:
        raise
    except OSError as error:
        return complain(os_error(error))
    except ValueError as error:  # what Python says of a path with a NUL in it, before any system call
        if "null byte" not in str(error):
            raise
        return complain("a path has no NUL byte")


def complain(message: str, hint: str = "", status: int = 1) -> int:
    """One line, a hint line, an exit status."""
    sys.stdout.flush()
    write(sys.stderr, f"layerlog: {one_line(message)}\n")
    if hint:
        write(sys.stderr, f"  hint: {one_line(hint)}\n")
    return status


def usage_error(message: str, hint: str) -> int:
    """Complain about the command line."""
    return complain(message, hint, USAGE_STATUS)


def unknown(word: str) -> int:
    """Complain about a command that is none, and name the nearest."""
    from difflib import get_close_matches

    from layerlog.cli.commands import ALIASES, FRIENDLY_MODULES, MODULES

    near = get_close_matches(word[:40], [*MODULES, *FRIENDLY_MODULES, *ALIASES], 1)
    hint = f"did you mean {near[0]}?" if near else "layerlog --help lists them"
    return usage_error(f"{word[:40]!r} is not a command", hint)


def overview(status: int = 0) -> int:
    """The list of commands: on stdout when asked for, on stderr when nothing was asked."""
    from layerlog.cli.help import overview as text

    write(sys.stderr if status else sys.stdout, text())
    return USAGE_STATUS if status else 0


def version() -> int:
    """``layerlog --version``."""
    from layerlog.version import __version__

    write(sys.stdout, f"layerlog {__version__}\n")
    return 0
