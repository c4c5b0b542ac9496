"""Genesis: what a store is, said in its first commit; and the guard before it. DESIGN §2.

A root that somebody else filled is refused before anything in it is touched.
"""

from __future__ import annotations

import os

from layerlog.eventstore import codec
from layerlog.eventstore.envelope import process_facts
from layerlog.eventstore.errors import ForeignStore, InvalidRequest, JournalMissing, UnknownFormat
from layerlog.eventstore.ids import new_id
from layerlog.eventstore.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.eventstore.events import StoreCreated

FORMAT = 1
SUFFIX = "-layerlog"
DRIVERS = ("overlay", "vfs", "btrfs", "zfs", "aufs", "devicemapper", "windowsfilter")
FOREIGN_NAMES = ("storage.lock", "libpod", "userns.lock", "defaultNetworkBackend", "db.sql")
FOREIGN_SUFFIXES = ("-layers", "-images", "-containers", "-locks")
OWN_IN_DRIVER_HOME = ("staging", "trash", "lost+found")
"""Folders of ours in a driver's home that hold no layer of their own."""


def make_genesis(root: str, driver: str, options: list[str], durability: str = "full") -> str:
    """Make the store of *driver* in *root*: its folders and its journal with commit 1. Durable; returns the store's ID.

    A store that is there already, perhaps made by another process this moment, stays as it is.
    """
    event = genesis_event(driver=driver, options=options, durability=durability)
    Journal.create(journal_folder(root, driver), codec.Encoder().encode([event], process_facts())).close()
    return event["store_id"]


def genesis_event(*, driver: str, options: list[str], durability: str = "full", store_id: str = "") -> StoreCreated:
    """The event of commit 1."""
    return {
        "type": "StoreCreated",
        "store_id": store_id or new_id(),
        "format": FORMAT,
        "driver": driver,
        "options": options,
        "durability": durability,
    }


def check_format(found: int) -> None:
    """Raises UnknownFormat when a store is newer than this code."""
    if found > FORMAT:
        raise UnknownFormat(what="this store", found=found, known=FORMAT)


def journal_folder(root: str, driver: str) -> str:
    """Where the journal of one driver's store in a root is."""
    return os.path.join(root, driver + SUFFIX)


def choose_home(root: str, driver: str | None = None) -> str | None:
    """The driver whose store in *root* is meant: the one asked for, else the one the root was made with.

    None when *root* holds no store yet and none was asked for. Touches nothing.
    Raises: ForeignStore, JournalMissing.
    """
    if driver is not None:
        guard(root, driver)
        return driver
    for name in _listing(root):
        if name.endswith(SUFFIX) and Journal.exists(os.path.join(root, name)):
            return name.removesuffix(SUFFIX)
    guard(root, "")
    return None


def guard(root: str, driver: str) -> bool:
    """Whether there is a store of *driver* in *root*; False when a new one may be made. Touches nothing.

    Raises: ForeignStore (something else made this root), JournalMissing (layers, but no journal of ours).
    """
    if driver and Journal.exists(journal_folder(root, driver)):
        return True
    names = _listing(root)
    beside = {f"{name}-{kind}" for name in DRIVERS if _is_ours(root, name) for kind in ("containers", "images")}
    foreign = [name for name in names if (name in FOREIGN_NAMES or name.endswith(FOREIGN_SUFFIXES)) and name not in beside]
    if foreign:
        raise ForeignStore(root=root, found=", ".join(foreign[:3]))
    ours = [name for name in names if name.endswith(SUFFIX)]
    for name in names:
        home = os.path.join(root, name)
        if name not in DRIVERS or Journal.exists(journal_folder(root, name)) or not _populated(home):
            continue
        if ours or _is_ours(root, name):
            raise JournalMissing(root=root, found=home)
        raise ForeignStore(root=root, found=f"a populated {name}/")
    return False


def _is_ours(root: str, driver: str) -> bool:
    """Whether a store of ours is, or was, in *root* for that driver: then the folders for its users' own files beside it are ours, too."""
    if Journal.exists(journal_folder(root, driver)):
        return True
    return all(os.path.isdir(os.path.join(root, driver, one)) for one in ("staging", "trash"))


def _listing(root: str) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise InvalidRequest(f"mkdir {root}: not a directory") from None


def _populated(home: str) -> bool:
    """Whether a driver's folder holds layers: its own ``dir/``, ``l/`` and the like count only when filled."""
    try:
        names = os.listdir(home)
    except NotADirectoryError:
        return True
    for name in names:
        path = os.path.join(home, name)
        if name in OWN_IN_DRIVER_HOME:
            continue
        if name in ("dir", "l", "subvolumes", "graph") and os.path.isdir(path):
            if os.listdir(path):
                return True
            continue
        if name.startswith("."):
            continue
        return True
    return False
