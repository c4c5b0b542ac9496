"""Tools for the worst day: library functions that need no healthy store.

    found = plan_salvage(root)          # what was found and what would be done; reads only
    print("\\n".join(found.lines()))
    mend(found)

``docs/recovery.md`` leads from a symptom to the tool.
"""

from __future__ import annotations

import os

from layerlog.drivers.choose import NAMES
from layerlog.eventstore.errors import ForeignStore, InvalidRequest, JournalError
from layerlog.eventstore.genesis import FOREIGN_NAMES, FOREIGN_SUFFIXES, SUFFIX, journal_folder
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.safety import look
from layerlog.eventstore.scavenge import genesis_copy
from layerlog.exporting import Exported, first_line, store_id_of
from layerlog.mending import Mending, mend, plan
from layerlog.remains import Damaged, Orphaned

__all__ = ["mend", "plan_import", "plan_rebuild", "plan_salvage", "store_of"]


def plan_salvage(root: str, run_root: str = "", driver: str = "") -> Mending:
    """Everything readable of a journal with holes, in a new journal. Raises FileNotFoundError, JournalError, UnknownFormat, StoreError."""
    look(root)
    name = store_of(root, driver)
    folder = journal_folder(root, name)
    if not Journal.exists(folder):
        raise JournalError(f"there is no journal in {folder}: layerlog rebuild adopts what the driver holds")
    return plan(root, run_root, name, "salvage", Damaged(folder, name))


def plan_rebuild(root: str, run_root: str = "", driver: str = "") -> Mending:
    """A new journal of what drivers, blobs and checkpoints hold. Raises ForeignStore, InvalidRequest (the journal can be read)."""
    _must_be_ours(root)
    name = store_of(root, driver)
    folder = journal_folder(root, name)
    if Journal.exists(folder):
        try:
            Damaged(folder, name)
        except JournalError:
            return plan(root, run_root, name, "rebuild", Orphaned(folder, name))
        raise InvalidRequest(f"the journal in {folder} can be read: layerlog journal salvage mends one with holes")
    return plan(root, run_root, name, "rebuild", Orphaned(folder, name))


def plan_import(path: str, root: str, run_root: str = "", driver: str = "") -> Mending:
    """The journal of an export, where there is none; *root* may be empty, or missing.

    Raises InvalidImage, InvalidRequest (there is a journal, or it is another store's), ForeignStore, UnknownFormat, OSError.
    """
    _must_be_ours(root)
    said = first_line(path)
    name = store_of(root, driver or str(said["driver"]))
    folder = journal_folder(root, name)
    if Journal.exists(folder):
        raise InvalidRequest(f"there is a journal in {folder}: an export is imported only where it is gone")
    strange = [one for one in NAMES if one != name and one in _listing(root)]
    if name not in _listing(root) and strange:
        raise InvalidRequest(f"{path} is of a store on {name}, and {root} holds {strange[0]}: layerlog rebuild adopts what that holds")
    remains = Exported(folder, name, path)
    if name != said["driver"]:
        raise InvalidRequest(f"{path} is of a store on {said['driver']}, not on {name}")
    here = store_id_of(genesis_copy(folder))
    if here and remains.store_id not in ("", here):
        raise InvalidRequest(f"{path} is of another store ({remains.store_id[:12]}, not {here[:12]}): layerlog rebuild adopts what is here")
    return plan(root, run_root, name, "import", remains)


def store_of(root: str, driver: str = "") -> str:
    """The driver whose store in *root* is meant, be there a journal or not. Raises InvalidRequest when that cannot be told."""
    if driver:
        if driver not in NAMES:
            raise InvalidRequest(f"there is no driver {driver[:40]!r}: {', '.join(NAMES)}")
        return driver
    names = _listing(root)
    with_journal = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX) and Journal.exists(os.path.join(root, name))]
    left = [name for name in NAMES if name in names or name + SUFFIX in names]
    found = [name for name in with_journal if name in NAMES] or left
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidRequest(f"{root} holds no store and nothing of one")
    raise InvalidRequest(f"{root} holds {' and '.join(found)}: say which with --storage-driver")


def _must_be_ours(root: str) -> None:
    """Raises ForeignStore where something else made the root, UnsafeFolder where others can change it."""
    look(root)
    foreign = [name for name in _listing(root) if name in FOREIGN_NAMES or name.endswith(FOREIGN_SUFFIXES)]
    made = {f"{name}-{kind}" for name in NAMES for kind in ("containers", "images") if os.path.isdir(os.path.join(root, name + SUFFIX))}
    foreign = [name for name in foreign if name not in made]  # folders of containers and images for their users' own files
    if foreign:
        raise ForeignStore(root=root, found=", ".join(foreign[:3]))


def _listing(root: str) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except FileNotFoundError:
        return []
