"""``journal``: look at the journal itself, carry it elsewhere, and salvage one that has holes."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, JSON, Command, number
from layerlog.cli.rescue import YES, plan_for, plan_or_do, where
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run


def journal(run: Run) -> int:
    """The first argument says what."""
    word = run.argument(0)
    act = ACTIONS.get(word)
    if act is None:
        raise InvalidRequest(f"journal {word[:40]!r}? there are {', '.join(ACTIONS)}")
    files = {"export": 1, "import": 1}.get(word, 0)
    if len(run.arguments) != 1 + files:
        raise InvalidRequest(f"journal {word} takes {'one file' if files else 'no argument'}")
    return act(run)


def verify(run: Run) -> int:
    """Read every byte that counts; status 1 when anything is lost or not as it was written."""
    from layerlog.eventstore.scavenge import Scavenger

    scavenger = Scavenger(_folder(run))
    try:
        lost = [str(one) for one in scavenger.lost()]
        flipped = [f"segment {one.segment}, byte {one.offset}: a flipped bit; nothing is lost" for one in scavenger.mended()]
        last = scavenger.position.sequence
    finally:
        scavenger.close()
    following = "layerlog journal salvage" if lost or flipped else "layerlog verify"
    if run.json:
        run.out_json({"last": last, "lost": lost, "mended": flipped, "next": following})
    else:
        for line in lost:
            run.out(f"lost: {line}")
        for line in flipped:
            run.out(line)
        if not lost and not flipped:
            run.out(f"commits up to {last} can be read, and each follows the one before")
        run.out(f"next: {following}")
    return 1 if lost or flipped else 0


def dump(run: Run) -> int:
    """Every commit as a line of JSON."""
    _lines(run, run["after"], 0)
    return 0


def tail(run: Run) -> int:
    """The last commits."""
    _lines(run, 0, run["count"])
    return 0


def _lines(run: Run, after: int, last: int) -> None:
    """Commits as JSON; what is lost between them is a line, too."""
    import json
    from collections import deque

    from layerlog.eventstore import codec
    from layerlog.eventstore.scavenge import Scavenger

    scavenger = Scavenger(_folder(run))
    kept: deque[str] = deque(maxlen=last or None)
    before = 0
    for sequence, time_ns, payload in scavenger.payloads():
        if sequence <= after:
            before = sequence
            continue
        if before and sequence > before + 1:
            kept.append(json.dumps({"lost": [before + 1, sequence - 1]}))
        before = sequence
        document = codec.decode(payload)
        kept.append(json.dumps({"sequence": sequence, "time_ns": time_ns, **document}))
        if not last:
            run.out(kept.pop() if len(kept) == 1 else "\n".join(kept))
            kept.clear()
    scavenger.close()
    for line in kept:
        run.out(line)


def export(run: Run) -> int:
    """All commits into one file that any tool can read."""
    from layerlog.exporting import export as written

    path = run.argument(1)
    count = written(run.store, path)
    if run.json:
        run.out_json({"path": path, "commits": count, "next": f"layerlog journal import {path}"})
        return 0
    run.out(f"{path}: {count} commits")
    run.out(f"next: keep it elsewhere; if the journal is ever gone, layerlog journal import {path}")
    return 0


def import_(run: Run) -> int:
    """The journal of an export, where there is none."""
    from functools import partial

    from layerlog.rescuing import plan_import

    return plan_or_do(run, plan_for(run, partial(plan_import, run.argument(1))), f"journal import {run.argument(1)}")


def salvage(run: Run) -> int:
    """A new journal of all that can be read."""
    from layerlog.rescuing import plan_salvage

    return plan_or_do(run, plan_for(run, plan_salvage), "journal salvage")


def _folder(run: Run) -> str:
    from layerlog.eventstore.genesis import journal_folder
    from layerlog.eventstore.journal import Journal
    from layerlog.rescuing import store_of

    root, _, driver = where(run)
    folder = journal_folder(root, store_of(root, driver))
    if not Journal.exists(folder):
        from layerlog.eventstore.errors import JournalMissing

        raise JournalMissing(root=root, found=folder)
    return folder


ACTIONS: dict[str, Callable[[Run], int]] = {
    "verify": verify,
    "dump": dump,
    "tail": tail,
    "export": export,
    "import": import_,
    "salvage": salvage,
}

COMMANDS = (
    Command(
        "journal",
        journal,
        "Look at the journal itself: verify, dump, tail, export, import, salvage",
        "verify | dump | tail | export FILE | import FILE | salvage",
        least=1,
        door=FRIENDLY,
        flags=(number("--after", "dump: only commits after this one"), number("--count -n", "tail: how many", default=10), YES, JSON),
        about="""None of these needs a store that can be opened, except export.

  verify    every record and its place in the chain; names what is lost
  dump      every commit that can be read, a line of JSON each
  tail      the last ones
  export    all commits in one file (JSON lines), for safe keeping
  import    the journal of such a file, into a root whose journal is gone
  salvage   a new journal of everything that can be read; the damaged one is kept in quarantine/

import and salvage print a plan; --yes carries it out. Sequence numbers stay as they were: where a commit is lost, one of
the same number says so.""",
    ),
)
