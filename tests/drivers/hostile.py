"""A corpus of hostile archives by name: what each tries, and whether it must be refused.

What is not refused must stay inside the layer. Used at the level of a store by ``tests/layerlog/test_hostile_archives.py``
and as the seeds of the fuzzers in ``tests/fuzz``.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from tests.drivers import tars

REFUSED, INSIDE, EITHER = "refused", "inside", "either"
"""EITHER: the original takes it, tar does not, or the kernel decides; all that counts is that nothing gets out."""


class Hostile(NamedTuple):
    members: bytes
    verdict: str
    whole: bool = True
    """An end of archive follows the members."""

    def archive(self) -> bytes:
        return self.members + (tars.END if self.whole else b"")


def _links(count: int) -> bytes:
    """A chain of symlinks of that length, whose last is a folder, and a file through it."""
    chain = b"".join(tars.symlink(b"l%d" % n, b"l%d" % (n + 1)) for n in range(count))
    return chain + tars.folder(b"l%d" % count) + tars.file(b"l0/f", b"x")


def _record(text: bytes, kind: bytes = b"x") -> bytes:
    """An extended header with this very text, and a file for it."""
    return tars.header(b"PaxHeaders/x", kind, len(text)) + tars.padded(text) + tars.header(b"f")


def _sized(size: int) -> bytes:
    return tars.header(b"f", size=size) + tars.padded(b"x")


def _pax_sized(value: bytes) -> bytes:
    return tars.pax({b"size": value}) + tars.header(b"f", size=1) + tars.padded(b"x")


def _sparse(real: bytes, parts: bytes, content: bytes = b"abcde") -> bytes:
    records = {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.size": real, b"GNU.sparse.map": parts}
    return tars.file(b"s", content, records)


ONE = tars.header(b"f")
OVERLAY = b"SCHILY.xattr.trusted.overlay."
OUT = b"../outside"
PRECIOUS = OUT + b"/precious"

CORPUS: dict[str, Hostile] = {
    # names
    "a name that climbs out": Hostile(tars.file(PRECIOUS, b"x"), INSIDE),
    "a name that climbs out from below": Hostile(tars.file(b"d/../../outside/precious", b"x"), INSIDE),
    "a name that climbs forty times": Hostile(tars.file(b"../" * 25 + b"etc/passwd", b"x"), INSIDE),
    "an absolute name": Hostile(tars.file(b"/etc/passwd", b"x"), INSIDE),
    "an absolute name that climbs": Hostile(tars.file(b"/../outside/precious", b"x"), INSIDE),
    "a doubled slash": Hostile(tars.file(b"//outside//precious", b"x"), INSIDE),
    "the parent itself": Hostile(tars.folder(b".."), EITHER),
    "the parent as a file": Hostile(tars.file(b"..", b"x"), REFUSED),
    "the root as a file": Hostile(tars.file(b".", b"x"), REFUSED),
    "the root as a symlink": Hostile(tars.symlink(b"./", b"/"), REFUSED),
    "the root as a device": Hostile(tars.device(b"/", 1, 3), REFUSED),
    "an empty name": Hostile(tars.header(b""), REFUSED),
    "a component of 256 bytes": Hostile(tars.file(b"x", records={b"path": b"n" * 256}), REFUSED),
    "a name of 9,000 bytes": Hostile(tars.file(b"x", records={b"path": b"d/" * 4500}), REFUSED),
    # symlinks
    "a symlink out, and a file through it": Hostile(tars.symlink(b"s", OUT) + tars.file(b"s/precious", b"x"), EITHER),
    "an absolute symlink, and a file through it": Hostile(tars.symlink(b"s", b"/etc") + tars.file(b"s/passwd", b"x"), REFUSED),
    "a symlink to the root of the host": Hostile(tars.symlink(b"s", b"/") + tars.file(b"s/outside/precious", b"x"), INSIDE),
    "a symlink through proc": Hostile(tars.symlink(b"s", b"/proc/self/root") + tars.file(b"s/precious", b"x"), REFUSED),
    "a symlink replaced by a file": Hostile(tars.symlink(b"s", PRECIOUS) + tars.file(b"s", b"x"), INSIDE),
    "a folder replaced by a symlink out": Hostile(
        tars.folder(b"d") + tars.file(b"d/a") + tars.symlink(b"d", OUT) + tars.file(b"d/precious", b"x"), EITHER
    ),
    "symlinks that climb together": Hostile(
        tars.folder(b"a") + tars.symlink(b"a/b", b"..") + tars.symlink(b"c", b"a/b/../outside") + tars.file(b"c/precious", b"x"), EITHER
    ),
    "a loop of symlinks": Hostile(tars.symlink(b"a", b"b") + tars.symlink(b"b", b"a") + tars.file(b"a/f", b"x"), REFUSED),
    "a symlink to itself": Hostile(tars.symlink(b"a", b"a") + tars.file(b"a/f", b"x"), REFUSED),
    "a chain of 39 symlinks": Hostile(_links(39), INSIDE),
    "a chain of 41 symlinks": Hostile(_links(41), REFUSED),
    "a symlink to nothing": Hostile(tars.header(b"s", b"2"), EITHER),
    "attributes of a symlink's target": Hostile(tars.symlink(b"s", PRECIOUS) + tars.header(b"s", b"2", mode=0o7777, link=PRECIOUS), INSIDE),
    # hard links
    "a hard link out": Hostile(tars.hard_link(b"h", PRECIOUS), REFUSED),
    "an absolute hard link": Hostile(tars.hard_link(b"h", b"/etc/passwd"), REFUSED),
    "a hard link through a symlink": Hostile(tars.symlink(b"s", OUT) + tars.hard_link(b"h", b"s/precious"), REFUSED),
    "a hard link to a symlink, written through": Hostile(
        tars.symlink(b"s", PRECIOUS) + tars.hard_link(b"h", b"s") + tars.file(b"h", b"x"), INSIDE
    ),
    "a hard link to a folder": Hostile(tars.folder(b"d") + tars.hard_link(b"h", b"d"), REFUSED),
    "a hard link to the root": Hostile(tars.hard_link(b"h", b"."), REFUSED),
    "a hard link to the parent": Hostile(tars.hard_link(b"h", b".."), REFUSED),
    "a hard link to itself": Hostile(tars.hard_link(b"h", b"h"), EITHER),
    "a hard link to what comes later": Hostile(tars.hard_link(b"h", b"later") + tars.file(b"later"), REFUSED),
    "a hard link to what is deleted": Hostile(tars.whiteout(b"keep") + tars.hard_link(b"h", b"keep"), REFUSED),
    "a hard link with content": Hostile(tars.file(b"a", b"a") + tars.header(b"h", b"1", 5, link=b"a") + tars.padded(b"xxxxx"), EITHER),
    # whiteouts
    "a whiteout of no name": Hostile(tars.header(b".wh."), REFUSED),
    "a whiteout of the folder": Hostile(tars.header(b"d/.wh.."), REFUSED),
    "a whiteout of the parent": Hostile(tars.header(b".wh..."), REFUSED),
    "a whiteout of the parent, below": Hostile(tars.folder(b"d") + tars.header(b"d/.wh..."), REFUSED),
    "a whiteout through a symlink": Hostile(tars.symlink(b"s", OUT) + tars.whiteout(b"s/precious"), INSIDE),
    "an opaque marker through a symlink": Hostile(tars.symlink(b"s", OUT) + tars.opaque(b"s"), INSIDE),
    "an opaque marker outside": Hostile(tars.opaque(OUT), INSIDE),
    "an opaque marker of the root": Hostile(tars.header(b".wh..wh..opq"), INSIDE),
    "a whiteout outside": Hostile(tars.whiteout(PRECIOUS), INSIDE),
    "a whiteout with content": Hostile(tars.header(b".wh.keep", size=5) + tars.padded(b"xxxxx"), INSIDE),
    "a whiteout that is a folder": Hostile(tars.folder(b".wh.keep"), INSIDE),
    "a whiteout that is a symlink": Hostile(tars.symlink(b".wh.keep", PRECIOUS), INSIDE),
    "a whiteout that is a hard link": Hostile(tars.hard_link(b".wh.keep", PRECIOUS), INSIDE),
    "a file below a whiteout": Hostile(tars.folder(b".wh.d") + tars.file(b".wh.d/f", b"x"), EITHER),
    "AUFS's own with a climbing name": Hostile(tars.file(b".wh..wh.plnk/../../outside/precious", b"x"), INSIDE),
    # through what is no folder
    "a path through a file": Hostile(tars.file(b"f", b"x") + tars.file(b"f/g", b"y"), REFUSED),
    "a path through a file below": Hostile(tars.file(b"keep/g", b"y"), EITHER),
    "a path through a fifo": Hostile(tars.fifo(b"p") + tars.file(b"p/g", b"y"), REFUSED),
    "a path through a device": Hostile(tars.device(b"n", 1, 3) + tars.file(b"n/g", b"y"), REFUSED if os.geteuid() == 0 else INSIDE),
    "a file over a fifo": Hostile(tars.fifo(b"p") + tars.file(b"p", b"y"), INSIDE),
    "a file over a device": Hostile(tars.device(b"n", 1, 3) + tars.file(b"n", b"y"), EITHER),
    "a device with a number that is none": Hostile(tars.device(b"n", 2**20, 1), REFUSED),
    "a device that is overlay's whiteout": Hostile(tars.device(b"keep", 0, 0), EITHER),
    # sizes
    "a size beyond the end": Hostile(_sized(1 << 50), REFUSED),
    "a size that is negative": Hostile(_sized(-1), REFUSED),
    "a size of 2^63": Hostile(_sized(1 << 63), REFUSED),
    "a size of 2^80": Hostile(_sized(1 << 80), REFUSED),
    "a size that is no number": Hostile(tars.checksummed(bytearray(ONE[:124] + b"12 x4567890 " + ONE[136:])), REFUSED),
    "an extended size beyond the end": Hostile(_pax_sized(b"9999999"), REFUSED),
    "an extended size of twenty-one digits": Hostile(_pax_sized(b"9" * 21), REFUSED),
    "an extended size that is negative": Hostile(_pax_sized(b"-1"), REFUSED),
    "an extended size that is text": Hostile(_pax_sized(b"0x10"), REFUSED),
    "an extended size that hides a member": Hostile(_pax_sized(b"1536") + tars.file(PRECIOUS, b"x"), INSIDE),
    "an extended header beyond the end": Hostile(tars.header(b"x", b"x", 1 << 30), REFUSED, whole=False),
    "an extended header of no end": Hostile(tars.header(b"x", b"x", 1 << 40) + bytes(4096), REFUSED),
    "an extended header of blank lines": Hostile(tars.header(b"x", b"x", 512) + b"19 path=abcdefghij\n".ljust(512, b"\n"), REFUSED),
    "five hundred extended headers for one file": Hostile(_record(b"7 k=vv\n")[:1024] * 500 + tars.header(b"f"), EITHER),
    # extended records
    "a path with a NUL": Hostile(tars.pax({b"path": b"a\0b"}) + tars.header(b"f"), REFUSED),
    "a link with a NUL": Hostile(tars.pax({b"linkpath": b"a\0b"}) + tars.symlink(b"s", b"x"), REFUSED),
    "an extended path that climbs": Hostile(tars.pax({b"path": PRECIOUS}) + tars.header(b"f", size=1) + tars.padded(b"x"), INSIDE),
    "an extended link that climbs": Hostile(tars.pax({b"linkpath": PRECIOUS}) + tars.hard_link(b"h", b"x"), REFUSED),
    "an extended path for all": Hostile(tars.pax({b"path": PRECIOUS}, b"g") + tars.file(b"f", b"x"), INSIDE),
    "a record longer than its header": Hostile(_record(b"99999 path=x\n"), REFUSED),
    "a record of length 0": Hostile(_record(b"0 path=x\n"), REFUSED),
    "a record of negative length": Hostile(_record(b"-9 path=x\n"), REFUSED),
    "a record without an end": Hostile(_record(b"9 path=xx"), REFUSED),
    "a record without a value": Hostile(_record(b"7 path\n"), REFUSED),
    "an xattr with a NUL in its name": Hostile(tars.pax({b"SCHILY.xattr.user.a\0b": b"1"}) + tars.header(b"f"), REFUSED),
    "an xattr without a namespace": Hostile(tars.pax({b"SCHILY.xattr.bare": b"1"}) + tars.header(b"f"), EITHER),
    "an xattr of 100,000 bytes": Hostile(tars.pax({b"SCHILY.xattr.user.a": b"x" * 100_000}) + tars.header(b"f"), EITHER),
    "overlay's own xattrs": Hostile(
        tars.pax({OVERLAY + b"redirect": b"/../outside", OVERLAY + b"opaque": b"y", OVERLAY + b"metacopy": b""}) + tars.folder(b"d"), INSIDE
    ),
    "an owner that is none": Hostile(tars.header(b"f", uid=2**32 - 1), REFUSED),
    "a time of a million millennia": Hostile(tars.header(b"f", mtime=2**80), INSIDE),
    # sparse files
    "sparse parts that overlap": Hostile(_sparse(b"10", b"0,3,2,2"), REFUSED),
    "sparse parts beyond the size": Hostile(_sparse(b"4", b"0,3,5,2"), REFUSED),
    "sparse parts of more than there is": Hostile(_sparse(b"100", b"0,50,60,40"), REFUSED),
    "sparse parts of less than there is": Hostile(_sparse(b"100", b"0,1"), REFUSED),
    "a sparse size of 2^62": Hostile(_sparse(b"%d" % (1 << 62), b"0,5"), REFUSED),
    "a sparse map of half a pair": Hostile(_sparse(b"9", b"0,3,5"), REFUSED),
    "a sparse name that climbs": Hostile(
        tars.file(b"f", b"abcde", {b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"0,5", b"GNU.sparse.name": PRECIOUS}), INSIDE
    ),
    # duplicates
    "a file twice": Hostile(tars.file(b"f", b"one") + tars.file(b"f", b"two"), INSIDE),
    "a file, a folder and a symlink of one name": Hostile(tars.file(b"f", b"1") + tars.folder(b"f") + tars.symlink(b"f", OUT), INSIDE),
    "a hard link written over": Hostile(tars.file(b"a", b"1") + tars.hard_link(b"b", b"a") + tars.file(b"b", b"2"), INSIDE),
    "a name deleted and added over and over": Hostile((tars.file(b"f", b"x") + tars.whiteout(b"f")) * 50, INSIDE),
    # ends
    "no end at all": Hostile(tars.file(b"f", b"x"), INSIDE, whole=False),
    "cut in a header": Hostile(tars.header(b"f")[:300], REFUSED, whole=False),
    "cut in a content": Hostile(tars.header(b"f", size=600) + b"x" * 200, REFUSED, whole=False),
    "junk for a header": Hostile(b"junk" * 128, REFUSED),
    "an unknown kind": Hostile(tars.header(b"f", b"Z"), REFUSED),
    "a multi-volume member": Hostile(tars.header(b"f", b"M"), REFUSED),
    "junk after one zero block": Hostile(tars.file(b"f") + bytes(512) + b"junk" * 128, REFUSED, whole=False),
}
