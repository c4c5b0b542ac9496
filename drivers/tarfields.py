"""What do the fields of a tar header say? Numbers, times, names, extended records and the maps of sparse files.

Pure functions over bytes; what does not parse is an InvalidArchive at *offset*, the place of the header.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from layerlog.eventstore.errors import InvalidArchive

HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_SECONDS_MAX = 1 << 59  # eighteen digits, as many as ``time_ns`` reads: a diff made of it can be read
REGULAR, HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, FOLDER, FIFO, GLOBAL = b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"g"
HEADER_ONLY = frozenset((HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, FOLDER, FIFO))
_XATTR = b"SCHILY.xattr."


class Member:
    """One member. ``size`` counts the bytes in the archive, ``real_size`` those of the file.

    They differ for sparse files only, where ``sparse`` holds (offset, length) of each data part.
    ``xattrs`` maps names to values, both bytes; ``mtime_ns`` may be negative.
    """

    __slots__ = (
        "name", "kind", "mode", "uid", "gid", "size", "mtime_ns", "link", "major", "minor", "xattrs", "sparse", "real_size", "offset",
    )  # fmt: skip

    def __init__(self, name: bytes, kind: bytes, offset: int) -> None:
        self.name, self.kind, self.offset = name, kind, offset
        self.mode = self.uid = self.gid = self.size = self.real_size = self.mtime_ns = self.major = self.minor = 0
        self.link = b""
        self.xattrs: dict[bytes, bytes] | None = None
        self.sparse: list[tuple[int, int]] | None = None


def member_of(fields: tuple[bytes, ...], offset: int) -> Member:
    name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, major, minor, prefix, trailer = fields
    member = Member(text_of(name), kind, offset)
    try:
        member.mode = _number(mode) & 0o7777
        member.uid = _number(uid)
        member.gid = _number(gid)
        member.size = _number(size)
        member.mtime_ns = max(-_SECONDS_MAX, min(_number(mtime), _SECONDS_MAX)) * 1_000_000_000
        if link[0]:
            member.link = text_of(link)
        if magic[:5] == b"ustar":
            if kind in (CHAR, BLOCK_DEVICE):
                member.major, member.minor = _number(major), _number(minor)
            if magic[5] == 0 and prefix[0]:
                if trailer[8:12] == b"tar\0":  # star: the last 24 bytes of the prefix are access and change time
                    prefix = prefix[:131]
                member.name = text_of(prefix) + b"/" + member.name
    except ValueError:
        raise InvalidArchive(why="invalid tar header", offset=offset) from None
    return member


def text_of(field: bytes) -> bytes:
    end = field.find(0)
    return field if end < 0 else field[:end]


def number_of(field: bytes, offset: int) -> int:
    """An octal or base-256 number (GNU: the first bit set; two's complement)."""
    try:
        return _number(field)
    except ValueError:
        raise InvalidArchive(why="invalid tar header", offset=offset) from None


@lru_cache(maxsize=1024)
def _number(field: bytes) -> int:
    """As number_of; raises ValueError. Most owners, modes and times of an archive were seen a moment before."""
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") & ~(0xFF << 8 * (len(field) - 1))
        value |= (first & 0x7F) << 8 * (len(field) - 1)
        if first & 0x40:
            value -= 1 << 8 * len(field) - 1
        return value
    return octal(field)


def octal(field: bytes) -> int:
    """An octal number, spaces and NULs around it. Raises ValueError."""
    digits = field.rstrip(b" \0")
    if digits.isdigit():  # what nearly every writer writes
        return int(digits, 8)
    digits = digits.lstrip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.isdigit() or (digits[:1] == b"-" and digits[1:].isdigit()):
        return int(digits, 8)
    raise ValueError(field)


def decimal_of(text: bytes, offset: int) -> int:
    if not text.isdigit() or len(text) > 20:
        raise InvalidArchive(why="invalid tar header: not a number in an extended header", offset=offset)
    return int(text)


def pax_records(data: bytes, offset: int) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """(last value of each key, GNU.sparse records in order) of ``LENGTH KEY=VALUE\\n`` lines."""
    records: dict[bytes, bytes] = {}
    sparse: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        if space < 0 or not data[at:space].isdigit():
            if not data[at:].strip(b"\0"):
                break  # some writers pad inside the declared size
            raise InvalidArchive(why="invalid tar header: extended header", offset=offset)
        end = at + int(data[at:space])
        equals = data.find(b"=", space, end)
        if end > len(data) or equals < 0 or data[end - 1 : end] != b"\n" or equals == space + 1:
            raise InvalidArchive(why="invalid tar header: extended header", offset=offset)
        key, value = data[space + 1 : equals], data[equals + 1 : end - 1]
        if key.startswith(b"GNU.sparse."):
            sparse.append((key, value))
        records[key] = value
        at = end
    return records, sparse


def apply_pax(member: Member, records: dict[bytes, bytes], offset: int) -> None:
    """Override the header's fields; an empty value takes the header's own."""
    for key, value in records.items():
        if key.startswith(_XATTR):
            if member.xattrs is None:
                member.xattrs = {}
            member.xattrs[key[len(_XATTR) :]] = value
        elif not value:
            continue
        elif key == b"path":
            member.name = value
        elif key == b"linkpath":
            member.link = value
        elif key == b"size":
            member.size = decimal_of(value, offset)
        elif key == b"uid":
            member.uid = decimal_of(value, offset)
        elif key == b"gid":
            member.gid = decimal_of(value, offset)
        elif key == b"mtime":
            member.mtime_ns = time_ns(value, offset)


def time_ns(text: bytes, offset: int) -> int:
    """Nanoseconds of a decimal time such as ``-86400.5``, without going through a float."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not (digits or fraction) or not (digits + fraction + b"0").isdigit() or len(digits) > 18:
        raise InvalidArchive(why="invalid tar header: time", offset=offset)
    value = int(digits or b"0") * 1_000_000_000 + int((fraction + b"000000000")[:9])
    return -value if negative else value


def sparse_slots(block: bytes, at: int, count: int, offset: int) -> list[tuple[int, int]]:
    parts = []
    for slot in range(at, at + 24 * count, 24):
        if not block[slot : slot + 24].strip(b"\0"):
            break
        parts.append((number_of(block[slot : slot + 12], offset), number_of(block[slot + 12 : slot + 24], offset)))
    return parts


def pairs_of(numbers: list[int], offset: int) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise InvalidArchive(why="invalid tar header: sparse map", offset=offset)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked_parts(parts: list[tuple[int, int]], size: int, real_size: int, offset: int) -> list[tuple[int, int]]:
    """*parts* in order, inside the file, without overlap, and as long together as the data in the archive."""
    if not 0 <= real_size < 1 << 63:
        raise InvalidArchive(why="invalid tar header: size of a sparse file", offset=offset)
    end = total = 0
    for start, length in parts:
        if start < end or length < 0 or start + length > real_size:
            raise InvalidArchive(why="invalid tar header: sparse map", offset=offset)
        end = start + length
        total += length
    if total != size:
        raise InvalidArchive(why="invalid tar header: sparse map does not fit the size", offset=offset)
    return parts
