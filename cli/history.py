"""Ask the history: ``show``, ``why-gone``; and what all such questions share."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.cli.gojson import Fields
    from layerlog.cli.run import Run
    from layerlog.cli.views.told import Teller
    from layerlog.history import Commit


def teller_at(run: Run, sequence: int) -> Teller:
    """A teller that knows, when it needs it, what anything was called and how big it was after that commit."""
    from layerlog.cli.views.told import Teller

    if not sequence:
        return Teller()
    with run.store.at(sequence).reading() as rows:  # of the past: they stand still afterwards, too
        return Teller(rows)


def commit_json(commit: Commit) -> Fields:
    """One commit as the journal has it."""
    from layerlog.cli.gojson import Fields, time

    fields = [("sequence", commit.sequence), ("time", time(commit.time_ns)), ("envelope", commit.envelope), ("events", commit.events)]
    return Fields([*fields, ("size", commit.size)])


def show_commit(run: Run) -> int:
    """One commit, whole."""
    import json
    import sys

    from layerlog.cli.gojson import encode

    for asked in run.arguments:
        commit = run.store.commit_at(run.store.sequence_at(asked))
        line = encode(commit_json(commit))
        if run.json or not sys.stdout.isatty():
            run.out(line)
        else:
            run.out(json.dumps(json.loads(line), indent=2, ensure_ascii=False))
    return 0


def why_gone(run: Run) -> int:
    """What became of it."""
    import time

    asked = run.argument(0)
    if not asked:
        raise InvalidRequest("an empty word names nothing")
    if run.store.exists(asked) and not run.json:
        return _not_gone(run, asked)
    gone = run.store.why_gone(asked)
    restore = restore_command(run, *gone.words)
    if run.json:
        run.out_json(_gone_json(gone, restore))
        return 0
    from layerlog.cli.views.gone import gone_view
    from layerlog.cli.views.show import show

    until = gone.time_ns + int(run.store.retention_seconds * 1e9)
    show(gone_view(gone, time.time_ns(), restore, until))
    return 0


def _not_gone(run: Run, asked: str) -> int:
    found = run.store.item(asked)
    run.out(f"{found.kind.capitalize()} {asked} ({found.id[:12]}) is not gone: layerlog inspect {asked} shows it.")
    return 0


def restore_command(run: Run, *words: str) -> str:
    """What brings it back, exactly."""
    return same_store(run, "restore", *words)


def same_store(run: Run, *command: str) -> str:
    """A command to type, with the flags that find this store again."""
    from layerlog.cli.views.who import shell_word

    words = ["layerlog"]
    for flag, key in (("--graph", "graph"), ("--run", "run"), ("--storage-driver", "storage_driver")):
        if run.values.get(key):
            words += [flag, run.values[key]]
    return " ".join(map(shell_word, [*words, *command]))


def _gone_json(gone: Any, restore: str) -> Fields:
    from layerlog.cli.gojson import Fields, time

    fields: list[tuple[str, Any]] = [("kind", gone.kind), ("id", gone.id), ("names", gone.names), ("sequence", gone.sequence)]
    fields += [
        ("time", time(gone.time_ns)),
        ("envelope", gone.envelope),
        ("with", [{"kind": kind, "id": one} for kind, one in gone.with_it]),
    ]
    fields += [("can_return", gone.can_return), ("why_not", gone.why_not), ("command", restore if gone.can_return else "")]
    return Fields(fields)


COMMANDS = (
    Command(
        "show",
        show_commit,
        "Show one commit, whole",
        "N...",
        least=1,
        door=FRIENDLY,
        about="""N is a commit number (or any point in time: its last commit). JSON: who, when, which command,
the events as the journal has them.""",
    ),
    Command(
        "why-gone",
        why_gone,
        "Tell who deleted something, why, and how it comes back",
        "X",
        least=1,
        most=1,
        door=FRIENDLY,
        about="""X is an ID, a prefix of one, or a name that it had. Tells what was deleted, when, by whom, with which command and
for what reason, what went with it, whether it can come back, and the command that brings it.""",
    ),
)
