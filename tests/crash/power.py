"""Power cuts on a model of a disk: every write, rename, folder change and flush in order, then what may be left.

What was flushed is there. Of the rest any part is: single changes, writes torn at 512 and 4,096 bytes, a file of its new
size full of zeros, a rename that never happened. Names in a folder are flushed by an fsync of that folder (of either
folder of a rename), contents and attributes by an fsync of the file, everything by syncfs. Nothing else is promised,
which is less than any file system gives: what survives here survives there.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from layerlog.drivers import syscalls
from tests.crash.seams import SYNCS, Watcher

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

TORN = (512, 4096)
ACK = "acknowledged"
DROPPED = "dropped"
"""A flush that failed: the pages of that file (None: of every file) are clean in memory and never reach the disk."""
_ATTRIBUTES = frozenset(("chmod", "fchmod", "chown", "fchown", "lchown", "utime", "setxattr", "removexattr"))
_CONTENTS = frozenset(("sendfile", "copy_file_range", "ftruncate", "truncate", "posix_fallocate", "clone_file"))
_RENAMES = ("rename", "exchange")
Change = tuple[Any, ...]


class Recorder(Watcher):
    """Writes down every change of the files, by inode number. *forget*: flushes that a broken store would not make."""

    def __init__(self, forget: str = "") -> None:
        super().__init__()
        self.trace: list[Change] = []
        self.forget = forget

    def acknowledge(self, sequence: int) -> None:
        self.trace.append((ACK, sequence))

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in SYNCS:
            return self._flush(name, real, args)
        before = self._before(name, args, kwargs)
        result = real(*args, **kwargs)
        self._after(name, args, kwargs, before, result)
        return result

    def _flush(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        found = os.fstat(args[0])
        forgotten = self.forget == "all" or (self.forget == "folders" and stat.S_ISDIR(found.st_mode) and name != "syncfs")
        if not forgotten:
            self.trace.append(("syncfs",) if name == "syncfs" else ("sync", found.st_ino))
        return real(*args)

    def _before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name == "open":
            return os.path.lexists(args[0]) if kwargs.get("dir_fd") is None else _there(args[0], kwargs["dir_fd"])
        if name == "write":
            return os.lseek(args[0], 0, os.SEEK_CUR)
        return None

    def _after(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], before: Any, result: Any) -> None:
        folder_fd = kwargs.get("dir_fd")
        if name == "open":
            flags = args[1] if len(args) > 1 else kwargs["flags"]
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                return
            inode = os.fstat(result)
            if not before:
                self.trace.append(("name", *_place(args[0], folder_fd), inode.st_ino, _attributes(result)))
            elif flags & os.O_TRUNC:
                self.trace.append(("contents", inode.st_ino, b""))
        elif name == "write":
            self.trace.append(("write", os.fstat(args[0]).st_ino, before, bytes(args[1][:result])))
        elif name == "pwrite":
            self.trace.append(("write", os.fstat(args[0]).st_ino, args[2], bytes(args[1][:result])))
        elif name in ("rename", "replace"):
            old, new = _place(args[0], kwargs.get("src_dir_fd")), _place(args[1], kwargs.get("dst_dir_fd"))
            self.trace.append(("rename", *old, *new))
        elif name == "renameat2":
            kind = "exchange" if args[4] & syscalls.RENAME_EXCHANGE else "rename"
            self.trace.append((kind, *_place(args[1], _folder_fd(args[0])), *_place(args[3], _folder_fd(args[2]))))
        elif name in ("unlink", "remove", "rmdir"):
            self.trace.append(("gone", *_place(args[0], folder_fd)))
        elif name in ("mkdir", "mknod", "mkfifo"):
            self.trace.append(("name", *_place(args[0], folder_fd), *_inode(args[0], folder_fd)))
        elif name == "symlink":
            self.trace.append(("name", *_place(args[1], folder_fd), *_inode(args[1], folder_fd)))
        elif name == "link":
            self.trace.append(("name", *_place(args[1], kwargs.get("dst_dir_fd")), *_inode(args[1], kwargs.get("dst_dir_fd"))))
        elif name in _ATTRIBUTES:
            self.trace.append(("attributes", *_inode(args[0], folder_fd, follow=kwargs.get("follow_symlinks", name != "lchown"))))
        elif name in _CONTENTS:
            target = args[0] if name in ("sendfile", "ftruncate", "posix_fallocate") else args[1]
            with open(f"/proc/self/fd/{target}", "rb") as file:
                self.trace.append(("contents", os.fstat(target).st_ino, file.read()))


def _there(name: Any, folder_fd: int) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _folder_fd(number: int) -> int | None:
    """None for the working directory (AT_FDCWD)."""
    return number if number >= 0 else None


def _place(path: Any, folder_fd: int | None) -> tuple[int, bytes]:
    """Inode number of the folder, and the name in it."""
    folder, name = os.path.split(os.fsencode(path))
    return os.stat(folder or b".", dir_fd=folder_fd).st_ino, name


def _inode(path: Any, folder_fd: int | None, follow: bool = False) -> tuple[int, dict[str, Any]]:
    if isinstance(path, int):
        return os.fstat(path).st_ino, _attributes(path)
    if folder_fd is not None:
        path = os.path.join(os.fsencode(f"/proc/self/fd/{folder_fd}"), os.fsencode(path))
    return os.stat(path, follow_symlinks=follow).st_ino, _attributes(path, follow)


def _attributes(path: Any, follow: bool = True) -> dict[str, Any]:
    found = os.stat(path) if isinstance(path, int) else os.stat(path, follow_symlinks=follow)
    link = stat.S_ISLNK(found.st_mode)
    names = [] if link else os.listxattr(path)
    return {
        "mode": found.st_mode,
        "owner": (found.st_uid, found.st_gid),
        "device": found.st_rdev,
        "mtime": found.st_mtime_ns,
        "target": os.readlink(path) if link else None,
        "xattrs": {name: os.getxattr(path, name) for name in names},
    }


class Dropper(Recorder):
    """Flush number *at* fails, and what it should have flushed is lost, as Linux does it; every later flush succeeds."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def _flush(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.at -= 1
        if self.at != -1:
            return super()._flush(name, real, args)
        self.trace.append((DROPPED, None if name == "syncfs" else os.fstat(args[0]).st_ino))
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class Disk:
    """Inodes by number: their attributes, contents, and for folders the names in them."""

    def __init__(self) -> None:
        self.attributes: dict[int, dict[str, Any]] = {}
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[bytes, int]] = {}
        self.top = 0

    @classmethod
    def of(cls, root: str) -> Disk:
        """The files below *root*, all durable."""
        disk = cls()
        disk.top = os.stat(root).st_ino
        todo = [os.fsencode(root)]
        disk.attributes[disk.top] = _attributes(root)
        while todo:
            folder = todo.pop()
            names = disk.names.setdefault(os.stat(folder).st_ino, {})
            for entry in os.scandir(folder):
                number = entry.inode()
                names[entry.name] = number
                disk.attributes[number] = _attributes(entry.path, follow=False)
                if entry.is_dir(follow_symlinks=False):
                    disk.names.setdefault(number, {})
                    todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    with open(entry.path, "rb") as file:
                        disk.contents[number] = file.read()
        return disk

    def copy(self) -> Disk:
        other = Disk()
        other.top = self.top
        other.attributes, other.contents = dict(self.attributes), dict(self.contents)
        other.names = {number: dict(names) for number, names in self.names.items()}
        return other

    def apply(self, change: Change) -> None:
        """Make one change; a rename whose source never came to be is impossible and is passed over."""
        kind = change[0]
        if kind == "write":
            _, number, offset, data = change
            old = self.contents.get(number, b"")
            self.contents[number] = old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]
        elif kind == "contents":
            self.contents[change[1]] = change[2]
        elif kind == "attributes":
            self.attributes[change[1]] = change[2]
        elif kind == "name":
            _, folder, name, number, attributes = change
            self.attributes.setdefault(number, attributes)
            if stat.S_ISDIR(attributes["mode"]):
                self.names.setdefault(number, {})
            self.names.setdefault(folder, {})[name] = number  # what is in a folder may be durable before its own name is
        elif kind == "gone":
            self.names.get(change[1], {}).pop(change[2], None)
        elif kind == "rename":
            _, old_folder, old, new_folder, new = change
            if old in self.names.get(old_folder, {}):
                self.names.setdefault(new_folder, {})[new] = self.names[old_folder].pop(old)
        elif kind == "exchange":
            _, old_folder, old, new_folder, new = change
            if old in self.names.get(old_folder, {}) and new in self.names.get(new_folder, {}):
                ours, theirs = self.names[old_folder], self.names[new_folder]
                ours[old], theirs[new] = theirs[new], ours[old]

    def write_to(self, root: str, leave_out: frozenset[bytes]) -> None:
        """Make these files below *root*, which must not exist; what was on a tmpfs (*leave_out*, at the top) is gone."""
        made: dict[int, bytes] = {}
        self._folder(os.fsencode(root), self.top, made, leave_out)

    def _folder(self, path: bytes, number: int, made: dict[int, bytes], leave_out: frozenset[bytes] = frozenset()) -> None:
        os.mkdir(path, 0o700)
        made[number] = path
        for name, inner in self.names[number].items():
            below = path + b"/" + name
            if name in leave_out or inner not in self.attributes:
                continue
            mode = self.attributes[inner]["mode"]
            if stat.S_ISDIR(mode):
                if inner not in made:
                    self._folder(below, inner, made)
                continue
            if inner in made:
                os.link(made[inner], below, follow_symlinks=False)
                continue
            made[inner] = below
            if stat.S_ISREG(mode):
                with open(below, "wb") as file:
                    file.write(self.contents.get(inner, b""))
            elif stat.S_ISLNK(mode):
                os.symlink(self.attributes[inner]["target"], below)
            else:
                os.mknod(below, mode, self.attributes[inner]["device"])
            self._set_attributes(below, inner)
        self._set_attributes(path, number)

    def _set_attributes(self, path: bytes, number: int) -> None:
        wanted = self.attributes[number]
        if os.geteuid() == 0:
            os.chown(path, *wanted["owner"], follow_symlinks=False)
        if stat.S_ISLNK(wanted["mode"]):
            return
        for name, value in wanted["xattrs"].items():
            os.setxattr(path, name, value)
        os.chmod(path, stat.S_IMODE(wanted["mode"]))
        os.utime(path, ns=(wanted["mtime"], wanted["mtime"]))


