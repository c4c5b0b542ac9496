"""Is a folder one that a store can trust? Its owner, who else may write there, and what lies under it.

Looked at before anything is opened, so that a refusal touches nothing. What is refused: a folder that somebody else
owns or anybody may write to, since whoever may rename in it can put his own files in the place of ours at any moment;
and one whose name anybody may change (its parent is writable for all and not sticky). In a sticky folder like /tmp a
name that another user took first is that user's, be it a folder or a link: refused as well.
"""

from __future__ import annotations

import os
import stat

from layerlog.eventstore.errors import ReadOnlyStore, StoreError

OTHERS = stat.S_IWOTH


class UnsafeFolder(StoreError):
    """A folder that others than this user can change under a store. Data: ``folder``, ``why``."""

    message = "{folder} is not safe to keep a store in: {why}; nothing was touched"
    hint = "chown and chmod 700 it, or give another --graph (or --run) directory"


class ReadOnlyFileSystem(ReadOnlyStore):
    """The store is there to be looked at; its file system takes no writes. Data: ``root``."""

    message = "{root} is on a read-only file system: it can be looked at, not changed"
    hint = "mount -o remount,rw, if the disk is well; dmesg tells why the kernel made it read-only"


def look(folder: str) -> bool:
    """Whether the file system of *folder*, which may be missing, is read-only. Raises UnsafeFolder; a few microseconds."""
    user = os.geteuid()
    try:
        found = os.stat(folder)
        named = os.lstat(folder)
        above = os.stat(os.path.dirname(folder) or ".")
    except OSError:
        return False  # whoever makes or opens it says what is wrong
    if above.st_mode & OTHERS and not above.st_mode & stat.S_ISVTX:
        raise UnsafeFolder(folder=folder, why=f"anybody may rename it ({os.path.dirname(folder)} is writable for all and not sticky)")
    if found.st_uid != user:
        raise UnsafeFolder(folder=folder, why=f"it belongs to user {found.st_uid}, not to {user}")
    if named.st_uid not in (user, 0) and named.st_uid != above.st_uid:
        raise UnsafeFolder(folder=folder, why=f"its name belongs to user {named.st_uid}")
    if found.st_mode & OTHERS:
        raise UnsafeFolder(folder=folder, why=f"anybody may write to it (mode {stat.S_IMODE(found.st_mode):04o})")
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
