"""How is a diff written as a tar, the same bytes every time?

Sorted, times cut to whole seconds, no user or group names, xattrs as ``SCHILY.xattr.*``, hard links kept
inside the diff, sockets left out, PAX records only where a field needs them. Deletions are empty
files ``.wh.NAME`` of mode 0. Source: contract/semantics.md §3.
"""

from __future__ import annotations

import os
import stat

from layerlog.drivers import changes as changed
from layerlog.drivers import whiteouts
from layerlog.drivers.resolve import open_file_at
from layerlog.drivers.trees import Locator
from layerlog.eventstore.errors import InvalidMappings, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from layerlog.drivers.driver import IDMap
    from layerlog.drivers.trees import View

_BLOCK = 512
_READ_BYTES = 1 << 20
_MAGIC = b"ustar\x0000"
END = bytes(2 * _BLOCK)


class Entry:
    """What a header says; ``kind`` is the type flag of tar."""

    __slots__ = ("gid", "kind", "link", "major", "minor", "mode", "mtime", "name", "size", "uid", "xattrs")

    def __init__(self, name: bytes, kind: bytes, mode: int = 0, uid: int = 0, gid: int = 0, size: int = 0, mtime: int = 0) -> None:
        self.name, self.kind, self.mode, self.uid, self.gid, self.size, self.mtime = name, kind, mode, uid, gid, size, mtime
        self.link = b""
        self.major = self.minor = 0
        self.xattrs: dict[str, bytes] = {}


def header(entry: Entry) -> bytes:
    """The header blocks of *entry*: ustar, preceded by a PAX header where ustar cannot say it."""
    records: dict[bytes, bytes] = {}
    name, prefix = entry.name, b""
    if not _ascii(name) or len(name) > 100:
        prefix, name = _split(name) if _ascii(name) else (b"", b"")
        if not name:
            records[b"path"] = entry.name
            name = _ascii_part(entry.name)
    link = entry.link
    if not _ascii(link) or len(link) > 100:
        records[b"linkpath"] = link
        link = _ascii_part(link)
    numbers = {}
    for field, value, digits in ((b"uid", entry.uid, 7), (b"gid", entry.gid, 7), (b"size", entry.size, 11), (b"mtime", entry.mtime, 11)):
        if not 0 <= value < 8**digits:
            records[field] = b"%d" % value
            value = 0
        numbers[field] = b"%0*o\0" % (digits, value)
    for key, content in sorted(entry.xattrs.items()):
        records[b"SCHILY.xattr." + os.fsencode(key)] = content
    block = _block(name, prefix, link, entry, numbers)
    if not records:
        return block
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    folder, slash, base = entry.name.rpartition(b"/")
    extended_name = _ascii_part(folder + slash + b"PaxHeaders.0" + (b"/" + base if base else b"")).rstrip(b"/")
    zero = {key: b"%0*o\0" % (digits, 0) for key, digits in ((b"uid", 7), (b"gid", 7), (b"mtime", 11))}
    zero[b"size"] = b"%011o\0" % len(data)
    extended = _block(extended_name, b"", b"", Entry(b"", b"x"), zero, bytes(16))  # as Go's archive/tar sets it, for the same digests
    return extended + data + bytes(-len(data) % _BLOCK) + block


def _block(name: bytes, prefix: bytes, link: bytes, entry: Entry, numbers: dict[bytes, bytes], device: bytes = b"") -> bytes:
    parts = [
        name.ljust(100, b"\0"), b"%07o\0" % entry.mode, numbers[b"uid"], numbers[b"gid"], numbers[b"size"], numbers[b"mtime"], b" " * 8,
        entry.kind, link.ljust(100, b"\0"), _MAGIC, bytes(64), device or b"%07o\0%07o\0" % (entry.major, entry.minor),
        prefix.ljust(155, b"\0"), bytes(12),
    ]  # fmt: skip
    block = b"".join(parts)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _ascii(name: bytes) -> bool:
    return name.isascii() and b"\0" not in name


def _ascii_part(name: bytes) -> bytes:
    return bytes(byte for byte in name if byte < 128)[:100]


