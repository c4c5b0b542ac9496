"""Recovery: what a crash left is settled from the leases, and after a boot from what may be half done.

It settles exactly two things (DESIGN §2): what a dead lease names is removed, unless the journal claims
it; what a committed delete names is finished into the trash. ``decide_settling`` (decide/settling.py) is the
decision table of CRASH.md; ``settle`` carries it out. A crash in the middle of it is like any other: leases go last.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from layerlog.blob_keeping import collect_if_idle
from layerlog.change import put_aside
from layerlog.decide.settling import BRING_BACK, DISCARD, DROP_OLD, FREE, LOSE, PUT_ASIDE, REMOVE, SWAP, UNMOUNT, Seen, decide_settling
from layerlog.eventstore import disk
from layerlog.eventstore.errors import CommitUnknown, DriverError, InUse, NoSpace, OutcomeUnknown, Pinned, StoreError
from layerlog.eventstore.leases import describe
from layerlog.eventstore.locks import FileLock
from layerlog.eventstore.position import boot_id
from layerlog.losing import LOSING, lose_unclaimed, newest_trash, no_room_to_lose
from layerlog.network import refuse_network
from layerlog.projections import mounts, trash
from layerlog.projections.items import get
from layerlog.volatile_layers import end_volatile, is_volatile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.drivers.driver import Driver
    from layerlog.eventstore.locks import Lease
    from layerlog.projections.items import Row

SWEEP_LEASE = ".sweep"
"""Held by what touches more layers than leases can be open for; IDs never start with a dot."""
SANDBOX_LEASE = ".sandbox-"
COMPACT_LEASE = ".compact"
SETTLED = "settled"
"""The file that says for which boot all was settled; locked by who is at it."""
MIGRATE_LEASE = ".migrate"
_WORDS = {
    UNMOUNT: "a mount that nobody counted was taken away",
    SWAP: "the contents that were committed are in place",
    DISCARD: "half-made contents removed",
    DROP_OLD: "the contents before removed",
    BRING_BACK: "the contents before brought back, since those that were committed are gone",
    REMOVE: "its folder removed, which no record claims",
    PUT_ASIDE: "put into the trash, as its deletion says",
    FREE: "freed, as its deletion says",
    LOSE: "moved to lost+found, since no record claims it",
}
TOLD_MAX = 1000
"""Layers of which a commit tells what recovery did."""


class StoreMigrated(StoreError):
    """The store lives in another driver now. Data: ``root``, ``driver``."""

    driver = ""
    message = "the store in {root} was migrated to {driver}; open it anew"
    hint = "layerlog --storage-driver {driver} …"


def recover(core: Core) -> list[tuple[str, list[str]]]:
    """Settle every ID that a dead lease names, and after a boot every ID that may be half done.

    Returns what was done, by ID. Cheap when nothing happened: one directory listing. Settles nothing
    while the journal has a gap: what looks unclaimed may be claimed by the damaged part.
    """
    if core.settled_boot() == boot_id().hex():
        return _recover(core, booted=False)
    refuse_network(core.root)  # it may have been moved there
    with FileLock(core.folder(SETTLED)):  # one at a time: whoever is done may make what ends with a boot, and we would end it
        return _recover(core, booted=core.settled_boot() != boot_id().hex())


def _recover(core: Core, booted: bool) -> list[tuple[str, list[str]]]:
    notes = core.leases.dead_notes()
    suspects = list(notes)
    if not suspects and not booted:
        return []
    with core.ledger.exclusively():
        pass  # what the dead wrote and did not publish counts from here on
    if os.path.isdir(core.folder("mending.new")):
        from layerlog.mending_switch import settle_if_dead

        settle_if_dead(core)
    finish_redaction(core)
    if core.ledger.has_damage():
        return []
    if MIGRATE_LEASE in suspects:
        from layerlog.migrating import settle_migration

        settle_migration(core)
    staying = _end_sandboxes(core, suspects, booted)
    _end_compaction(core, suspects, booted)
    layers = {one for one in suspects if not one.startswith(".")}
    if booted or SWEEP_LEASE in suspects:
        layers |= half_done(core)
    if booted:
        end_volatile(core)
    done = [(layer_id, settle(core, layer_id)) for layer_id in sorted(layers)]
    if core.lazy.asks_the_next:
        from layerlog.left_behind import ask_the_next

        ask_the_next(core)
        staying.add(SWEEP_LEASE)
    if collect_if_idle(core) is not None:
        for one in suspects:
            if one.startswith(".") and one not in staying:
                _clear(core, one)
    if booted:
        sync_names(core.driver, core.folder())
        _remember_boot(core.folder())
    done = [(layer_id, steps) for layer_id, steps in done if steps]
    if done:
        _write_down(core, done, notes)
    return done


def _write_down(core: Core, done: list[tuple[str, list[str]]], notes: dict[str, Row]) -> None:
    """What was done is a commit of its own, with who had left it: ``log`` shows it later. Nothing was done: no commit.

    It comes after the effects, which the journal had asked for already; where the disk takes no more, they are done all the same.
    """
    did = [f"layer {layer_id}: {in_words(steps)}{_left_by(notes.get(layer_id))}" for layer_id, steps in done]
    if len(did) > TOLD_MAX:
        did = [*did[:TOLD_MAX], f"and {len(did) - TOLD_MAX} more layers"]
    event = {"type": "StoreMended", "tool": "recovery", "did": did}
    with suppress(OSError, NoSpace, OutcomeUnknown):
        core.ledger.commit(lambda rows: [event], envelope=core.terms.envelope, reserve=True)


def in_words(steps: list[str]) -> str:
    """What was done to a layer, for people."""
    return "; ".join(_WORDS[step] for step in steps)


def _left_by(note: Row | None) -> str:
    return f"; left by {describe(note)}" if note else ""


def finish_redaction(core: Core) -> None:
    """What a redaction that died had planned is carried out: a payload that it tore would count as damage."""
    if not any(os.path.exists(core.folder(*names)) for names in (("redaction",), ("redaction.new",), ("leases", ".redact"))):
        return
    from layerlog.redacting import LEASE, finish

    with suppress(InUse), core.leases.take(LEASE, {"doing": "recovery", **core.holder_note()}):
        finish(core)


def settle(core: Core, layer_id: str) -> list[str]:
    """Bring one ID's files in line with the journal; a holder who is alive is left alone."""
    try:
        lease = core.leases.take(layer_id, {"doing": "recovery", **core.holder_note()})
    except InUse:
        return []
    try:
        steps = settle_held(core, lease)
    except BaseException as error:
        lease.abandon()
        if no_room_to_lose(error) or _not_ours(error):
            return []  # it can wait, and nobody else need wait for it
        raise
    if lease.before() and core.ledger.has_damage():
        lease.abandon()  # its note is for when the journal is mended
    else:
        lease.release()
    return steps


