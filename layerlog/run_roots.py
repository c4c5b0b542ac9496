"""The run roots through which layers of a store are mounted: one that is not ours has counts, too.

Whoever mounts has its run root named in ``run-roots/`` beside the store's journal: a symlink to the folder of its run
journal, called by a hash of that. It is of use while the boot lasts, so it is never flushed, and dropped by whoever comes with
another one after a boot. A store that was copied has the names of the original's run roots: their mounts are not below it.
"""

from __future__ import annotations

import hashlib
import os

from layerlog.eventstore import disk
from layerlog.eventstore.ledger import Ledger
from layerlog.eventstore.safety import names_in
from layerlog.eventstore.volatile import is_of_this_boot
from layerlog.projections import mounts
from layerlog.projections.fold import FOLD_VERSION, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.projections.items import Row

FOLDER = "run-roots"


def remember(core: Core) -> None:
    """Have our run root named, under the lock of mounts and before anything is mounted. Our run journal must be there. Raises DiskError."""
    ours = os.path.realpath(core.run_folder())
    name = hashlib.sha256(os.fsencode(ours)).hexdigest()[:32]
    if os.path.islink(core.folder(FOLDER, name)):
        return
    disk.make_folder(core.folder(FOLDER))
    for other, folder in _named(core):
        if not is_of_this_boot(folder):
            disk.unlink(core.folder(FOLDER, other))
    disk.symlink(ours, core.folder(FOLDER, name))


def counted_elsewhere(core: Core) -> list[Row]:
    """What other run roots of this boot count of this store's layers, a row each."""
    ours = os.path.realpath(core.run_folder())
    found: list[Row] = []
    for _, folder in _named(core):
        if folder == ours or not is_of_this_boot(folder):
            continue
        ledger = Ledger(folder, fold=fold, read_only=True, durable=False, fold_version=FOLD_VERSION)
        try:
            with ledger.reading() as rows:
                found += _of_this_store(core, mounts.every(rows))
        finally:
            ledger.close()
    return found


def counted_here(core: Core) -> list[Row]:
    """What our run root counts of this store's layers. It may be that of other stores, too, and is that of both halves of a split one."""
    with core.mount_rows() as rows:
        return _of_this_store(core, mounts.every(rows))


def every_mount(core: Core) -> list[Row]:
    """The rows of our run root, then those of the others."""
    return [*counted_here(core), *counted_elsewhere(core)]


def _of_this_store(core: Core, counted: list[Row]) -> list[Row]:
    home = os.path.realpath(core.driver.home) + os.sep
    return [row for row in counted if os.path.realpath(row["path"]).startswith(home)]


def _named(core: Core) -> Iterator[tuple[str, str]]:
    for name in names_in(core.folder(FOLDER)):
        path = core.folder(FOLDER, name)
        if os.path.islink(path):
            yield name, os.readlink(path)
