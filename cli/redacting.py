"""``redact``: take the words out of old commits. Says first what goes for ever and what stays."""

from __future__ import annotations

import sys

from layerlog.cli.command import FRIENDLY, Command, switch
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.history import Commit


def redact(run: Run) -> int:
    """Plan, ask, do."""
    sequences = [_number(word) for word in run.arguments]
    planned = run.store.plan_redaction(*sequences)
    if run.json:
        done = [] if run["plan"] or not planned else run.store.redact(*sequences)
        run.out_json({"commits": [commit.sequence for commit in planned], "redacted": done, "sequence": run.store.sequence if done else 0})
        return 0
    if not planned:
        run.out("nothing to redact: their words are gone already")
        return 0
    _tell(run, planned)
    if run["plan"]:
        return 0
    if not run["yes"] and sys.stdin.isatty() and sys.stdout.isatty():
        from layerlog.cli.undoing import agreed

        if not agreed():
            return run.fail("nothing was changed")
    done = run.store.redact(*sequences)
    from layerlog.cli.views.units import count

    run.out(f"{count(len(done), 'commit')} redacted; commit {run.store.sequence} says so, and by whom")
    return 0


def _number(word: str) -> int:
    """Exactly one commit: what goes for good is not chosen by an age."""
    if not word.isascii() or not word.isdigit():
        raise InvalidRequest(f"{word!r} is no commit number: layerlog log shows them")
    return int(word)


def _tell(run: Run, planned: list[Commit]) -> None:
    import time

    from layerlog.cli.history import teller_at
    from layerlog.cli.views.redacting import redaction_view
    from layerlog.cli.views.show import show

    told = [(commit, teller_at(run, commit.sequence - 1).tell(commit.events)) for commit in planned]
    show(redaction_view(told, time.time_ns()))


COMMANDS = (
    Command(
        "redact",
        redact,
        "Take the words out of old commits, for ever",
        "COMMIT...",
        least=1,
        door=FRIENDLY,
        flags=(
            switch("--plan -p", "Only say what would happen"),
            switch("--yes -y", "Do not ask (nobody is asked off a terminal)"),
        ),
        about="""For what should never have been written down: a password in a name or in metadata. COMMIT is a number that
`layerlog log` shows; a word may stand in several, also in arguments: `layerlog log --all --json` shows all of each.

Gone for ever, from the journal and from all that is made of it: names, metadata and flags that the commit gave, and
who made it (user, program, host, actor, arguments, reason); a placeholder (r4711-1) stands in their place, also in the past and
in what still has them today, so give that its new name or text first. What stays: the commit's number, time, command and
place in the hash chain (`layerlog verify` goes on proving it), IDs, digests, sizes, pins, client keys, labels of mounts.
A commit of its own says which were redacted, when and by whom; nothing undoes it.

Not touched: contents of layers and data items (`set-image-data`, `rmi`), and what was copied out before: bundles, exports, backups.
Commits that `layerlog compact` has folded away are refused: their base is proven by its hash.

  layerlog redact 4711 --plan""",
    ),
)
