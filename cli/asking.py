"""More questions to the history: who held a name, who did how much, what is different."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command, switch, text
from layerlog.cli.gojson import Fields, time
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.asking import Doing, Tenure
    from layerlog.cli.run import Run


def blame(run: Run) -> int:
    """Every holder of a name."""
    if run["kind"] not in ("", "layer", "image", "container"):
        raise InvalidRequest(f"no kind {run['kind'][:40]!r}: layer, image or container")
    found = run.store.blame(run.argument(0), run["kind"] or None)
    if run.json:
        run.out_json([_tenure_json(one) for one in found])
        return 0 if found else 1
    begins = run.store.begins()
    since = f" since commit {begins}; what came before was compacted, and is not here" if begins else ""
    if not found:
        return run.fail(f"layerlog: nothing {'took' if begins else 'ever had'} the name {run.argument(0)!r}{since}")
    from layerlog.cli.views.asking import blame_view
    from layerlog.cli.views.show import show

    show(blame_view(found))
    return 0


def _tenure_json(one: Tenure) -> Fields:
    fields: list[tuple[str, Any]] = [("kind", one.kind), ("id", one.id)]
    for name, commit in (("since", one.since), ("until", one.until)):
        shown = None if commit is None else {"sequence": commit.sequence, "time": time(commit.time_ns), "envelope": commit.envelope}
        fields.append((name, shown))
    return Fields([*fields, ("ended_by", one.ended_by)])


def who(run: Run) -> int:
    """Changes and bytes by actor, in all or in each period."""
    from layerlog.asking import PERIODS

    per = run["per"]
    if per and per not in PERIODS:
        return run.fail(f"layerlog: --per takes {', '.join(PERIODS)}, not {per!r}")
    after = run.store.sequence_at(run["since"]) if run["since"] else 0
    until = run.store.sequence_at(run["until"]) if run["until"] else None
    found = run.store.who(after, until, per)
    if run.json:
        run.out_json([_doing_json(one) for one in found])
        return 0
    from layerlog.cli.views.asking import who_view
    from layerlog.cli.views.show import show, width

    show(who_view(found, width()))
    return 0


def _doing_json(one: Doing) -> Fields:
    fields: list[tuple[str, Any]] = [("period", one.period)] if one.period else []
    fields += [("actor", one.actor), ("changes", one.changes), ("bytes_added", one.bytes_added), ("kinds", one.kinds)]
    return Fields([*fields, ("first", time(one.first.time_ns)), ("last", time(one.last.time_ns))])


def diff_state(run: Run) -> int:
    """What came, went and changed between two points."""
    from layerlog.asking import differences

    older, newer = run.store.at(run.argument(0)), run.store.at(run.argument(1, "now"))
    found = differences(older, newer)
    if run.json:
        run.out_json(
            [
                Fields(
                    [
                        ("what", one.what),
                        ("kind", one.kind),
                        ("id", one.id),
                        ("names", one.record.names),
                        ("fields", one.fields),
                        ("growth", one.growth),
                        ("before", one.before),
                        ("after", one.after),
                    ]
                )
                for one in found
            ]
        )
        return 0
    from layerlog.cli.views.asking import difference_lines, difference_tree
    from layerlog.cli.views.show import show_lines

    found = [one for one in found if one.what != "changed" or one.fields]  # the others came back meanwhile, as they were
    show_lines(difference_tree(found, older, newer) if run["tree"] else difference_lines(found))
    return 0


GROWN_SHOWN = 20
"""Commits that ``df --since`` shows one by one."""


def grown(run: Run) -> int:
    """``df --since``: what grew, and who did it."""
    found = run.store.growth(run["since"])
    if run.json:
        rows = []
        for one in found:
            fields = [("sequence", one.commit.sequence), ("time", time(one.commit.time_ns)), ("by", one.commit.by)]
            rows.append(Fields([*fields, ("added", one.added), ("freed", one.freed), ("envelope", one.commit.envelope)]))
        run.out_json(rows)
        return 0
    from layerlog.cli.history import teller_at
    from layerlog.cli.views.asking import growth_by, growth_table
    from layerlog.cli.views.show import show

    ranked = {one.commit.sequence for one in sorted(found, key=lambda one: -one.growth)[:GROWN_SHOWN]}
    told = []
    for one in found:
        words = teller_at(run, one.commit.sequence - 1).tell(one.commit.events) if one.commit.sequence in ranked else []
        told.append((one, "; ".join(f"{sign} {text}" for sign, text in words)))
    if told:
        show(growth_table(told, GROWN_SHOWN))
    show(growth_by(told))
    return 0


_SINCE = text("--since", "Only after that point: a commit, an age (2h), yesterday, a time")
_UNTIL = text("--until", "Only up to that point")

COMMANDS = (
    Command(
        "blame",
        blame,
        "Show every holder that a name ever had",
        "NAME",
        least=1,
        most=1,
        door=FRIENDLY,
        flags=(text("--kind", "Only layer, image or container names"),),
        about="""From when to when, who gave the name, and what ended it: renamed, moved to another, deleted or wiped.

  layerlog blame app:latest""",
    ),
    Command(
        "who",
        who,
        "Show who changed how much",
        "",
        most=0,
        door=FRIENDLY,
        flags=(_SINCE, _UNTIL, text("--per", "In each hour, day, week or month, oldest first")),
        about="""Changes and bytes of new contents by actor (--actor, else the user), most changes first.

  layerlog who --since yesterday
  layerlog who --per day --since 7d      over time""",
    ),
    Command(
        "diff-state",
        diff_state,
        "Show what is different between two points in time",
        "THEN [NOW]",
        least=1,
        most=2,
        door=FRIENDLY,
        flags=(switch("--tree -t", "In the layer tree, with all that the changed layers stand on"),),
        about="""+ came, − went, ~ changed, with the fields that changed and the bytes that it grew or shrank.
THEN and NOW are points in time: a commit (0 is the empty store), an age, a day, a time.

  layerlog diff-state 2h""",
    ),
)
