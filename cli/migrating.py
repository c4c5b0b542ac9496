"""``migrate``: the same store in another driver."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, JSON, Command, text
from layerlog.cli.rescue import YES
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run


def migrate(run: Run) -> int:
    """The plan; with --yes the migration. Ends with the next command."""
    from layerlog.migrating import migrate as migrated
    from layerlog.migrating import plan_migration

    if not run["to"]:
        raise InvalidRequest("say where: layerlog migrate --to DRIVER")
    lines = plan_migration(run.store, run["to"])
    done = migrated(run.store, run["to"]) if run["yes"] else 0
    following = "layerlog check" if done else f"layerlog migrate --to {run['to']} --yes"
    if run.json:
        run.out_json({"plan": lines, "done": bool(done), "commit": done, "next": following})
        return 0
    for line in lines:
        run.out(line)
    run.out(f"done by commit {done}" if done else "nothing was changed yet")
    run.out(f"next: {following}")
    return 0


COMMANDS = (
    Command(
        "migrate",
        migrate,
        "Move the store to another driver",
        "--to DRIVER [--yes]",
        most=0,
        door=FRIENDLY,
        flags=(text("--to", "The driver: overlay, vfs, btrfs"), YES, JSON),
        about="""Every layer is unpacked again in the other driver and its digest verified; one commit switches; the old tree goes to
the trash as one entry, until retention or `layerlog trash empty` frees it. Nothing may be mounted. Interrupted anywhere, the next
command that opens the store goes on, or back. Without --yes only the plan is printed.""",
    ),
)
