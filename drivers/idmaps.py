"""Which owner on the host stands for which owner inside a layer, and a tree given from one map to another.

Copies with other owners keep everything else: capabilities, setuid bits, times and hard links
(contract/semantics.md §6). An ID outside its map is an error, never somebody else's file.
"""

from __future__ import annotations

import os
import stat

from layerlog.drivers.driver import IDMap
from layerlog.eventstore.errors import InvalidMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

CAPABILITY = "security.capability"
_LOST_BY_CHOWN = stat.S_ISUID | stat.S_ISGID


class UnmappedID(InvalidMappings):
    """Data: ``side``, ``number``, ``other``."""

    message = "{side} ID {number} cannot be mapped to a {other} ID"


class IDMaps:
    """Maps of one layer; without entries every ID is itself."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: Iterable[IDMap] = (), gids: Iterable[IDMap] = ()) -> None:
        self.uids, self.gids = tuple(uids), tuple(gids)

    def __bool__(self) -> bool:
        return bool(self.uids or self.gids)

    def host(self, uid: int, gid: int) -> tuple[int, int]:
        """Owner on the host. Raises UnmappedID."""
        return _mapped(uid, self.uids, "container", "host"), _mapped(gid, self.gids, "container", "host")

    def container(self, uid: int, gid: int) -> tuple[int, int]:
        """Owner inside. Raises UnmappedID."""
        return _mapped(uid, self.uids, "host", "container"), _mapped(gid, self.gids, "host", "container")

    def covers_host(self, uid: int, gid: int) -> bool:
        """Whether something inside stands for both."""
        return _inside(uid, self.uids) and _inside(gid, self.gids)


def maps_of(row: dict[str, Any] | None) -> IDMaps:
    """Maps that a layer's or container's row records."""
    found = row or {}
    return IDMaps(*([IDMap(one["container_id"], one["host_id"], one["size"]) for one in found.get(field, ())] for field in FIELDS))


FIELDS = ("uid_map", "gid_map")


class Remap:
    """From the host's owners under one map to those under another."""

    __slots__ = ("new", "old")

    def __init__(self, old: IDMaps, new: IDMaps) -> None:
        self.old, self.new = old, new

    def changes_nothing(self) -> bool:
        """The same maps on both sides."""
        return all(
            [(one.container, one.host, one.size) for one in old] == [(one.container, one.host, one.size) for one in new]
            for old, new in ((self.old.uids, self.new.uids), (self.old.gids, self.new.gids))
        )

    def __call__(self, uid: int, gid: int) -> tuple[int, int]:
        return self.new.host(*self.old.container(uid, gid))


def _mapped(number: int, maps: Sequence[IDMap], side: str, other: str) -> int:
    """What *number* on one side (``container`` or ``host``) is on the other. Raises UnmappedID."""
    for one in maps:
        if 0 <= (place := number - getattr(one, side)) < one.size:
            found: int = getattr(one, other) + place
            return found
    if maps:
        raise UnmappedID(side=side, number=number, other=other)
    return number


def _inside(number: int, maps: Sequence[IDMap]) -> bool:
    return not maps or any(one.host <= number < one.host + one.size for one in maps)


def shift_tree(folder: str, remap: Remap) -> None:
    """Give everything in *folder*, and itself, to its owner under the new map. Not durable. Raises UnmappedID, OSError."""
    seen: set[tuple[int, int]] = set()
    for _, folders, files, fd in os.fwalk(os.fsencode(folder), topdown=False, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) or (found.st_dev, found.st_ino) in seen:
                continue
            if found.st_nlink > 1:
                seen.add((found.st_dev, found.st_ino))
            _shift(b"/proc/self/fd/%d/%b" % (fd, name), found, remap)
        _shift(b"/proc/self/fd/%d" % fd, os.fstat(fd), remap, follow=True)


def _shift(path: bytes, found: os.stat_result, remap: Remap, follow: bool = False) -> None:
    """chown(2) takes away what lets a file run with other rights; it is put back."""
    owner = remap(found.st_uid, found.st_gid)
    if owner == (found.st_uid, found.st_gid):
        return
    capability = _capability(path) if stat.S_ISREG(found.st_mode) else b""
    os.chown(path, *owner, follow_symlinks=follow)
    if found.st_mode & _LOST_BY_CHOWN and not stat.S_ISLNK(found.st_mode):
        os.chmod(path, stat.S_IMODE(found.st_mode))
    if capability:
        os.setxattr(path, CAPABILITY, capability, follow_symlinks=False)


def _capability(path: bytes) -> bytes:
    try:
        return os.getxattr(path, CAPABILITY, follow_symlinks=False)
    except OSError:
        return b""  # it has none, or the file system knows none