def settle_held(core: Core, lease: Lease, note: Row | None = None) -> list[str]:
    """The same for whoever holds the lease. Its *note* (by default that of the dead holder) may say which generation was on its way."""
    layer_id = lease.id
    with core.ledger.exclusively():
        pass
    if core.ledger.has_damage():
        return []
    note = lease.before() if note is None else note
    if note.get("doing") == LOSING:  # it made nothing of what is there: whose that is nobody knows
        return [LOSING] if lose_unclaimed(core, layer_id) else []
    seen, entry = _look(core, layer_id, note)
    steps = decide_settling(seen)
    for step in steps:
        _carry_out(core, step, layer_id, entry)
    return steps


def _not_ours(error: BaseException) -> bool:
    from layerlog.left_behind import not_ours

    return not_ours(error)


def _look(core: Core, layer_id: str, note: Row) -> tuple[Seen, str]:
    """What there is to know about an ID, and the name of its trash entry."""
    driver = core.driver
    with core.reading() as rows:
        row = get(rows.own, "layer", layer_id)
        restoring = trash.get(rows, "layer", *trash.split_entry(note["entry"])) if note.get("entry") else None
        if restoring and driver.in_trash(trash.entry_name(restoring["sequence"], layer_id)):
            restoring = None  # what is in place is not that one
        thrown = restoring or newest_trash(core, layer_id)
    with core.mount_rows() as rows:
        counted = mounts.get(rows, layer_id) is not None
    claimed = row is not None or core.has_layer(layer_id)
    if claimed and note.get("run_root") != core.run_root:
        counted = True  # perhaps: by another run root
    placed, staged, superseded = driver.exists(layer_id), layer_id in driver.staged(), layer_id in driver.superseded()
    noted = note.get("generation", row["generation"] if row and staged and superseded and not placed else -1)  # in a swap: after the commit
    entry = trash.entry_name(thrown["sequence"], layer_id) if thrown else ""
    if not thrown and row is None and is_volatile(core, layer_id):  # a deletion of the run journal, which keeps nothing
        entry = next((one for one in driver.trash() if one.partition("-")[2] == layer_id), "")
    seen = Seen(
        mounted=driver.mounted(layer_id),
        counted=counted,
        claimed=claimed,
        committed=row is not None and 0 < row["generation"] == noted,
        staged=staged,
        superseded=superseded,
        placed=placed,
        kept=bool(thrown and thrown["kept"]),
        in_trash=bool(entry) and driver.in_trash(entry),
        strange=not note and (driver.in_trash(entry) if thrown else not entry),
    )
    return seen, entry


def _carry_out(core: Core, step: str, layer_id: str, entry: str) -> None:
    """Each can be repeated, wherever it was cut short."""
    if step == UNMOUNT:
        core.driver.unmount(layer_id)
    elif step in (SWAP, DROP_OLD):
        core.driver.swap(layer_id)
    elif step == BRING_BACK:
        core.driver.swap_back(layer_id)
    elif step == DISCARD:
        core.driver.discard(layer_id)
    elif step == REMOVE:
        core.forget_mount(layer_id)
        core.driver.remove(layer_id)
        core.driver.sync_places()  # before the lease goes: it alone tells that nobody claims what a power cut could bring back
    elif step == PUT_ASIDE:
        put_aside(core, layer_id, entry)
        core.driver.sync_places()  # likewise: of several that bore the ID the lease alone tells which one a power cut could have back there
    elif step == LOSE:
        lose_unclaimed(core, layer_id)
    elif step == FREE:
        core.driver.free(entry)