def is_flushed(change: Change, number: int) -> bool:
    """Whether an fsync of inode *number* makes *change* durable."""
    kind = change[0]
    if kind in ("write", "contents", "attributes"):
        return bool(change[1] == number)
    return bool(number == change[1] or (kind in _RENAMES and number == change[3]))


def _flushed(pending: list[Change], sync: Change) -> list[Change]:
    """What a flush makes durable, in order. A rename that is durable has a source: what named it is durable too."""
    if sync[0] == "syncfs":
        return list(pending)
    sources: set[tuple[int, bytes]] = set()
    found: list[Change] = []
    for one in reversed(pending):
        named = {(one[1], one[2])} if one[0] in ("name", "exchange") else set()
        if one[0] in _RENAMES:
            named.add((one[3], one[4]))
        if is_flushed(one, sync[1]) or named & sources:
            found.append(one)
            if one[0] == "rename":
                sources.add((one[1], one[2]))
            elif one[0] == "exchange":
                sources |= named
    return found[::-1]


class Cut:
    """A moment at which the power fails: what is durable, what may be, and how much was acknowledged."""

    def __init__(self, disk: Disk, pending: list[Change], acknowledged: int | None, place: int) -> None:
        self.disk, self.pending, self.acknowledged, self.place = disk, pending, acknowledged, place


