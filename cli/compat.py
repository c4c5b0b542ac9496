"""The front door of ``containers-storage``: its flag syntax, output, streams and exit codes. Never rich.

Source: contract/cli.md §1 and §2.
"""

from __future__ import annotations

import os
import sys

from layerlog.cli.command import COMPAT, switch
from layerlog.cli.commands import find
from layerlog.cli.flags import STORE_FLAGS
from layerlog.cli.mflag import BadFlag, HelpAsked, parse
from layerlog.cli.opening import open_store
from layerlog.cli.run import Run, one_line, os_error, write
from layerlog.eventstore.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.cli.command import Command

HELP = (switch("--help", "Print usage", "help"), switch("-help", "", "old_help", COMPAT))


def main(program: str, words: list[str]) -> int:
    """Run one command line; *program* is how the user called it."""
    values: dict[str, Any] = {"argv": words, "unshare": os.geteuid() != 0}
    if not words:
        return _usage(1)
    try:
        rest = parse((*STORE_FLAGS, *HELP), words, values)
    except BadFlag as bad:
        write(sys.stderr, f"{bad}\nSee '{_called(program)} --help'.\n")
        write(sys.stdout, f"{bad} while parsing arguments (1)\n")
        return _usage(1)
    except HelpAsked:
        _usage(1)
        write(sys.stdout, "flag: help requested while parsing arguments (1)\n")
        return _usage(1)
    if values.pop("old_help"):
        write(sys.stderr, "Warning: '-help' is deprecated, it will be replaced by '--help' soon. See usage.\n")
        return _usage(0, all_on_stdout=True)
    if values.pop("help"):
        return _usage(0, all_on_stdout=True)
    if not rest:
        return _usage(1)
    command = find(rest[0], compat=True)
    if command is None:
        write(sys.stdout, f"{rest[0]}: unrecognized command.\n")
        return 1
    return _command(program, command, rest, values)


def _command(program: str, command: Command, rest: list[str], values: dict[str, Any]) -> int:
    """Parse the command's own flags, check the number of arguments, open the store, act."""
    word = rest[0]
    before = dict(values)  # what a help table shows as defaults: the values at the time the flags are declared
    flags = [flag for flag in (*command.flags, *STORE_FLAGS) if flag.door in ("both", COMPAT)]
    try:
        arguments = parse(flags, rest[1:], values)
    except BadFlag as bad:
        write(sys.stderr, f"{bad}\nSee '{_called(program)} {word} --help'.\n")
        return 125
    except HelpAsked:
        _help(command, word, before)
        return 125
    if len(arguments) < command.least:
        write(sys.stdout, f"{word}: more arguments required.\n")
        return _help(command, word, before)
    if command.most is not None and len(arguments) > command.most and not command.lax:
        write(sys.stdout, f"{word}: too many arguments ([{' '.join(arguments)}]).\n")
        return _help(command, word, before)
    run = Run(command, word, values, arguments, compat=True, opener=open_store)
    run.words = rest[1:]
    if values["unshare"]:
        from layerlog.cli.unshare import again

        try:
            status = again(run)
        except StoreError as error:
            return run.fail(str(error))
        if status is not None:
            return status
    try:
        try:
            _ = run.store if command.store else None
        except (StoreError, OSError) as error:
            write(sys.stdout, f"error initializing: {one_line(_why_not_opened(error))}\n")
            return 1
        return act(run)
    finally:
        run.close()


def _why_not_opened(error: StoreError | OSError) -> str:
    if isinstance(error, OSError):
        return os_error(error, "mkdir")
    from layerlog.drivers.choose import NAMES, DriverNotSupported

    if isinstance(error, DriverNotSupported) and error.data["driver"] not in NAMES:
        return f"failed to GetDriver graph {error.data['driver']} {error.data['root']}: driver not supported"
    return str(error)


def act(run: Run) -> int:
    """Run the command; an error is one line on stderr and status 1."""
    try:
        return run.command.action(run)
    except StoreError as error:
        return run.fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return run.fail(os_error(error))
    except ValueError as error:  # what Python says of a path with a NUL in it, before any system call
        if "null byte" not in str(error):
            raise
        return run.fail("invalid argument")


def _usage(status: int, all_on_stdout: bool = False) -> int:
    from layerlog.cli.help import compat_usage

    head, table = compat_usage()
    _two_streams(head, table, all_on_stdout)
    return status


def _help(command: Command, word: str, before: dict[str, Any]) -> int:
    from layerlog.cli.help import compat_help

    head, table = compat_help(command, word, before)
    _two_streams(head, table, False)
    return 1


def _two_streams(head: str, table: str, all_on_stdout: bool) -> None:
    write(sys.stdout, head)
    sys.stdout.flush()
    write(sys.stdout if all_on_stdout else sys.stderr, table)


def _called(program: str) -> str:
    """The program's name as typed. A script found through PATH only knows its full path: then the last part of it."""
    folder, name = os.path.split(program)
    return name if folder in os.environ.get("PATH", "").split(":") else program
