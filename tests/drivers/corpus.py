"""Archives of every kind that real tools write, by name: what is read here must be read as the original reads it."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
import tempfile

from tests.drivers import tars
from tests.drivers.tars import END, archive, device, fifo, file, folder, hard_link, header, opaque, padded, pax, symlink, whiteout

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry) for entry in [(1, 6, 0xFFFFFFFF), (2, 4, 12), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
)
DEFAULT_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry) for entry in [(1, 7, 0xFFFFFFFF), (4, 5, 0xFFFFFFFF), (32, 5, 0xFFFFFFFF)]
)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """A GNU record before a member whose name (or, with K, target) does not fit."""
    return header(b"././@LongLink", kind, len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def old_sparse(name: bytes, parts: list[tuple[int, bytes]], size: int) -> bytes:
    """GNU's own format, with extension blocks beyond four parts."""
    data = b"".join(content for _, content in parts)
    block = bytearray(header(name, b"S", len(data), magic=b"ustar  \0"))
    slots = [tars.field(at, 12) + tars.field(len(content), 12) for at, content in parts]
    block[386 : 386 + 24 * len(slots[:4])] = b"".join(slots[:4])
    block[482] = len(slots) > 4
    block[483:495] = tars.field(size, 12)
    extension = b""
    rest = slots[4:]
    while rest:
        one = b"".join(rest[:21]).ljust(504, b"\0")
        rest = rest[21:]
        extension += one + bytes([bool(rest)]) + bytes(7)
    return tars.checksummed(block) + extension + padded(data)


def pax_sparse(name: bytes, parts: list[tuple[int, bytes]], size: int, version: str) -> bytes:
    """The PAX formats 0.0, 0.1 and 1.0."""
    data = b"".join(content for _, content in parts)
    numbers = [number for at, content in parts for number in (at, len(content))]
    if version == "1.0":
        table = padded(b"".join(b"%d\n" % number for number in [len(parts), *numbers]))
        records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": name, b"GNU.sparse.realsize": b"%d" % size}
        return pax(records) + header(b"GNUSparseFile.1/x", b"0", len(table) + len(data)) + padded(table + data)
    records = {b"GNU.sparse.size": b"%d" % size, b"GNU.sparse.numblocks": b"%d" % len(parts)}
    if version == "0.1":
        records[b"GNU.sparse.map"] = b",".join(b"%d" % number for number in numbers)
        records[b"GNU.sparse.name"] = name
        return pax(records) + header(b"GNUSparseFile.1/x", b"0", len(data)) + padded(data)
    text = b"".join(
        _record(b"GNU.sparse." + (b"numbytes" if place % 2 else b"offset"), b"%d" % number) for place, number in enumerate(numbers)
    )
    text = b"".join(_record(key, value) for key, value in records.items()) + text
    return header(b"PaxHeaders/x", b"x", len(text)) + padded(text) + header(name, b"0", len(data)) + padded(data)


def _record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return str(length).encode() + body


PARTS = [(0, b"a" * 512), (8192, b"b" * 700), (100_000, b"c")]
MANY_PARTS = [(number * 8192, b"%04d" % number * 128) for number in range(30)]


def gnu_tar(*options: str) -> bytes:
    """What GNU tar makes of a small tree."""
    with tempfile.TemporaryDirectory() as place:
        os.makedirs(f"{place}/d/" + "long" * 30)
        with open(f"{place}/d/{'long' * 30}/{'name' * 20}", "w") as out:
            out.write("x" * 3000)
        os.link(f"{place}/d/{'long' * 30}/{'name' * 20}", f"{place}/d/again")
        os.symlink("t" * 150, f"{place}/d/to")
        with open(f"{place}/d/holes", "wb") as out:
            out.truncate(1 << 20)
            out.seek(300_000)
            out.write(b"data")
        os.setxattr(f"{place}/d/again", "user.k", b"\0v\n")
        return subprocess.run(["tar", "-cf", "-", "-C", place, *options, "d"], check=True, capture_output=True).stdout