def cuts(start: Disk, trace: list[Change]) -> Iterator[Cut]:
    """Before each flush, and after each acknowledgement: whatever else may be cut off is one of their subsets."""
    durable, pending = start.copy(), list[Change]()
    acknowledged: int | None = None
    for place, change in enumerate(trace):
        kind = change[0]
        if kind == ACK:
            acknowledged = change[1]
            yield Cut(durable.copy(), list(pending), acknowledged, place)
        elif kind in ("sync", "syncfs"):
            yield Cut(durable.copy(), list(pending), acknowledged, place)
            flushed = _flushed(pending, change)
            for one in flushed:
                durable.apply(one)
            pending = [one for one in pending if not any(one is other for other in flushed)]
        elif kind == DROPPED:
            pending = [one for one in pending if one[0] not in ("write", "contents") or change[1] not in (None, one[1])]
        else:
            pending.append(change)
    yield Cut(durable.copy(), list(pending), acknowledged, len(trace))


def states(cut: Cut, most: int, dice: random.Random) -> Iterator[tuple[str, Disk]]:
    """Disks that the power cut may leave: all subsets of few changes; else none, all, prefixes, each alone, each missing, and by dice."""
    pending = cut.pending
    count = len(pending)
    chosen: dict[tuple[int, ...], None] = {(): None, tuple(range(count)): None}
    if count <= 4:
        for bits in range(1 << count):
            chosen[tuple(place for place in range(count) if bits >> place & 1)] = None
    else:
        ways = [tuple(range(end)) for end in range(1, count)]
        ways += [(place,) for place in range(count)]
        ways += [tuple(one for one in range(count) if one != place) for place in range(count)]
        ways += [tuple(place for place in range(count) if dice.random() < 0.5) for _ in range(most)]
        dice.shuffle(ways)
        chosen.update(dict.fromkeys(ways[: max(most - 2, 0)]))
    for places in chosen:
        yield f"{len(places)} of {count} changes{_named(places)}", _with(cut, [pending[place] for place in places])
    for place, change in enumerate(pending):
        if change[0] == "write" and len(change[3]) > TORN[0]:
            for edge in TORN:
                if edge < len(change[3]):
                    torn = ("write", change[1], change[2], change[3][:edge])
                    yield f"change {place} torn at {edge}", _with(cut, [*pending[:place], torn])
                    late = ("write", change[1], change[2] + edge, change[3][edge:])
                    yield f"change {place} without its first {edge}", _with(cut, [*pending[:place], late])
        if change[0] == "write" and dice.random() < 0.3:
            zeros = ("write", change[1], change[2], bytes(len(change[3])))
            yield f"change {place} as zeros", _with(cut, [*pending[:place], zeros, *pending[place + 1 :]])


def _named(places: tuple[int, ...]) -> str:
    return f": {', '.join(map(str, places))}" if len(places) <= 6 else ""


def _with(cut: Cut, changes: list[Change]) -> Disk:
    disk = cut.disk.copy()
    for change in changes:
        disk.apply(change)
    return disk
