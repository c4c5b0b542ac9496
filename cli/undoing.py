"""Take commits back, and keep things from deletion."""

from __future__ import annotations

import sys

from layerlog.cli.command import FRIENDLY, Command, number, switch, text
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.undoing import UndoPlan


def undo(run: Run) -> int:
    """Say what would happen, then undo commits as one commit."""
    sequence = run.store.sequence_at(run.argument(0)) if run.arguments else None
    if sum((sequence is not None, bool(run["last"]), bool(run["by"]))) != 1:
        raise InvalidRequest("give one of: a commit, --last N, --by ACTOR")
    plan = run.store.plan_undo(sequence, last=run["last"], by=run["by"])
    if run["plan"] or plan.conflicts:
        _tell(run, plan)
        return 1 if plan.conflicts else 0
    if not run.json:
        _tell(run, plan)
        if not run["yes"] and sys.stdin.isatty() and sys.stdout.isatty() and not agreed():
            return run.fail("nothing was changed")
    done = run.store.given(expected=plan.planned_on).undo(sequence, last=run["last"], by=run["by"])
    if run.json:
        run.out_json({"sequence": done.sequence, "undoes": [commit.sequence for commit in plan.commits], "events": done.events})
    elif not done.events:
        run.out("nothing to undo: it is as it was")
    else:
        from layerlog.cli.history import same_store

        run.out(f"done, in commit {done.sequence}; {same_store(run, 'undo', str(done.sequence))} takes that back")
    return 0


def agreed() -> bool:
    """A person at a terminal is asked once."""
    try:
        return input("Go ahead? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _tell(run: Run, plan: UndoPlan) -> None:
    """The plan: commits that would be undone, newest first, what that changes, and what stands in the way."""
    if run.json:
        conflicts = [{"sequence": sequence, "why": why} for sequence, why in plan.conflicts]
        run.out_json({"undoes": [commit.sequence for commit in plan.commits], "events": plan.events, "conflicts": conflicts})
        return
    import time

    from layerlog.cli.history import teller_at
    from layerlog.cli.views.show import show
    from layerlog.cli.views.undoing import COMMITS_SHOWN, plan_view

    near = plan.commits[:COMMITS_SHOWN]
    told = [(commit, teller_at(run, commit.sequence - 1).tell(commit.events) if commit in near else []) for commit in plan.commits]
    show(plan_view(told, teller_at(run, plan.planned_on).tell(plan.events), plan.conflicts, time.time_ns()))


def pin(run: Run) -> int:
    """Keep from deletion."""
    for asked in run.arguments:
        run.store.pin(asked, run["word"])
    return 0


def unpin(run: Run) -> int:
    """Let go."""
    for asked in run.arguments:
        run.store.unpin(asked, run["word"])
    return 0


_WORD = text("--word -w", "The pin's own word, so that several may hold one thing", default="pinned")

COMMANDS = (
    Command(
        "undo",
        undo,
        "Take changes back",
        "[N]",
        most=1,
        door=FRIENDLY,
        flags=(
            number("--last -l", "The newest N changes"),
            text("--by", "All changes of that actor or program"),
            switch("--plan -p", "Only say what would happen"),
            switch("--yes -y", "Do not ask (nobody is asked off a terminal)"),
        ),
        about="""N is a commit number. Names, metadata and data items come back as they were, and within retention what was
deleted, with its contents. First says what will be done; all or nothing, and what stands in the way is named.
An undo is a change and can be undone.

  layerlog undo --last 3 --plan""",
    ),
    Command(
        "pin",
        pin,
        "Keep something from deletion",
        "X...",
        least=1,
        door=FRIENDLY,
        flags=(_WORD,),
        about="What is pinned, and what it needs, is neither deleted nor freed until the same word unpins it.",
    ),
    Command(
        "unpin", unpin, "Let something pinned go", "X...", least=1, door=FRIENDLY, flags=(_WORD,), about="Takes the pin of that word away."
    ),
)