def _split(name: bytes) -> tuple[bytes, bytes]:
    """(prefix, name) as ustar stores a name of up to 256 bytes; (b"", b"") when no slash is in the right place."""
    if len(name) <= 256:
        at = name.rfind(b"/", 0, min(156, len(name) - 1))
        if at > 0 and len(name) - at - 1 <= 100:
            return name[:at], name[at + 1 :]
    return b"", b""


def _record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    if len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return str(length).encode() + body


class DiffWriter:
    """Turns changes of a tree into a tar."""

    def __init__(self, view: View, uid_maps: Sequence[IDMap] = (), gid_maps: Sequence[IDMap] = ()) -> None:
        self._view = view
        self._uid_maps, self._gid_maps = uid_maps, gid_maps
        self._links: dict[tuple[int, int], bytes] = {}

    def run(self, changes: Iterable[changed.Change]) -> Iterator[bytes]:
        """Pieces of the tar, its end included.

        Raises OSError, and NotSupported at a file that a program called ``.wh.…``: in a tar that deletes others.
        """
        locator = Locator(self._view)
        small: list[bytes] = []
        pending = 0
        try:
            for change in changes:
                for piece in self._one(locator, change):
                    small.append(piece)
                    pending += len(piece)
                    if pending >= _READ_BYTES:
                        yield b"".join(small)
                        small.clear()
                        pending = 0
            small.append(END)
            yield b"".join(small)
        finally:
            locator.close()

    def _one(self, locator: Locator, change: changed.Change) -> Iterator[bytes]:
        path = change.path.lstrip(b"/")
        parent, _, base = path.rpartition(b"/")
        if base.startswith(whiteouts.PREFIX):
            why = "by its name it would delete another one; rename or remove it"
            raise NotSupported(f"no diff can have the file {os.fsdecode(path)!r}: {why}")
        if change.node is None:
            yield header(Entry((parent + b"/" if parent else b"") + whiteouts.PREFIX + base, b"0"))
            return
        yield from self.path(locator.folder(change.node, parent), path, base, change.node.found)

    def path(self, folder: int, path: bytes, base: bytes, found: os.stat_result) -> Iterator[bytes]:
        """Header and content of one path; nothing for a socket."""
        entry = self._entry(folder, path, base, found)
        if entry is None:
            return
        if entry.kind != b"0" or not entry.size:
            yield header(entry)
            return
        fd = open_file_at(folder, base)
        try:
            yield header(entry)
            left = entry.size
            while left:
                data = os.read(fd, min(left, _READ_BYTES))
                if not data:
                    data = bytes(min(left, _READ_BYTES))  # the file shrank under us: the header has promised so much
                left -= len(data)
                yield data
        finally:
            os.close(fd)
        if entry.size % _BLOCK:
            yield bytes(-entry.size % _BLOCK)

    def _entry(self, folder: int, path: bytes, base: bytes, found: os.stat_result) -> Entry | None:
        mode = found.st_mode
        if stat.S_ISSOCK(mode):
            return None
        uid, gid = to_container(found.st_uid, self._uid_maps), to_container(found.st_gid, self._gid_maps)
        entry = Entry(path, b"0", stat.S_IMODE(mode), uid, gid, mtime=found.st_mtime_ns // 1_000_000_000)
        if stat.S_ISDIR(mode):
            entry.kind, entry.name = b"5", path + b"/"
        elif found.st_nlink > 1:
            first = self._links.get((found.st_dev, found.st_ino))
            if first is not None:
                entry.kind, entry.link = b"1", first
                return entry
            self._links[found.st_dev, found.st_ino] = path
        if stat.S_ISLNK(mode):
            entry.kind, entry.link = b"2", os.readlink(base, dir_fd=folder)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            entry.kind = b"3" if stat.S_ISCHR(mode) else b"4"
            entry.major, entry.minor = os.major(found.st_rdev), os.minor(found.st_rdev)
        elif stat.S_ISFIFO(mode):
            entry.kind = b"6"
        elif stat.S_ISREG(mode):
            entry.size = found.st_size
        entry.xattrs = changed.xattrs(folder, base)
        return entry


def to_container(host: int, maps: Sequence[IDMap]) -> int:
    """The ID that *host* stands for inside the maps; itself without any. Raises InvalidMappings for one outside."""
    if not maps:
        return host
    for line in maps:
        if line.host <= host < line.host + line.size:
            return line.container + host - line.host
    raise InvalidMappings(f"host ID {host} cannot be mapped to a container ID")
