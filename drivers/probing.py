"""Can a driver work in this place, and if not, why?

Asked by doing it: a probe makes the folders it needs below the root, mounts, looks, and leaves nothing behind.
"""

from __future__ import annotations

import os

from layerlog.drivers import durable, mounts
from layerlog.drivers.driver import MountOptions
from layerlog.eventstore.errors import StoreError

_PROBE = ".probe."


def probe_overlay(root: str) -> str:
    """Why overlay cannot be used below *root*; empty when it can.

    A two-layer mount is made and read: a deleted file must be gone, and a written one must land in the upper folder.
    """
    import secrets

    place = root
    while not os.path.isdir(place):
        place = os.path.dirname(place) or "."
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} is not writable"
    from layerlog.drivers.overlay import Overlay

    home = os.path.join(place, _PROBE + secrets.token_hex(6))
    driver = Overlay(home)
    try:
        try:
            driver.setup()
            driver.create("below", [])
            below = os.path.join(driver.path("below"), "diff")
            os.chmod(below, 0o755)
            with open(os.path.join(below, "gone"), "w"):
                pass
            driver.create("above", ["below"])
            merged = driver.mount("above", ["below"], MountOptions())
            try:
                os.unlink(os.path.join(merged, "gone"))
                with open(os.path.join(merged, "new"), "w"):
                    pass
                kinds = sorted((change.kind, change.path) for change in driver.changes("above", ["below"]))
            finally:
                driver.unmount("above")
        finally:
            durable.remove_tree(home)
    except (StoreError, OSError) as error:
        return _why(error)
    if kinds != [(1, b"/new"), (2, b"/gone")]:
        return "a mount works but does not keep deletions as whiteouts"
    return ""


def _why(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, PermissionError):
        if os.geteuid() != 0:
            return "mounting overlay needs root or a user namespace in which one is root (unshare -rm)"
        return f"the kernel refuses to mount here: {cause.strerror}"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower() + (f" ({cause.filename})" if cause.filename else "")
    return str(error)


def overlay_status(home: str, rootless: bool, shifts: bool) -> list[tuple[str, str]]:
    """Lines for ``status``, in the original's words."""
    found = mounts.file_system_of(home)
    return [
        ("Backing Filesystem", _shown(found.kind) if found else "<unknown>"),
        ("Supports d_type", "true"),
        ("Native Overlay Diff", "true"),
        ("Using metacopy", "false"),
        ("Supports shifting", "true" if shifts else "false"),
        ("Supports volatile", "true"),
        *((("Rootless", "true"),) if rootless else ()),
    ]


def _shown(kind: str) -> str:
    return {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs", "overlay": "overlayfs"}.get(kind, kind)
