"""Make room: ``prune`` of what nobody needs, by a plan; ``apply`` of a plan that was made before."""

from __future__ import annotations

import sys

from layerlog.cli.command import FRIENDLY, Command, switch, text, texts
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.pruning import PrunePlan

KINDS = {"containers": "container", "images": "image", "layers": "layer"}


def prune(run: Run) -> int:
    """Say what would go; then, if agreed, delete it."""
    plan = _planned(run)
    if run["output"]:
        with open(run["output"], "w", encoding="utf-8") as file:
            file.write(plan.dump())
        run.say(f"{run['output']}: {len(plan.going)} to delete; layerlog apply {run['output']} does it")
        return 0
    if run["plan"]:
        if run.json or not sys.stdout.isatty():
            run.out(plan.dump(), end="")
        else:
            _show(plan)
        return 0
    return _delete(run, plan)


def _planned(run: Run) -> PrunePlan:
    import time

    from layerlog.cli.filters import moment, pairs

    kinds = []
    for word in run.arguments or KINDS:
        kind = KINDS.get(word if word.endswith("s") else word + "s")
        if kind is None:
            raise InvalidRequest(f"no {word[:40]!r} to prune: {', '.join(KINDS)}")
        kinds.append(kind)
    older = 0.0
    for _, value in pairs(run["filter"], ("until",)):
        older = max(older, (time.time_ns() - moment(value)) / 1e9)
    return run.store.plan_prune(kinds, everything=run["all"], older_than=older)


def apply(run: Run) -> int:
    """Carry out a plan exactly, or refuse."""
    from layerlog.pruning import PrunePlan

    if run.argument(0) == "-":
        document = sys.stdin.buffer.read()
    else:
        with open(run.argument(0), "rb") as file:
            document = file.read()
    return _delete(run, PrunePlan.parse(document), ask=False)


def _delete(run: Run, plan: PrunePlan, ask: bool = True) -> int:
    from layerlog.cli.views import units

    if not plan.going:
        if run.json:
            run.out_json({"deleted": [], "size": 0})
        else:
            run.say("nothing to delete")
        return 0
    if ask and not run["yes"] and not run.json and sys.stdin.isatty() and sys.stdout.isatty():
        from layerlog.cli.undoing import agreed

        _show(plan)
        if not agreed():
            return run.fail("nothing was changed")
    commits = run.store.apply_plan(plan)
    if run.json:
        rows = [{"kind": one.kind, "id": one.id, "names": one.names} for one in plan.going]
        run.out_json({"commits": commits, "deleted": rows, "size": plan.size})
        return 0
    for one in plan.going:
        run.out(f"{one.kind} {one.id}")
    back = f"layerlog undo {commits[-1]} takes that back" if run.store.retention_seconds > 0 else "nothing comes back"
    run.say(f"deleted {units.count(len(plan.going), 'thing')}, {units.size(plan.size)}; {back}")
    return 0


def _show(plan: PrunePlan) -> None:
    from layerlog.cli.views.pruning import plan_view
    from layerlog.cli.views.show import show

    show(plan_view(plan))


COMMANDS = (
    Command(
        "prune",
        prune,
        "Delete what nobody needs",
        "[containers] [images] [layers]",
        door=FRIENDLY,
        flags=(
            switch("--all -a", "Also images that have names, if no container uses them, and layers that have names"),
            texts("--filter -f", "until=24h: only what is older (an age or a time)"),
            switch("--plan -p", "Only print the plan: a table on a terminal, else the document that apply reads"),
            text("--output -o", "Write the plan to a file instead"),
            switch("--yes -y --force", "Do not ask (nobody is asked off a terminal)"),
        ),
        about="""Containers that are not mounted, images without names with the layers that only they need, and layers without names
that no image and no container needs. What is pinned or mounted stays. Without words, all three.

A plan says on which commit it was made: apply carries it out exactly, or refuses if anything in it was changed or came into use since.

  layerlog prune images --filter until=168h
  layerlog prune --all --output plan.json
  layerlog apply plan.json""",
    ),
    Command(
        "apply",
        apply,
        "Carry out a plan that prune made",
        "PLAN",
        least=1,
        most=1,
        door=FRIENDLY,
        about="""PLAN is a file, or - for stdin. Exactly what it lists is deleted; refused, with nothing changed, if any of it was changed
or came into use since the plan was made, or if the plan is of another store. Nobody is asked.

  layerlog prune --plan > plan.json; less plan.json; layerlog apply plan.json""",
    ),
)
