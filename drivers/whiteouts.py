"""How is "this was deleted" written in a tar, and how on disk?

In tars: an empty file ``.wh.NAME`` deletes NAME, ``.wh..wh..opq`` hides all that lower layers hold in
that folder, and other names beginning with ``.wh..wh.`` are AUFS's own and mean nothing here. On disk
overlay uses a character device 0:0 and an xattr of the folder; the other drivers really remove.
Source: contract/semantics.md §4.
"""

from __future__ import annotations

import stat

from layerlog.drivers.resolve import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
_META_PREFIX = b".wh..wh."

NOT_A_WHITEOUT, DELETES, HIDES, IGNORED, REFUSED = range(5)


def meaning(base: bytes) -> int:
    """What the last component of a member's name says."""
    if not base.startswith(PREFIX):
        return NOT_A_WHITEOUT
    if base == OPAQUE:
        return HIDES
    if base.startswith(_META_PREFIX):
        return IGNORED
    return REFUSED if base[4:] in (b"", b".", b"..") else DELETES


def is_named(name: bytes) -> bool:
    """Whether a member of this name, ``./d/.wh.x/`` as well as ``d/.wh.x``, is a whiteout or AUFS's own, no file of a layer."""
    return PREFIX in name and clean(name).rpartition(b"/")[2].startswith(PREFIX)


def is_overlay_whiteout(found: os.stat_result) -> bool:
    return found.st_rdev == 0 and stat.S_ISCHR(found.st_mode)


def opaque_xattr(rootless: bool) -> str:
    """The xattr of a folder that hides lower layers, for a mount made by root or in a user namespace (``userxattr``)."""
    return "user.overlay.opaque" if rootless else "trusted.overlay.opaque"


def is_private_xattr(name: str) -> bool:
    """Overlay's own xattrs: never taken from an archive, never put into one (they steer where a mount looks)."""
    return name.startswith(("trusted.overlay.", "user.overlay."))
