"""Which driver is meant, and can it work here?"""

from __future__ import annotations

from layerlog.eventstore.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerlog.drivers.driver import Driver

NAMES = ("overlay", "btrfs", "zfs", "vfs")
"""In the order in which they are tried where none was asked for (contract/cli.md §2); vfs works everywhere."""
_UNTRIED = ("zfs",)
"""Built and never run for real: used where it is asked for, never chosen."""


class DriverNotSupported(NotSupported):
    """No store of that driver can be made there. Data: ``driver``, ``root``, ``why``."""

    message = "driver {driver!r} is not supported; {why}"


def open_driver(name: str, root: str, run_root: str = "", options: Sequence[str] = ()) -> Driver:
    """The driver *name* over ``root/name``; touches no disk. Raises DriverNotSupported for a name nobody knows.

    *options* are ``KEY=VALUE``, as --storage-opt takes them.
    """
    if name == "vfs":
        from layerlog.drivers.vfs import VFS

        return VFS(root, run_root, options)
    if name == "overlay":
        from layerlog.drivers.overlay import Overlay

        return Overlay(root, run_root, options)
    if name == "btrfs":
        from layerlog.drivers.btrfs import Btrfs

        return Btrfs(root, run_root, options)
    if name == "zfs":
        from layerlog.drivers.zfs import ZFS

        return ZFS(root, run_root, options)
    if name == "null":
        from layerlog.drivers.null import Null

        return Null(root)
    raise DriverNotSupported(driver=name, root=root, why=f"there are {', '.join(NAMES)}")


def probe(name: str, root: str) -> str:
    """Why the driver *name* cannot be used below *root*; empty when it can. Leaves nothing behind."""
    if name == "overlay":
        from layerlog.drivers.probing import probe_overlay

        return probe_overlay(root)
    if name == "btrfs":
        from layerlog.drivers.btrfs import probe_btrfs

        return probe_btrfs(root)
    if name == "zfs":
        from layerlog.drivers.zfs import probe_zfs

        return probe_zfs(root)
    return "" if name in NAMES else f"there is no driver {name!r}"


def check_new(name: str, root: str) -> None:
    """Raise DriverNotSupported when no store of the driver *name* can be made in *root*, before anything of it is made.

    overlay and vfs are not tried: the first can be made where it cannot be mounted, the second works everywhere.
    """
    why = probe(name, root) if name in ("btrfs", "zfs") else "" if name in (*NAMES, "null") else f"there are {', '.join(NAMES)}"
    if why:
        raise DriverNotSupported(driver=name, root=root, why=why)


def first_working(root: str) -> str:
    """The first of NAMES that works for root; for everybody else vfs, which always works."""
    import os

    if os.geteuid() == 0:
        for name in NAMES:
            if name not in _UNTRIED and not probe(name, root):
                return name
    return "vfs"