def python_tar(form: int) -> bytes:
    """What tarfile makes of odd members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, size in (("d/" + "p" * 90 + "/" + "n" * 90, 10), ("ż" * 40, 0), ("plain", 513)):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uid = size, 1_600_000_000, 3
            made.addfile(member, io.BytesIO(b"x" * size))
    return out.getvalue()


FORMS = {
    "plain members": archive(folder(b"d"), file(b"d/f", b"hello"), symlink(b"d/s", b"f"), hard_link(b"d/h", b"d/f"), fifo(b"d/p")),
    "owners and modes": archive(
        *[
            file(b"%d-%o" % (uid, mode), b"x", uid=uid, gid=uid + 1, mode=mode)
            for uid in (0, 1000, 2_000_000)
            for mode in (0, 0o644, 0o4755, 0o7777)
        ]
    ),
    "devices": archive(device(b"null", 1, 3), device(b"sda", 8, 0, b"4"), device(b"big", 4095, 300)),
    "devices that overlay takes for whiteouts": archive(
        device(b"zero", 0, 0), device(b"base-file", 0, 0), folder(b"e"), device(b"e/n", 0, 0)
    ),
    "a hard link with other attributes than its file": archive(
        file(b"f", b"1", mode=0o600), header(b"h", b"1", link=b"f", mode=0o4755, uid=7, mtime=5)
    ),
    "hard links across folders": archive(
        folder(b"a"), file(b"a/f", b"1"), folder(b"b"), hard_link(b"b/g", b"a/f"), hard_link(b"c", b"b/g")
    ),
    "a hard link to a symlink": archive(symlink(b"s", b"nowhere"), hard_link(b"h", b"s")),
    "implied parents": archive(file(b"x/y/z", b"1"), symlink(b"q/r", b"s")),
    "a folder after its contents": archive(file(b"d/f", b"1"), folder(b"d", 0o700, uid=5, mtime=1_500_000_000)),
    "dot members": archive(folder(b"./", 0o711, uid=3), folder(b"./d"), file(b"./d/f", b"1"), file(b"./g", b"2")),
    "the root without a dot": archive(folder(b".", 0o751), file(b"f", b"1")),
    "doubled slashes": archive(folder(b"d//e"), file(b"d//e///f", b"1")),
    "absolute names": archive(folder(b"/abs"), file(b"/abs/f", b"1")),
    "names that are not UTF-8": archive(folder(b"caf\xe9"), file(b"caf\xe9/\xff\xfe", b"1"), symlink(b"s", b"\xe9")),
    "names in UTF-8": archive(file("zażółć".encode(), b"1"), pax({b"path": "gęśla/jaźń".encode()}) + header(b"x", b"0", 2) + padded(b"22")),
    "names with control characters": archive(file(b"a\nb", b"1"), file(b"c\\d", b"2"), file(b'e"f', b"3"), file(b"g\x7fh\x01", b"4")),
    "names that Go's JSON escapes": archive(file(b"a&b<c>d", b"1"), file("\u2028x\u2029".encode(), b"2"), file(b"tab\tx", b"3")),
    "a prefix": archive(header(b"name", b"0", 1, prefix=b"deep/" * 20 + b"in") + padded(b"1")),
    "GNU long names": archive(long_name(b"n/" * 70 + b"file") + file(b"short", b"1"), long_name(b"t" * 200, b"K") + symlink(b"s", b"t")),
    "PAX long names": archive(
        pax({b"path": b"p/" * 100 + b"file"}) + file(b"x", b"1"), pax({b"linkpath": b"l" * 300}) + symlink(b"s", b"t")
    ),
    "names both of GNU and of PAX": archive(
        long_name(b"gnu/" * 40 + b"1") + pax({b"path": b"pax"}) + file(b"f", b"1"),
        pax({b"path": b"pax"}) + long_name(b"gnu/" * 40 + b"2") + file(b"f", b"22"),
    ),
    "an xattr without a value": archive(file(b"f", b"1", {b"SCHILY.xattr.user.empty": b""})),
    "PAX numbers": archive(pax({b"uid": b"3000000", b"gid": b"4000000", b"size": b"3"}) + header(b"f", b"0", 0) + padded(b"abc")),
    "PAX times": archive(
        file(b"f", b"1", {b"mtime": b"1500000000.123456789"}),
        file(b"g", b"1", {b"mtime": b"-5.5"}),
        file(b"h", b"1", {b"mtime": b"12.5", b"atime": b"3", b"ctime": b"4"}),
    ),
    "base-256 numbers": archive(
        file(b"f", b"1", uid=3_000_000, gid=4_000_000), file(b"g", b"1", mtime=-1), file(b"h", b"1", mtime=1 << 33)
    ),
    "a global header": archive(pax({b"comment": b"made by git"}, b"g"), file(b"f", b"1")),
    "xattrs": archive(
        file(b"f", b"1", {b"SCHILY.xattr.user.k": b"v\0\n=", b"SCHILY.xattr.trusted.t": b"w"}),
        pax({b"SCHILY.xattr.user.d": b"1"}) + folder(b"d"),
    ),
    "capabilities": archive(file(b"f", b"1", {b"SCHILY.xattr.security.capability": CAPABILITY}, mode=0o755)),
    "access control lists": archive(
        file(b"f", b"1", {b"SCHILY.xattr.system.posix_acl_access": ACL}, mode=0o640),
        pax({b"SCHILY.xattr.system.posix_acl_default": DEFAULT_ACL}) + folder(b"d"),
        file(b"d/in", b"2", mode=0o600),
    ),
    "xattrs of overlay itself": archive(pax({b"SCHILY.xattr.trusted.overlay.opaque": b"y"}) + folder(b"d"), file(b"d/f", b"1")),
    "old GNU sparse": archive(old_sparse(b"s", PARTS, 200_000), file(b"after", b"1")),
    "old GNU sparse with many parts": archive(old_sparse(b"s", MANY_PARTS, 300_000), file(b"after", b"1")),
    **{
        f"PAX sparse {version}": archive(pax_sparse(b"s", PARTS, 200_000, version), file(b"after", b"1"))
        for version in ("0.0", "0.1", "1.0")
    },
    "a name removed and added again": archive(whiteout(b"f"), file(b"f", b"new"), whiteout(b"g")),
    "a folder removed and added again": archive(whiteout(b"d"), folder(b"d"), file(b"d/new", b"1")),
    "whiteouts": archive(folder(b"d"), whiteout(b"d/gone"), whiteout(b"base-file"), whiteout(b"base-dir")),
    "whiteouts of nothing": archive(folder(b"d"), whiteout(b"d/never"), whiteout(b"never/was")),
    "an opaque folder": archive(folder(b"base-dir"), opaque(b"base-dir"), file(b"base-dir/new", b"1")),
    "an opaque root": archive(opaque(b"."), file(b"f", b"1")),
    "whiteouts by other spellings": archive(
        header(b".wh.base-file/", b"0", 3) + padded(b"abc"),
        header(b"base-dir/.wh.old/.", b"0", 2) + padded(b"no"),
        header(b"d/.wh.gone/", b"5"),
    ),
    "an opaque folder that is only implied": archive(opaque(b"base-dir"), file(b"base-dir/new", b"1")),
    "an opaque folder after its contents": archive(folder(b"base-dir"), file(b"base-dir/new", b"1"), opaque(b"base-dir")),
    "AUFS metadata": archive(folder(b".wh..wh.plnk"), file(b".wh..wh.aufs", b""), file(b"f", b"1")),
    "no end of archive": archive(file(b"f", b"1"))[: -len(END)],
    "one block at the end": archive(file(b"f", b"1"))[:-512],
    "no padding after the last member": (file(b"f", b"1") + header(b"g", b"0", 5) + b"12345"),
    "whole records at the end": archive(file(b"f", b"1")) + bytes(8192),
    "junk after the end": archive(file(b"f", b"1")) + b"junk" * 500,
    "nothing": b"",
    "only the end": END,
    "a big file": archive(file(b"big", bytes(range(256)) * 12_000), file(b"after", b"1")),
    "many files": archive(folder(b"m"), *[file(b"m/%d" % number, b"%d" % number * 40) for number in range(600)]),
    "an empty file and one of a block": archive(file(b"e"), file(b"b", b"x" * 512), file(b"c", b"x" * 513)),
    "kinds 7 and NUL": archive(header(b"c", b"7", 1) + padded(b"1"), header(b"n", b"\0", 1) + padded(b"2"), header(b"dir/", b"\0")),
    "old v7 headers": archive(header(b"old", b"\0", 2, magic=bytes(8)) + padded(b"ab"), header(b"olddir/", b"5", magic=bytes(8))),
    "GNU tar, its own format": gnu_tar("--format=gnu", "--sparse"),
    "GNU tar, PAX": gnu_tar("--format=pax", "--sparse", "--xattrs"),
    "GNU tar, ustar without the long ones": gnu_tar("--format=oldgnu"),
    "tarfile, ustar": python_tar(tarfile.USTAR_FORMAT),
    "tarfile, GNU": python_tar(tarfile.GNU_FORMAT),
    "tarfile, PAX": python_tar(tarfile.PAX_FORMAT),
}

REFUSED = {
    "a file cut off": archive(file(b"f", b"x" * 2000))[:1500],
    "a header cut off": archive(file(b"f", b"1"))[:1200],
    "junk": b"this is no tar at all, whatever one may think of it" * 40,
    "a wrong checksum": b"x" + archive(file(b"f", b"1"))[1:],
    "a name twice": archive(file(b"f", b"1"), file(b"f", b"2")),
    "a hard link to nothing": archive(hard_link(b"h", b"nowhere")),
    "a path through a file": archive(file(b"f", b"1"), file(b"f/g", b"2")),
    "an extended header without a member": archive(pax({b"path": b"x"})),
}
BASE = archive(
    folder(b"base-dir"),
    file(b"base-dir/old", b"1"),
    file(b"base-file", b"2"),
    folder(b"d"),
    file(b"d/gone", b"3"),
    file(b"f", b"4"),
    file(b"g", b"5"),
)
