"""``migrate``: every layer made again in another driver, then one commit that switches.

The journal, its checkpoints, blobs and leases lie in ``ROOT/<driver>-layerlog/``, so the name of the driver stands in two
places: in that folder's name and, once a store was migrated, in the row ``store driver``. The commit is the switch, and
the folder's name follows: a rename moves the whole ledger at once and can be repeated, while a second journal for the other
driver would be a second truth that two crashes could let drift apart. Until the commit nothing claims the new tree;
after it nothing claims the old one, which goes to the new driver's trash as one entry and can be kept, or freed, there.

The lease ``.migrate`` names the work. Found dead, it is settled by recovery like any other (CRASH.md §3): without the
commit the new tree is removed, which this work alone has made; with it the renames are finished.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from layerlog import change
from layerlog.contents import driver_diff, give_owners
from layerlog.decide import migrating as decide
from layerlog.drivers import durable
from layerlog.drivers import mounts as kernel
from layerlog.drivers.choose import NAMES, open_driver
from layerlog.drivers.idmaps import FIELDS
from layerlog.drivers.tarsplit import reassemble
from layerlog.eventstore import disk
from layerlog.eventstore.errors import Conflict, ContentsDamaged, InUse, InvalidRequest, NotSupported, StoreError
from layerlog.eventstore.genesis import SUFFIX, journal_folder
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.leases import describe
from layerlog.projections import layers as layer_rows
from layerlog.projections import trash
from layerlog.projections.items import every
from layerlog.projections.keys import key
from layerlog.recovery import MIGRATE_LEASE, StoreMigrated
from layerlog.repair_sources import Blocks
from layerlog.run_roots import every_mount
from layerlog.run_state import mount_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.drivers.driver import Driver
    from layerlog.eventstore.locks import Lease
    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row

DRIVER_ROW = key("store", "driver")


def plan_migration(core: Core, to: str) -> list[str]:
    """What ``migrate`` would do, a line each. Raises InvalidRequest, NotSupported, Conflict."""
    _must_be_possible(core, to)
    with core.reading() as rows:
        real = [row for row in every(rows, "layer") if "contents" in row or "opened" in row]
        kept = sum(1 for row in trash.every(rows) if row["kept"])
    size = sum(row.get("contents", {}).get("diff_size", 0) for row in real)
    lines = [f"{len(real)} layers are unpacked again in {os.path.join(core.root, to)}, about {size} bytes, and verified"]
    lines.append(f"then one commit switches from {core.driver_name} to {to}; the old tree goes to the trash")
    if kept:
        lines.append(f"{kept} deleted things cannot be restored any more afterwards; their files stay in the old tree")
    return lines


def migrate(core: Core, to: str) -> int:
    """Do it; the commit that switched. This Store is closed afterwards: open the root anew.

    Raises InvalidRequest, NotSupported, Conflict (something is mounted, or made meanwhile), InUse, ContentsDamaged; then
    the store is as it was.
    """
    core.must_write()
    _must_be_possible(core, to)
    lease = core.leases.take(MIGRATE_LEASE, {"doing": f"migrate to {to}", **core.holder_note()})
    if lease.before():
        lease.abandon()
        raise Conflict("a migration was cut short: open the store anew, which settles it")
    try:
        lease.rewrite({"doing": f"migrate to {to}", "to": to, **core.holder_note()})
        with mount_lock(core):
            _nothing_mounted(core)  # nor will be: from now on a mount finds the lease
        driver = open_driver(to, core.root, core.run_root, core.driver_options)
        driver.setup()
        copied = {row["id"]: _again(core, driver, row) for row in _layers(core)}
        driver.sync_places()
        committed = change.commit(core, lambda rows: _switched(core, rows, to, copied), f"migrate {to}", reserve=True)
    except BaseException:
        _settle(core, lease, to)
        raise
    finish(core, lease, to)
    return committed.sequence


def _must_be_possible(core: Core, to: str) -> None:
    if to not in NAMES:
        raise InvalidRequest(f"there is no driver {to[:40]!r}: {', '.join(NAMES)}")
    if to == core.driver_name:
        raise InvalidRequest(f"the store is on {to} already")
    if core.looks_elsewhere() or not core.durable:
        raise NotSupported("a store that shares layers with others, or is transient, cannot be migrated")
    home = os.path.join(core.root, to)
    if Journal.exists(journal_folder(core.root, to)) or os.path.isdir(home):
        raise Conflict(f"{core.root} has a store or a folder of {to} already: move {home} away")
    if core.ledger.has_damage():
        raise Conflict("the journal has damaged records: salvage it first")
    _nothing_mounted(core)


def _nothing_mounted(core: Core) -> None:
    """Nothing is counted, through any run root, and the kernel has nothing there: the old tree would move with it, or not at all."""
    for row in every_mount(core):
        raise Conflict(f"layer {row['id']} is mounted at {row['path']}: unmount everything first")
    for point in kernel.below(core.driver.home):
        raise Conflict(f"something is mounted at {point}: unmount everything first")


def _layers(core: Core) -> list[Row]:
    """Bases before what stands on them."""
    with core.reading() as rows:
        return sorted(every(rows, "layer"), key=lambda row: len(layer_rows.chain(rows, row["id"])))


def _again(core: Core, driver: Driver, row: Row) -> tuple[int, bool]:
    """Make one layer in the new driver, durable and verified; what it was a copy of."""
    layer_id, chain = row["id"], core.chain(row["id"])
    state = (row["generation"], "opened" in row)
    over = core.layer_row(chain[0]) if chain else None
    mapped = any(one.get(field) for one in (row, over or {}) for field in FIELDS)
    if "contents" not in row and "opened" not in row:
        if not mapped:
            driver.create(layer_id, chain)
            return state
        staged = driver.stage(layer_id, chain)
        give_owners(staged, over, row)
        staged.close()
        driver.place(layer_id)
        return state
    record, wanted = row.get("contents", {}).get("tar_split"), row.get("contents", {}).get("diff_digest", "")
    whole = record is not None and "opened" not in row and row["generation"] in (0, row.get("anew"))
    blocks = _tar_of(core, core.driver, row) if whole else _diff_of(core, row, chain, mapped)
    staged = driver.stage(layer_id, chain)
    try:
        give_owners(staged, over, row)
        applied = staged.apply(Blocks(blocks))  # type: ignore[arg-type] # read is all that is used
        if whole and applied.diff_digest != wanted:
            raise ContentsDamaged(layer_id=layer_id, path=core.driver.path(layer_id), why=f"its tar is {applied.diff_digest}, not {wanted}")
        staged.sync()
    finally:
        staged.close()
    driver.place(layer_id)
    if whole:
        found = hashlib.sha256()
        for block in _tar_of(core, driver, row):
            found.update(block)
        if f"sha256:{found.hexdigest()}" != wanted:
            raise ContentsDamaged(layer_id=layer_id, path=driver.path(layer_id), why="the copy does not give the same tar")
    return state


def _diff_of(core: Core, row: Row, chain: list[str], mapped: bool) -> Iterator[bytes]:
    """What a layer holds now; with the owners inside it where it or its parent has ID maps, which are applied to it again."""
    return driver_diff(core, row["id"], chain, None) if mapped else core.driver.diff(row["id"], chain)


def _tar_of(core: Core, driver: Driver, row: Row) -> Iterator[bytes]:
    with core.blobs.open(row["contents"]["tar_split"]["blob"]) as record:
        yield from reassemble(driver, row["id"], record)


def _switched(core: Core, rows: Rows, to: str, copied: dict[str, tuple[int, bool]]) -> list[Any]:
    """Decided anew under the writer lock: nobody works on anything, nothing is mounted, and all is copied as it is now."""
    for holder_id, note in core.leases.holders().items():
        if holder_id != MIGRATE_LEASE:
            raise InUse(id=holder_id, holder=describe(note))
    _nothing_mounted(core)
    return decide.switch(rows, core.driver_name, to, copied)


# --- after the commit, or instead of it


def _settle(core: Core, lease: Lease, to: str) -> None:
    """After a failure: back, unless the commit may have happened; then recovery finds out."""
    try:
        with core.ledger.exclusively() as rows:
            switched = (rows.get(DRIVER_ROW) or {}).get("driver") == to
        if not switched:
            _back(core, to)
            lease.release()
            return
    except (StoreError, OSError):
        pass
    lease.abandon()


def _back(core: Core, to: str) -> None:
    """Remove the new tree, which was not there when the lease was taken."""
    durable.remove_tree(os.path.join(core.root, to))
    durable.sync_folder(core.root)


def finish(core: Core, lease: Lease, to: str) -> None:
    """The renames after the switch, each of which may have happened; then the lease goes, and the Store is closed."""
    with core.ledger.exclusively() as rows:
        row: dict[str, Any] = rows.get(DRIVER_ROW) or {}
        entry = trash.entry_name(row["sequence"], row["entry"])
    old = str(row["old"])
    ours, theirs = os.path.join(core.root, old + SUFFIX), os.path.join(core.root, to + SUFFIX)
    _rename(os.path.join(core.root, old), os.path.join(core.root, to, "trash", entry))
    for kind in ("containers", "images"):
        _rename(os.path.join(core.root, f"{old}-{kind}"), os.path.join(core.root, f"{to}-{kind}"))
    _rename(ours, theirs)
    durable.sync_folder(os.path.join(core.root, to, "trash"))
    durable.sync_folder(core.root)
    shutil.rmtree(os.path.join(core.run_root, old + SUFFIX), ignore_errors=True)  # counts of mounts: there are none
    lease.path = os.path.join(theirs, "leases", MIGRATE_LEASE)
    lease.release()


def _rename(path: str, to: str) -> None:
    if os.path.lexists(path) and not os.path.lexists(to):
        disk.rename(path, to)


def settle_migration(core: Core) -> None:
    """What recovery does about a dead ``.migrate``. Raises StoreMigrated when the store moves by it."""
    with suppress(InUse):
        lease = core.leases.take(MIGRATE_LEASE)
        to = str(lease.before().get("to", ""))
        with core.reading() as rows:
            row = rows.get(DRIVER_ROW) or {}
        if not to:
            lease.release()
        elif row.get("driver") == to:
            finish(core, lease, to)
            if core.driver_name != to:
                raise StoreMigrated(root=core.root, driver=to)
        elif to != core.driver_name:
            _back(core, to)
            lease.release()
        else:
            lease.release()
