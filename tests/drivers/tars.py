"""Archives for tests, byte by byte, with sane defaults; independent of the code under test."""

from __future__ import annotations

import gzip
import io
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

END = bytes(1024)
MTIME = 1_600_000_000
WHOLE_RECORD = 10240


def field(value: int, size: int) -> bytes:
    """A number as tar writes it: octal, or base-256 when it does not fit or is negative."""
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    raw = bytearray(value.to_bytes(size, "big", signed=True))
    raw[0] |= 0x80
    return bytes(raw)


def header(
    name: bytes,
    kind: bytes = b"0",
    size: int = 0,
    mode: int = 0o644,
    uid: int | None = None,
    gid: int | None = None,
    mtime: int = MTIME,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
) -> bytes:
    """One header block. Owners default to the user who runs the test, so that nothing has to be left out."""
    uid = os.geteuid() if uid is None else uid
    gid = os.getegid() if gid is None else gid
    block = bytearray(512)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = field(mode, 8)
    block[108:116] = field(uid, 8)
    block[116:124] = field(gid, 8)
    block[124:136] = field(size, 12)
    block[136:148] = field(mtime, 12)
    block[156:157] = kind
    block[157 : 157 + len(link[:100])] = link[:100]
    block[257:265] = magic
    block[329:337] = field(major, 8)
    block[337:345] = field(minor, 8)
    block[345 : 345 + len(prefix)] = prefix
    return checksummed(block)


def checksummed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: Mapping[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    data = b""
    for key, value in records.items():
        body = b" " + key + b"=" + value + b"\n"
        length = len(body)
        while len(body) + len(str(length)) != length:
            length = len(body) + len(str(length))
        data += str(length).encode() + body
    return header(b"PaxHeaders/x", kind, len(data)) + padded(data)


def file(name: bytes, data: bytes = b"", records: Mapping[bytes, bytes] | None = None, **fields: object) -> bytes:
    before = pax(records) if records else b""
    return before + header(name, b"0", len(data), **fields) + padded(data)  # type: ignore[arg-type]


def folder(name: bytes, mode: int = 0o755, **fields: object) -> bytes:
    return header(name if name.endswith(b"/") else name + b"/", b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=0o777)


def hard_link(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def fifo(name: bytes) -> bytes:
    return header(name, b"6")


def device(name: bytes, major: int, minor: int, kind: bytes = b"3") -> bytes:
    return header(name, kind, major=major, minor=minor)


def whiteout(name: bytes) -> bytes:
    parent, _, base = name.rpartition(b"/")
    return header((parent + b"/" if parent else b"") + b".wh." + base, mode=0)


def opaque(name: bytes) -> bytes:
    return header(name + b"/.wh..wh..opq", mode=0)


def archive(*members: bytes) -> bytes:
    return b"".join(members) + END


def stream(*members: bytes) -> io.BytesIO:
    return io.BytesIO(archive(*members))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {}


def _fill_compressions() -> None:
    import bz2
    import lzma

    COMPRESSIONS.update(none=bytes, bzip2=bz2.compress, gzip=lambda data: gzip.compress(data, mtime=0), xz=lzma.compress)
    try:
        import zstandard
    except ImportError:
        return
    COMPRESSIONS["zstd"] = lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data)


_fill_compressions()


def tree(root: str) -> dict[str, tuple[str, int, str]]:
    """path -> (kind, mode, content or target) of all below *root*, in a form that reads well in a failed assertion."""
    found: dict[str, tuple[str, int, str]] = {}
    for folder_path, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder_path, name)
            seen = os.lstat(path)
            shown = os.path.relpath(path, os.fsencode(root)).decode("utf-8", "backslashreplace")
            mode = stat.S_IMODE(seen.st_mode)
            if stat.S_ISDIR(seen.st_mode):
                found[shown] = ("folder", mode, "")
            elif stat.S_ISLNK(seen.st_mode):
                found[shown] = ("symlink", 0, os.readlink(path).decode())
            elif stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as content:
                    found[shown] = ("file", mode, content.read().decode("latin-1"))
            else:
                found[shown] = ("special", stat.S_IFMT(seen.st_mode), str(seen.st_rdev))
    return found


def contents(root: str) -> dict[str, str]:
    """path -> content of regular files, target of symlinks, "/" of folders."""
    return {path: "/" if kind == "folder" else content for path, (kind, _, content) in tree(root).items()}
