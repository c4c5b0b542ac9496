"""Deleted things: bring one back, list them, free them."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command, text
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run


def restore(run: Run) -> int:
    """Bring things back."""
    from layerlog.cli.layers import show_made

    kind = run["kind"] or None
    if kind not in (None, "layer", "image", "container"):
        raise InvalidRequest(f"no kind {kind[:40]!r}: layer, image or container")
    for asked in run.arguments:
        show_made(run, run.store.restore(asked, kind))
    return 0


def trash(run: Run) -> int:
    """``ls`` or ``empty``."""
    word = run.argument(0, "ls")
    if word == "empty":
        return _empty(run)
    if word != "ls":
        raise InvalidRequest(f"trash {word[:40]!r}? ls lists, empty frees")
    thrown = run.store.trash()
    if run.json:
        from layerlog.cli.gojson import Fields, time

        rows = [Fields([("kind", one.kind), ("id", one.id), ("names", one.names), ("sequence", one.sequence)]) for one in thrown]
        for row, one in zip(rows, thrown, strict=True):
            row += [("time", time(one.time_ns)), ("size", one.size)]
        run.out_json(rows)
        return 0
    from layerlog.cli.views.show import show
    from layerlog.cli.views.trash import trash_table

    show(trash_table(thrown))
    return 0


def _empty(run: Run) -> int:
    from layerlog.cli.opening import retention
    from layerlog.cli.views.units import count, size

    freed = run.store.empty_trash(retention(run["older"]) if run["older"] else 0.0)
    if run.json:
        run.out_json([one.entry for one in freed])
    else:
        run.out(f"freed {count(len(freed), 'deleted thing')}, {size(sum(one.size for one in freed))}")
    return 0


COMMANDS = (
    Command(
        "restore",
        restore,
        "Bring something deleted back",
        "X...",
        least=1,
        door=FRIENDLY,
        flags=(text("--kind", "layer, image or container, where the word may mean several"),),
        about="""X is an ID, a prefix of one, or a name that it had. It comes back with its ID, names and contents, and with what it
cannot be without: an image brings its layers. Possible within retention (24 hours unless the store says otherwise).""",
    ),
    Command(
        "trash",
        trash,
        "List or free what was deleted",
        "[ls | empty]",
        most=1,
        door=FRIENDLY,
        flags=(text("--older", "empty: only what was deleted longer ago than that (2h, 3d)"),),
        about="What is freed cannot be restored. Nothing needs to be freed by hand: retention and disk space see to it.",
    ),
)
