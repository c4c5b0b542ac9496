"""``compact``: fold old history into a base. Says first what it will do."""

from __future__ import annotations

import sys

from layerlog.cli.command import FRIENDLY, Command, switch, text
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.compacting import Compacted


def compact(run: Run) -> int:
    """Plan, ask where something is lost for good, do."""
    if not run["before"]:
        raise InvalidRequest("say what may be folded away: --before 30d (or a commit, or a time)")
    if run["drop"] and run["archive"]:
        raise InvalidRequest("give one of --archive and --drop")
    how = {"archive": run["archive"] or None, "drop": run["drop"]}
    planned = run.store.plan_compaction(run["before"], **how)
    if run["plan"] or not planned.through:
        return _tell(run, planned)
    if run["drop"] and not run["yes"] and not run.json and sys.stdin.isatty() and sys.stdout.isatty():
        from layerlog.cli.undoing import agreed

        _tell(run, planned)
        if not agreed():
            return run.fail("nothing was changed")
    return _tell(run, run.store.compact(run["before"], **how))


def _tell(run: Run, done: Compacted) -> int:
    if run.json:
        names = ("through", "segments", "bytes", "archive", "kept_by", "sequence")
        run.out_json({name: getattr(done, name) for name in names})
        return 0
    from layerlog.cli.views.units import count, size

    if not done.through:
        run.out("nothing to fold: no segment of the journal is old as a whole" + (f"; {done.kept_by}" if done.kept_by else ""))
        return 0
    will = "are" if done.sequence else "would be"
    run.out(f"commits 1 to {done.through:,} {will} folded into a base")
    where = f"moved to {done.archive}, and still read there" if done.archive else "dropped: --at cannot go back before the base"
    run.out(f"{size(done.bytes)} in {count(done.segments, 'segment')} {'' if done.sequence else 'would be '}{where}")
    if done.kept_by:
        run.out(f"all after it stays: {done.kept_by}")
    return 0


COMMANDS = (
    Command(
        "compact",
        compact,
        "Fold old history into a base",
        "--before WHEN",
        most=0,
        door=FRIENDLY,
        flags=(
            text("--before", "Only commits made before that point: an age (30d), a commit, a time"),
            text("--archive", "Folder for the old segments (default: archive/ in the journal's own); they are still read there"),
            switch("--drop", "Delete the old segments: --at cannot go back before the base"),
            switch("--plan -p", "Only say what would happen"),
            switch("--yes -y", "Do not ask (nobody is asked off a terminal)"),
        ),
        about="""The journal gets small; the present state, and the proof that it follows from what was folded, stay.
Whole segments only. What an undo needs (changes within retention), what deleted things that can come back need, and what a
follower has not read yet stays. Nothing is lost with an archive: log, --at and verify read it where it is, until
its folder is taken away.

  layerlog compact --before 90d --archive /mnt/old-history""",
    ),
)