def after_failure(core: Core, lease: Lease, error: BaseException, note: Row | None = None) -> None:
    """What a failed operation does about its own ID: the same as recovery would, unless nobody can tell whether it failed.

    When the disk refuses this too, the lease is left dead for the next who meets it.
    """
    if isinstance(error, OutcomeUnknown) or core.ledger.has_damage():
        lease.abandon()
        return
    try:
        settle_held(core, lease, note or {"doing": "what just failed"})
    except (StoreError, OSError):
        lease.abandon()


@contextmanager
def sweeping(core: Core, doing: str) -> Iterator[None]:
    """Hold the one lease for what touches more layers than leases can be open for; an exception leaves it to recovery."""
    with core.lease(SWEEP_LEASE, doing, wait=True) as lease:
        try:
            yield
        except InUse:
            raise  # refused before anything was committed
        except BaseException:
            lease.abandon()
            raise
        if core.lazy.asks_the_next:
            lease.abandon()
            core.lazy.asks_the_next = False


def _clear(core: Core, lease_id: str) -> None:
    """Remove a dead lease that names no layer."""
    try:
        core.leases.take(lease_id).release()
    except InUse:
        return


def _end_sandboxes(core: Core, suspects: list[str], booted: bool) -> set[str]:
    """Sandboxes whose holder is dead are deleted; after a boot that is every one, and every volatile container.

    The leases of those that stay for now: pinned ones, and ones whose layer somebody is reading.
    """
    dead = [one for one in suspects if one.startswith(SANDBOX_LEASE)]
    if not dead and not booted:
        return set()
    from layerlog.sandbox import remove_sandbox

    gone = [one.removeprefix(SANDBOX_LEASE) for one in dead]
    if booted:
        bound = [one.id for one in core.containers() if one.flags.get("Sandbox") or one.flags.get("Volatile")]
        holders = core.leases.holders()  # a sandbox has its lease before it is there
        gone += [one for one in bound if SANDBOX_LEASE + one not in holders]
    staying = set()
    for container_id in gone:
        try:
            remove_sandbox(core, container_id)
        except (InUse, Pinned):
            staying.add(SANDBOX_LEASE + container_id)
    return staying


def _end_compaction(core: Core, suspects: list[str], booted: bool) -> None:
    """What a compaction that was cut short left in the journal's folder is finished, or taken back."""
    if not booted and COMPACT_LEASE not in suspects:
        return
    from layerlog.eventstore.compaction import leftovers

    if leftovers(core.ledger.folder):
        from layerlog.compacting import finish

        with suppress(InUse), core.leases.take(COMPACT_LEASE):
            finish(core)


def half_done(core: Core) -> set[str]:
    """After a boot or a dead sweep: what is staged, and what was deleted and is still in place. Frees trash that nothing claims.

    Files are listed before rows are read: a delete commits before it puts anything into the trash.
    """
    driver = core.driver
    driver.tidy()
    entries, placed, staged = driver.trash(), set(driver.list()), {*driver.staged(), *driver.superseded()}
    with core.reading() as rows:
        thrown = [row for row in trash.every(rows) if row["kind"] == "layer"]
    claimed = {trash.entry_name(row["sequence"], row["id"]) for row in thrown if row["kept"]}
    for entry in entries:
        if entry not in claimed and was_thrown(core, entry):  # else it is for recover, or gc
            try:
                driver.free(entry)
            except DriverError as error:
                if not _not_ours(error):
                    raise
                core.lazy.asks_the_next = True
    return (placed & {row["id"] for row in thrown}) | staged


def sync_names(driver: Driver, folder: str) -> None:
    """Make the names of the folders of the store, its own and those above it durable: once in a boot, and by who mends a journal."""
    driver.sync_home()
    disk.sync_path(folder)


def was_thrown(core: Core, entry: str) -> bool:
    """Whether the commit that a trash entry names deleted its layer, as far as can be told: history may have been folded away.

    In a journal that is older than what it stands beside, a copy that somebody put back, it did something else, or is not there.
    """
    number, _, layer_id = entry.partition("-")
    if not (number.isascii() and number.isdigit()) or not 0 < int(number) <= core.ledger.sequence:
        return False
    try:
        events = core.ledger.commit_at(int(number)).events
    except CommitUnknown:  # so is HistoryCompacted
        return True
    kinds = ("LayerDeleted", "StoreWiped", "StoreMigrated")
    return any(event["type"] in kinds and event.get("id", layer_id) == layer_id for event in events)


def _remember_boot(folder: str) -> None:
    """Written in place: half of it is another boot, and then all is settled once more."""
    fd = disk.open_to_write(os.path.join(folder, SETTLED), os.O_CREAT | os.O_TRUNC)
    try:
        disk.write_all(fd, boot_id().hex().encode())
    finally:
        os.close(fd)
