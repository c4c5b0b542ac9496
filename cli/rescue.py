"""The worst day: ``recover``, ``rebuild``, ``repair``. Each says what it will do before it does it, and what to run next."""

from __future__ import annotations

from contextlib import suppress

from layerlog.cli.command import FRIENDLY, JSON, Command, switch, texts
from layerlog.eventstore.errors import InvalidRequest, JournalError, JournalMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run
    from layerlog.mending import Mending

YES = switch("--yes -y", "Do it; without this flag the plan is all")


def where(run: Run) -> tuple[str, str, str]:
    """Root, run root and driver that the flags mean; opens nothing."""
    return _places(run)[0]


def plan_for(run: Run, plan: Callable[[str, str, str], Mending]) -> Mending:
    """The plan for the root; for the image root of a split store where the root's own journal needs, or takes, none."""
    place, *others = _places(run)
    try:
        found = plan(*place)
    except InvalidRequest:
        for other in others:
            with suppress(InvalidRequest):
                return plan(*other)
        raise
    if found.whole and others:
        with suppress(InvalidRequest):  # nothing is there yet
            return plan(*others[0])
    return found


def _places(run: Run) -> list[tuple[str, str, str]]:
    from layerlog.cli.config import settle

    settings = settle(run.values, compat=False)
    roots = [settings.root, settings.image_store] if settings.image_store else [settings.root]
    return [(root, settings.run_root, settings.driver) for root in roots]


def plan_or_do(run: Run, found: Mending, itself: str) -> int:
    """Print a plan; with --yes carry it out. Always ends with the next command."""
    from layerlog.mending import mend

    lines = found.lines()
    done = 0
    if run["yes"] and not found.whole:
        done = mend(found, actor=run.values.get("actor") or "", reason=run.values.get("reason") or "", command=itself)
    following = "layerlog check" if done or found.whole else f"layerlog {itself} --yes"
    if run.json:
        run.out_json({"plan": lines, "done": bool(done), "whole": found.whole, "next": following})
        return 0
    for line in lines:
        run.out(line)
    if done:
        run.out(f"done: the journal ends with commit {done}; what was there before is kept in {found.folder}/quarantine")
    elif found.whole:
        run.out("nothing to mend")
    else:
        run.out("nothing was changed yet")
    run.out(f"next: {following}")
    return 0


def rebuild(run: Run) -> int:
    """The journal is gone: adopt what the drivers hold."""
    from layerlog.rescuing import plan_rebuild

    return plan_or_do(run, plan_for(run, plan_rebuild), "rebuild")


def recover(run: Run) -> int:
    """Settle everything that a crash left; say what to do about what that does not settle."""
    from layerlog.recovering import later_than_the_journal, recover_all

    try:
        store = run.store
    except JournalMissing as missing:
        return _ended(run, [str(missing)], "layerlog rebuild")
    except (JournalError, FileNotFoundError) as unreadable:
        return _ended(run, [str(unreadable)], "layerlog journal salvage")
    did, following = [], "layerlog check"
    for half in reversed(store.halves):
        did += recover_all(half, do=not run["plan"])
        if half.ledger.has_damage() or later_than_the_journal(half):
            following = "layerlog journal salvage"
    return _ended(run, did, following, "nothing was left to settle", status=0)


def _ended(run: Run, lines: list[str], following: str, otherwise: str = "", status: int = 1) -> int:
    if run.json:
        run.out_json({"did": lines, "next": following})
        return status
    for line in lines or [otherwise]:
        run.out(line)
    run.out(f"next: {following}")
    return status


def repair(run: Run) -> int:
    """Fetch again what is damaged."""
    from layerlog.repairing import plan_repair

    halves = run.store.halves
    plans = [plan_repair(half, list(run["from"]), run.arguments, give_up=run["give_up"]) for half in halves]
    if run["yes"] and not run["plan"]:
        for half, found in zip(halves, plans, strict=True):
            found.carry_out(half)
    given = " --give-up" if run["give_up"] else ""
    given += "".join(f" --from {one}" for one in run["from"]) + "".join(f" {one}" for one in run.arguments)
    following = max((found.next_command(bool(run["yes"]) and not run["plan"], given) for found in plans), key=_urgency)
    lines = [line for found in plans if found.steps or found.left for line in found.lines()] or plans[0].lines()
    left = [one for found in plans for one in found.left]
    if run.json:
        run.out_json({"plan": lines, "done": bool(run["yes"]), "left": left, "next": following})
        return 1 if left else 0
    for line in lines:
        run.out(line)
    if not run["yes"] and any(found.steps for found in plans):
        run.out("nothing was changed yet")
    run.out(f"next: {following}")
    return 1 if left else 0


def _urgency(command: str) -> int:
    """Of two halves' next commands the one that comes first: what is planned is done before anything is given up."""
    return next((place for place, word in ((3, "salvage"), (2, "--yes"), (1, "--give-up")) if command.endswith(word)), 0)


COMMANDS = (
    Command(
        "recover",
        recover,
        "Settle what a crash left, and say what was done",
        "[--plan]",
        most=0,
        door=FRIENDLY,
        flags=(switch("--plan", "Only say what would be done"), JSON),
        about="""Every command settles what dead processes left; this one looks at the whole store: half-done layers, mounts, what
overlay derives from records, checkpoints, the copy of the genesis. What it did is a commit. Removes nothing that a record claims.
Start here on a bad day; it names the next command.""",
    ),
    Command(
        "rebuild",
        rebuild,
        "Make a journal of what the drivers hold, when it is gone",
        "[--yes]",
        most=0,
        door=FRIENDLY,
        store=False,
        flags=(YES, JSON),
        about="""Layers are adopted where their place is known: overlay's own files name ancestors, manifests and configs among the data
items name an image's layers, tar-split records prove contents; checkpoints, where there are some, give back names and all else.
What cannot be placed is moved to lost+found/, never removed. Without --yes only the plan is printed.""",
    ),
    Command(
        "repair",
        repair,
        "Fetch damaged layers and data items again",
        "[--from PATH]... [--yes] [LAYER...]",
        door=FRIENDLY,
        flags=(
            texts("--from -f", "An OCI layout, oci-archive, docker-archive, another layerlog root or one of Podman's (repeatable)"),
            switch("--give-up", "What nothing offers: drop the data item, or move the layer and what stands on it to the trash"),
            switch("--plan", "Only say what would be done (the default)"),
            YES,
            JSON,
        ),
        about="""Finds what `layerlog check` finds damaged and replaces just that, by digest: from the store itself where an equal
layer or a whole tar is here, else from PATH. IDs, names, children and everything that is whole stay as they are. A layer is
unpacked aside, verified, and swapped in, as any change is.

  layerlog repair --from python-app.tar && layerlog repair --from python-app.tar --yes""",
    ),
)
