"""The moment at which a mended journal takes the old one's place, and what is made of a mending that was cut short.

The new ledger lies in ``mending.new/``: a copy of its genesis, then its ``journal/``. One exchange of the two ``journal/`` is the
switch; then the old one goes to ``quarantine/`` and, last, the copy of the genesis to its place. So the copy tells how far it
came: in ``mending.new/`` beside its own journal, nothing has happened yet; beside another one or none, the switch has.

The lease ``.mend`` names the work; recovery settles it when it is dead (CRASH.md §3).
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import suppress

from layerlog.drivers import syscalls
from layerlog.eventstore import disk, segments
from layerlog.eventstore.errors import Conflict, InUse
from layerlog.eventstore.journal import GENESIS, Journal
from layerlog.eventstore.position import PositionFile
from layerlog.eventstore.reading import POSITION, SEGMENTS
from layerlog.eventstore.state import CHECKPOINTS
from layerlog.eventstore.tail import CUT, LOST, QUARANTINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.core import Core

ASIDE = "mending.new"
LEASE = ".mend"
_OLD = SEGMENTS + ".old"
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class MendingCutShort(Conflict):
    """An earlier mending was put in order, and the journal is another than the plan was made for."""

    message = "an earlier mending was cut short; it is settled now: plan again"
    hint = "layerlog recover"


def switch(folder: str) -> None:
    """The new journal, whole and durable in ``mending.new/``, takes its place. Under the writer lock.

    A process that has the old one open is told by the position.
    """
    aside = os.path.join(folder, ASIDE)
    old, new = os.path.join(folder, SEGMENTS), os.path.join(aside, SEGMENTS)
    disk.sync_folder(aside)
    if os.path.isdir(old):
        _exchange(old, new, os.path.join(aside, _OLD))
    else:
        disk.rename(new, old)
    disk.sync_folder(aside)
    disk.sync_folder(folder)
    _publish(folder)
    _finish(folder)


def _exchange(old: str, new: str, meanwhile: str) -> None:
    """Swap two names at once; where the file system cannot, by three renames, each flushed, between which ``settle`` finds its way."""
    try:
        syscalls.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), syscalls.RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        disk.rename(old, meanwhile)
        disk.sync_folder(os.path.dirname(old))
        disk.rename(new, old)
        disk.sync_folder(os.path.dirname(old))
        disk.rename(meanwhile, new)


def settle(folder: str) -> None:
    """Finish a mending that came as far as the exchange, and take back any other. Whoever calls holds the lease."""
    aside = os.path.join(folder, ASIDE)
    if not os.path.isdir(aside):
        return
    meanwhile = os.path.join(aside, _OLD)
    if os.path.isdir(meanwhile):
        there = os.path.isdir(os.path.join(folder, SEGMENTS))
        disk.rename(meanwhile, os.path.join(aside, SEGMENTS) if there else os.path.join(folder, SEGMENTS))
        disk.sync_folder(folder)
    if _switched(folder):
        _finish(folder)
    else:
        shutil.rmtree(aside)


def settle_if_dead(core: Core) -> None:
    """For recovery: unless somebody is at it."""
    if os.path.isdir(core.folder(ASIDE)):
        with suppress(InUse), core.leases.take(LEASE, {"doing": "recovery", **core.holder_note()}):
            settle(core.folder())


def must_be_as_planned(folder: str, in_place: bool) -> None:
    """Raises MendingCutShort when ``settle`` brought a journal back, or finished one, that the plan knows nothing of."""
    if Journal.exists(folder) and not in_place:
        raise MendingCutShort


def _switched(folder: str) -> bool:
    """Whether the journal that the copy of the genesis aside is of is in place, or another lies aside with it: the old one."""
    aside = os.path.join(folder, ASIDE)
    new = _journal_id(os.path.join(aside, GENESIS))
    if not new:
        return False
    lying = _first_segment(os.path.join(aside, SEGMENTS))
    return new == _journal_id(_first_segment(os.path.join(folder, SEGMENTS))) or bool(lying and new != _journal_id(lying))


def _first_segment(folder: str) -> str:
    """Its path; empty where there is none."""
    try:
        names = segments.listing(folder)
    except FileNotFoundError:
        return ""
    return os.path.join(folder, names[0][2]) if names else ""


def _journal_id(path: str) -> bytes:
    """What the header at the start of a file names; empty when it cannot be read."""
    try:
        with disk.reading(path) as file:
            found = segments.parse(file.read(segments.HEADER_BYTES), path)
    except FileNotFoundError:
        return b""
    return found.journal_id if found is not None else b""


def _finish(folder: str) -> None:
    """After the exchange: the old journal to quarantine, the genesis to its place, what was derived from the old one away."""
    aside = os.path.join(folder, ASIDE)
    if os.path.isdir(os.path.join(aside, SEGMENTS)):
        _keep_old(folder, os.path.join(aside, SEGMENTS))
        disk.sync_folder(aside)
    shutil.rmtree(os.path.join(folder, CHECKPOINTS), ignore_errors=True)  # of the other journal: made again
    with suppress(FileNotFoundError):
        disk.make_way(os.path.join(folder, GENESIS))
        disk.rename(os.path.join(aside, GENESIS), os.path.join(folder, GENESIS))
    disk.sync_folder(folder)
    shutil.rmtree(aside)


def _keep_old(folder: str, old: str) -> None:
    quarantine = os.path.join(folder, QUARANTINE)
    disk.make_folder(quarantine)
    disk.sync_folder(folder)  # also where somebody else, who died, had made it
    kept = os.path.join(quarantine, f"journal-{time.time_ns()}")
    for name in os.listdir(quarantine):  # what says that the old one was cut off
        if name == CUT or name.startswith(f"{LOST}-"):
            disk.rename(os.path.join(quarantine, name), os.path.join(old, name))
    disk.sync_folder(old)  # else it could go without them, and they would speak of the new one
    disk.rename(old, kept)
    disk.sync_folder(quarantine)


def _publish(folder: str) -> None:
    """The position there is of the other journal: the end is found anew. Under the writer lock; else whoever writes next does this."""
    journal = Journal.open(folder, read_only=True)
    try:
        disk.make_way(os.path.join(folder, POSITION))
        published = PositionFile(os.path.join(folder, POSITION), journal.id, read_only=False)
        published.publish(journal.position)
        published.close()
    finally:
        journal.close()
