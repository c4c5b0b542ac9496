"""``batch``: many commands, one process, one open store."""

from __future__ import annotations

import sys

from layerlog.cli.command import FRIENDLY, Command, switch, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.core import Terms


def batch(run: Run) -> int:
    """Run the lines of a file or stdin as command lines; status 1 if any failed."""
    from layerlog.cli.run import file_or_stdin

    status = 0
    with file_or_stdin(run["file"]) as lines:
        for number, raw in enumerate(lines, 1):
            line = raw.decode("utf-8", "surrogateescape").strip("\r\n")
            failed = _line(run, line, number) if line.strip() and not line.lstrip().startswith("#") else 0
            status = 1 if failed else status
            if failed and run["stop"]:
                break
            if not run["file"]:
                sys.stdout.flush()
    return status


def _line(run: Run, line: str, number: int) -> int:
    """One line: parsed like a shell's words, run on the store that is open."""
    import shlex

    from layerlog.cli import friendly
    from layerlog.cli.commands import find

    try:
        words = shlex.split(line)
    except ValueError as broken:
        return friendly.complain(f"line {number}: {str(broken).lower()}")
    command = find(words[0])
    if command is None or command.names[0] in ("batch", "compat", "unshare"):
        return friendly.complain(f"line {number}: {words[0][:40]!r} is not a command of batch")
    values = {key: value for key, value in run.values.items() if key not in ("file", "stop")}
    prepared = friendly.prepare(command, words, values, lambda inner: run.store)
    if isinstance(prepared, int):
        return prepared
    outer = run.store.terms
    run.store.terms = terms_of(run, prepared)
    try:
        return friendly.act(prepared)
    finally:
        run.store.terms = outer


def terms_of(run: Run, inner: Run) -> Terms:
    """The envelope of one line: its own command, arguments, reason and key."""
    from layerlog.cli.opening import shown

    changed = {"command": inner.word, "arguments": shown(inner.words)}
    changed |= {name: inner[name] for name in ("actor", "reason") if inner[name]}
    other = run.store.on_terms(**changed)
    other.terms.key = inner["key"] or None
    return other.terms


COMMANDS = (
    Command(
        "batch",
        batch,
        "Run many commands from a file or stdin",
        "",
        most=0,
        door=FRIENDLY,
        flags=(text("--file -f", "Read commands from file instead of stdin"), switch("--stop -x", "Stop at the first command that fails")),
        about="""One command a line, quoted as for a shell; empty lines and lines that begin with # are skipped. One process and one
open store serve all of them: thousands of look-ups in a second. Each change is a commit of its own, durable
before the next line runs. The status is 1 if any line failed.

  printf 'exists base\\ncreate-layer -n work base\\n' | layerlog batch""",
    ),
)
