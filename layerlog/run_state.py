"""The run journal of this boot, and the one lock around mounting.

Mounts are events in a second journal in the run root, not fsynced: a boot undoes mounts and voids
the journal with them (DESIGN §4).
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from layerlog.eventstore import disk
from layerlog.eventstore.ledger import Ledger
from layerlog.eventstore.locks import FileLock
from layerlog.eventstore.rows import Table
from layerlog.eventstore.safety import look
from layerlog.eventstore.volatile import is_of_this_boot
from layerlog.projections import mounts
from layerlog.projections.fold import FOLD_VERSION, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.rows import Rows


def open_run_ledger(core: Core) -> Ledger:
    """Open this boot's run journal; a journal of an earlier boot is void and replaced by a new one."""
    return Ledger.open_volatile(core.run_folder(), fold, fold_version=FOLD_VERSION, read_only=core.is_read_only)


@contextmanager
def reading(core: Core) -> Iterator[Rows]:
    """Rows of the run journal; none are there before the first mount of this boot."""
    if core.lazy.run_ledger is None and not is_of_this_boot(core.run_folder()):
        yield Table()
        return
    with core.run_ledger.reading() as rows:
        yield rows


def commit(core: Core, events: list[Any]) -> None:
    """Record mounts; visible to every process of this boot on return, gone with the boot."""
    core.run_ledger.commit(lambda rows: events, envelope=core.terms.envelope)


@contextmanager
def mount_lock(core: Core) -> Iterator[None]:
    """One mount or unmount at a time, over all processes and run roots: kernel and counts change together."""
    core.must_write()
    disk.make_folders(core.run_folder())
    look(core.run_root)  # in a shared temporary folder somebody else may have been quicker
    with FileLock(core.folder("mounts.lock")):
        yield


def namespace() -> int:
    """The mount namespace of this process, as a number; 0 where the kernel tells none."""
    try:
        return os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        return 0


def unmount_for_good(core: Core, layer_id: str) -> None:
    """Unmount a layer that is going away, whatever its count."""
    if not is_of_this_boot(core.run_folder()):
        return  # nothing was mounted since the boot
    with mount_lock(core):
        with core.mount_rows() as rows:
            row = mounts.get(rows, layer_id)
        if row is not None:
            core.driver.unmount(layer_id)
            commit(core, [{"type": "Unmounted", "id": layer_id, "count": 0}])
