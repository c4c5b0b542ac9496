"""Can the kernel show a folder's owners through an ID map, and the mounts that do (mount_setattr(2), MOUNT_ATTR_IDMAP)?

A map can only be given by way of a user namespace that has it: a helper process enters one and waits until
its descriptor is taken. Linux 5.19 takes such mounts as lower layers of an overlay.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from layerlog.drivers import durable, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerlog.drivers.driver import IDMap
    from layerlog.drivers.idmaps import IDMaps
    from layerlog.drivers.overlay import Overlay

_HELPER = """
import ctypes, sys
if ctypes.CDLL(None).unshare(0x10000000):
    sys.exit(1)
sys.stdout.write("in\\n")
sys.stdout.flush()
sys.stdin.read()
"""
FOLDER = "mapped"
"""In a layer's folder: where its lower layers are mounted while its own mount is made of them."""


@contextmanager
def namespace_of(maps: IDMaps) -> Iterator[int]:
    """A descriptor of a user namespace with these maps. Raises OSError."""
    import subprocess
    import sys

    helper = subprocess.Popen([sys.executable, "-I", "-S", "-c", _HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        if helper.stdout.readline() != b"in\n":
            raise PermissionError(1, "no user namespace can be made here")
        for name, lines in (("uid_map", maps.uids), ("gid_map", maps.gids)):
            with open(f"/proc/{helper.pid}/{name}", "wb", buffering=0) as file:
                file.write(_lines(lines))
        fd = os.open(f"/proc/{helper.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        helper.stdin.close()
        helper.stdout.close()
        helper.wait()
    try:
        yield fd
    finally:
        os.close(fd)


def _lines(maps: Sequence[IDMap]) -> bytes:
    """As user_namespaces(7) wants them; a side without a map keeps every ID."""
    return b"".join(b"%d %d %d\n" % (one.container, one.host, one.size) for one in maps) or b"0 0 4294967295\n"


@contextmanager
def shifted(driver: Overlay, layer_id: str, lowers: list[str], maps: IDMaps) -> Iterator[list[str]]:
    """Places where *lowers* are seen through *maps*, for as long as it takes to make a mount of them."""
    top = os.path.join(driver.path(layer_id), FOLDER)
    places: list[str] = []
    forget(top)
    try:
        with namespace_of(maps) as namespace:
            for number, lower in enumerate(lowers):
                place = os.path.join(top, str(number))
                durable.make_folder(top, 0o700)
                durable.make_folder(place, 0o700)
                fd = syscalls.open_tree(os.fsencode(lower))
                try:
                    syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_IDMAP, user_namespace_fd=namespace)
                    syscalls.move_mount(fd, os.fsencode(place))
                finally:
                    os.close(fd)
                places.append(place)
        yield places
    finally:
        forget(top)


def forget(top: str) -> None:
    """Take away what a mount that was cut short left at *top*."""
    if not os.path.isdir(top):
        return
    for name in os.listdir(top):
        try:
            syscalls.umount(os.fsencode(os.path.join(top, name)), syscalls.MNT_DETACH)
        except OSError as error:
            if error.errno != 22:  # EINVAL: not mounted
                raise
        os.rmdir(os.path.join(top, name))
    os.rmdir(top)


def can_shift(driver: Overlay) -> bool:
    """Whether overlay mounts of mapped lower layers work below this home.

    The file system is asked by mapping a detached copy of its mount, which leaves nothing; that overlay takes such a
    mount as a lower layer cannot be asked so, and goes by the kernel's version.
    """
    from layerlog.drivers.driver import IDMap
    from layerlog.drivers.idmaps import IDMaps

    if os.geteuid() != 0 or driver.rootless or _kernel() < _OVERLAY_SHIFTS:
        return False
    maps = [IDMap(0, 100_000, 65_536)]
    try:
        with namespace_of(IDMaps(maps, maps)) as namespace:
            fd = syscalls.open_tree(os.fsencode(driver.home))
            try:
                syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_IDMAP, user_namespace_fd=namespace)
            finally:
                os.close(fd)
    except OSError:
        return False
    return True


_OVERLAY_SHIFTS = (5, 19)


def _kernel() -> tuple[int, int]:
    """Version of the running kernel; (0, 0) for one that cannot be read."""
    numbers = os.uname().release.split("-")[0].split(".")
    return (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 and numbers[0].isdigit() and numbers[1].isdigit() else (0, 0)
