"""Is a folder one that a store can trust? Its owner, who else may write there, and what lies under it.

Looked at before anything is opened, so that a refusal touches nothing. What is refused: a folder that somebody else
owns or others may write to (anybody, a group with other members, whom an access control list names), since whoever may rename
in it can put his own files in the place of ours at any moment; and one that anybody may rename (the folder that it, or what a
link leads to, lies in is writable for all and not sticky; those further above are not looked at, since in many a container one
is like that and nobody else is there). In a sticky folder like /tmp a
name that another user took first is that user's, be it a folder or a link: refused as well.
"""

from __future__ import annotations

import os
import stat
import struct

from layerlog.eventstore.errors import ReadOnlyStore, StoreError

OTHERS = stat.S_IWOTH
_WRITE, _NAMED_USER, _GROUP_OF_OWNER, _NAMED_GROUP = 2, 0x02, 0x04, 0x08
"""Of an access control list as xattr: acl(5), linux/posix_acl_xattr.h."""


class UnsafeFolder(StoreError):
    """A folder that others than this user can change under a store. Data: ``folder``, ``why``."""

    message = "{folder} is not safe to keep a store in: {why}; nothing was touched"
    hint = "chown and chmod 700 it, or give another --graph (or --run) directory"


class ReadOnlyFileSystem(ReadOnlyStore):
    """The store is there to be looked at; its file system takes no writes. Data: ``root``."""

    message = "{root} is on a read-only file system: it can be looked at, not changed"
    hint = "mount -o remount,rw, if the disk is well; dmesg tells why the kernel made it read-only"


class LinkedFolder(StoreError):
    """A folder of a store is a symbolic link. Data: ``folder``."""

    message = "{folder} is a symbolic link: what lies behind it is not this store's, and was not touched"
    hint = "move the folder itself there; the root as a whole may be a link, and so may the home of its driver"


def names_in(folder: str) -> list[str]:
    """Names in a folder below the store's, none when it is missing. Raises LinkedFolder.

    Recovery and collection remove what they find there and no record claims: behind a link that would be other people's files.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    except OSError:
        if os.path.islink(folder):
            raise LinkedFolder(folder=folder) from None
        raise
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def is_folder(path: str) -> bool:
    """Whether there is a folder. Raises LinkedFolder when a link leads to it."""
    if os.path.islink(path):
        raise LinkedFolder(folder=path)
    return os.path.isdir(path)


def look(folder: str) -> bool:
    """Whether the file system of *folder*, which may be missing, is read-only. Raises UnsafeFolder; some ten microseconds."""
    user = os.geteuid()
    for path in {os.path.dirname(folder) or ".", os.path.dirname(os.path.realpath(folder))}:
        if _lets_anybody_rename(path):
            raise UnsafeFolder(folder=folder, why=f"anybody may rename it ({path} is writable for all and not sticky)")
    try:
        found = os.stat(folder)
        named = os.lstat(folder)
        above = os.stat(os.path.dirname(folder) or ".")
    except OSError:
        return False  # whoever makes or opens it says what is wrong
    if found.st_uid != user:
        raise UnsafeFolder(folder=folder, why=f"it belongs to user {found.st_uid}, not to {user}")
    if named.st_uid not in (user, 0) and named.st_uid != above.st_uid:
        raise UnsafeFolder(folder=folder, why=f"its name belongs to user {named.st_uid}")
    if found.st_mode & OTHERS:
        raise UnsafeFolder(folder=folder, why=f"anybody may write to it (mode {stat.S_IMODE(found.st_mode):04o})")
    if found.st_mode & stat.S_IWGRP and (who := _who_else(folder, found.st_gid, user)):
        raise UnsafeFolder(folder=folder, why=f"{who} may write to it (mode {stat.S_IMODE(found.st_mode):04o})")
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _lets_anybody_rename(folder: str) -> bool:
    try:
        mode = os.stat(folder).st_mode
    except OSError:
        return False  # whoever goes through it says what is wrong
    return bool(mode & OTHERS) and not mode & stat.S_ISVTX


def _who_else(folder: str, group_id: int, user: int) -> str:
    """Who, besides its owner, may write to a folder whose mode lets its group do so; empty: nobody.

    With an access control list the group's bits are the mask of the list, which is then looked at. A group that is the user's
    own and has no other members lets nobody in: what ``umask 002`` makes on many systems.
    """
    group_may = True
    try:
        listed = os.getxattr(folder, "system.posix_acl_access")
    except OSError:
        listed = b""
    for tag, allowed, named in struct.iter_unpack("<HHI", listed[4:]):
        if tag == _GROUP_OF_OWNER:
            group_may = bool(allowed & _WRITE)
        elif allowed & _WRITE and (tag == _NAMED_GROUP or (tag == _NAMED_USER and named not in (user, 0))):
            return f"{'user' if tag == _NAMED_USER else 'group'} {named}, by its access control list,"
    return f"group {group_id}" if group_may and not _is_private(group_id, user) else ""


def _is_private(group_id: int, user: int) -> bool:
    import grp
    import pwd

    try:
        group, name = grp.getgrgid(group_id), pwd.getpwuid(user).pw_name
    except KeyError:  # no such names here, as in a container
        return group_id == user
    return not set(group.gr_mem) - {name} and (group.gr_name == name or group_id == user)
