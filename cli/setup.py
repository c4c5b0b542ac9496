"""Setting up: the ``containers-storage`` link, and completion for shells."""

from __future__ import annotations

import os
import sys

from layerlog.cli.command import FRIENDLY, Command, text
from layerlog.eventstore.errors import Conflict, InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run

SHELLS = ("bash", "zsh", "fish")


def compat(run: Run) -> int:
    """Make DIR/containers-storage. Everything else after ``compat`` never comes here (see main.py)."""
    folder = run["link"]
    if not folder:
        raise InvalidRequest("give --link DIR, or a command of containers-storage")
    path = os.path.join(folder, "containers-storage")
    if os.path.lexists(path) and not _ours(path):
        raise Conflict(f"{path} exists and is not ours; it stays as it is")
    os.makedirs(folder, exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    program = executable()
    if program:
        os.symlink(program, path)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(wrapper())
        os.chmod(path, 0o755)
    run.out(path)
    return 0


_MARK = "# made by layerlog compat --link"


def _ours(path: str) -> bool:
    """A link to a layerlog, or our wrapper."""
    if os.path.islink(path):
        return os.path.basename(os.readlink(path)).startswith("layerlog")
    try:
        with open(path, "rb") as file:
            return _MARK.encode() in file.read(4096)
    except OSError:
        return False


def executable() -> str:
    """The program file that runs, if it is one that can be linked to; empty under ``python -m layerlog``."""
    program = os.path.abspath(sys.argv[0])
    fits = os.path.basename(program).startswith("layerlog") and os.path.isfile(program) and os.access(program, os.X_OK)
    return os.path.realpath(program) if fits else ""


def wrapper() -> str:
    """A shell script that does the same where no program file can be linked to."""
    import shlex

    import layerlog

    folder = os.path.dirname(os.path.dirname(os.path.abspath(layerlog.__file__)))
    paths = f"PYTHONPATH={shlex.quote(folder)}${{PYTHONPATH:+:$PYTHONPATH}} "
    return f'#!/bin/sh\n{_MARK}\n{paths}exec {shlex.quote(sys.executable)} -m layerlog compat "$@"\n'


def completion(run: Run) -> int:
    """A script for the shell."""
    from layerlog.cli.completion import script

    shell = run.argument(0)
    if shell not in SHELLS:
        raise InvalidRequest(f"no completion for {shell[:40]!r}: {', '.join(SHELLS)}")
    run.out(script(shell), end="")
    return 0


def man(run: Run) -> int:
    """A page per command, into a folder."""
    from layerlog.cli.man import pages

    folder = run.argument(0)
    os.makedirs(folder, exist_ok=True)
    number = 0
    for name, page in pages():
        number += 1
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(page)
    run.say(f"{number} pages in {folder}")
    return 0


COMMANDS = (
    Command(
        "compat",
        compat,
        "Be containers-storage: its syntax, output and exit codes",
        "--link DIR | COMMAND...",
        door=FRIENDLY,
        store=False,
        flags=(text("--link", "Make DIR/containers-storage, a link to this program"),),
        about="""layerlog compat COMMAND... reads flags as containers-storage does, prints what it prints and ends as it ends.
A program of the name containers-storage that is a link to layerlog does the same:

  layerlog compat --link ~/bin""",
    ),
    Command(
        "completion",
        completion,
        "Print completion for bash, zsh or fish",
        "SHELL",
        least=1,
        most=1,
        door=FRIENDLY,
        store=False,
        about="""  layerlog completion bash > ~/.local/share/bash-completion/completions/layerlog
  layerlog completion zsh > "${fpath[1]}/_layerlog"
  layerlog completion fish > ~/.config/fish/completions/layerlog.fish""",
    ),
    Command(
        "man",
        man,
        "Write the manual pages into a folder",
        "DIR",
        least=1,
        most=1,
        door=FRIENDLY,
        store=False,
        about="""A page for the program and one for each command, from the same words as --help.

  layerlog man ~/.local/share/man/man1
  man layerlog-prune""",
    ),
)
