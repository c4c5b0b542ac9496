"""Layers of volatile containers: which run journal claims them, and their end after a boot (transient.py)."""

from __future__ import annotations

import os

from layerlog.eventstore import disk
from layerlog.eventstore.position import boot_id
from layerlog.eventstore.rows import Table
from layerlog.eventstore.safety import names_in
from layerlog.eventstore.volatile import is_of_this_boot
from layerlog.projections.items import get
from layerlog.projections.several import Borrowed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.core import Core
    from layerlog.eventstore.rows import Rows

VOLATILE = "volatile"
"""Folder of ROOT/<driver>-layerlog with a file for each layer that only a run journal claims: boot, run root, container."""


def run_part(core: Core) -> Rows | None:
    """Layers and containers of the run journal, as they are now; None when it never had any."""
    if not os.path.exists(core.run_folder("containers")) or not is_of_this_boot(core.run_folder()):
        return None
    with core.run_ledger.reading() as rows:  # a copy: its lock must not be held while others are waited for
        frozen = Table(list(rows.scan(b"")))
    return Borrowed(frozen, {"run": True}, whole=True, lists=("layer", "container") if core.shows_run else ())


def claims_layer(core: Core, layer_id: str) -> bool:
    """Whether a run journal of this boot claims a layer: ours, or that of the run root which made it."""
    run = run_part(core)
    if run is not None and get(run, "layer", layer_id) is not None:
        return True
    made = _made_by(core, layer_id)
    return made is not None and made[0] == boot_id().hex() and made[1] != core.run_root and is_of_this_boot(_journal_of(core, made[1]))


def _journal_of(core: Core, run_root: str) -> str:
    return os.path.join(run_root, os.path.basename(core.run_folder()))


def mark_volatile(core: Core, layer_id: str, container_id: str) -> None:
    """Say beside the root's journal whose layer this is, for whoever finds its files after a boot. Not synced."""
    disk.make_folder(core.folder(VOLATILE))
    fd = disk.open_to_write(core.folder(VOLATILE, layer_id), os.O_CREAT | os.O_TRUNC)
    try:
        disk.write_all(fd, os.fsencode(f"{boot_id().hex()}\0{core.run_root}\0{container_id}"))
    finally:
        os.close(fd)


def is_volatile(core: Core, layer_id: str) -> bool:
    """Whether a run journal, of whichever boot, made this layer, and its end was not written down yet."""
    return os.path.exists(core.folder(VOLATILE, layer_id))


def unmark_volatile(core: Core, layer_id: str) -> None:
    disk.unlink(core.folder(VOLATILE, layer_id))


def _made_by(core: Core, layer_id: str) -> tuple[str, str, str] | None:
    """Boot, run root and container of a volatile layer; None for any other."""
    try:
        with disk.reading(core.folder(VOLATILE, layer_id)) as file:
            parts = os.fsdecode(file.read()).split("\0")
    except OSError:
        return None
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", "")


def end_volatile(core: Core) -> None:
    """After a boot: remove what is left on disk of containers that ended with the one before."""
    names = names_in(core.folder(VOLATILE))
    if not names:
        return
    import shutil

    from layerlog.eventstore.errors import DriverError
    from layerlog.left_behind import not_ours
    from layerlog.losing import newest_trash

    for layer_id in names:
        made = _made_by(core, layer_id)
        if made is None or made[0] == boot_id().hex():
            continue
        try:
            with core.lease(layer_id, "end volatile container", wait=True):
                core.driver.remove(layer_id)
                if newest_trash(core, layer_id) is None:  # a deletion of the run journal keeps nothing
                    for entry in core.driver.trash():
                        if entry.partition("-")[2] == layer_id:
                            core.driver.free(entry)
                if made[2]:
                    shutil.rmtree(os.path.join(core.root, f"{core.driver_name}-containers", made[2]), ignore_errors=True)
        except DriverError as error:
            if not not_ours(error):
                raise
            continue  # marked as it is, for a boot after which somebody opens the store who may
        unmark_volatile(core, layer_id)
