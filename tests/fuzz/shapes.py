"""Archives that look like archives: hostile members in any order, then bytes flipped, cut and repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.drivers import tars
from tests.drivers.hostile import CORPUS

if TYPE_CHECKING:
    import random

NAMES = [
    b"a",
    b"b",
    b"d",
    b"d/a",
    b"d/b",
    b"d/e/f",
    b"./a",
    b"/a",
    b"../outside/precious",
    b"d/../../outside/precious",
    b"s/precious",
    b"s/new",
    b"t/new",
    b"",
    b".",
    b"./",
    b"..",
    b"/",
    b"a/",
    b"a//b",
    b".wh.a",
    b"d/.wh.a",
    b".wh..",
    b".wh...",
    b".wh..wh..opq",
    b"d/.wh..wh..opq",
    b"s/.wh.precious",
    b"s/.wh..wh..opq",
    b".wh..wh.plnk",
    b"caf\xe9",
    b"n" * 99,
    b"x" * 255,
    b"x" * 256,
    b"d/" * 60 + b"f",
]
TARGETS = [
    b"a",
    b"d",
    b"../outside",
    b"/../outside",
    b"..",
    b"/",
    b".",
    b"s",
    b"t",
    b"d/../..",
    b"/proc/self/root",
    b"../outside/precious",
    b"",
    b"x" * 300,
]
KEYS = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"mtime",
    b"SCHILY.xattr.user.k",
    b"SCHILY.xattr.trusted.overlay.opaque",
    b"SCHILY.xattr.security.capability",
    b"GNU.sparse.map",
    b"GNU.sparse.size",
    b"GNU.sparse.name",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.realsize",
    b"comment",
]
VALUES = [b"", b"0", b"1", b"5", b"-1", b"0,5", b"0,2,100,3", b"9" * 19, b"1.5", b"-1.000000001", b"x", b"\0", *NAMES]
KINDS = [b"0", b"0", b"0", b"1", b"2", b"3", b"4", b"5", b"5", b"6", b"7", b"\0", b"g", b"x", b"L", b"K", b"S", b"V", b"?"]


_CORPUS = [one for one in CORPUS.values() if one.whole and len(one.members) < 20_000]


def archive(draw: random.Random) -> bytes:
    """One case."""
    wild = draw.random() < 0.4  # else members that are odd but welcome, so that much is unpacked
    known = draw.choice(_CORPUS).members if draw.random() < 0.15 else b""
    data = known + b"".join(_member(draw, wild) for _ in range(draw.randrange(1, 9))) + tars.END[: draw.choice([0, 512, 1024, 1024, 1024])]
    for _ in range(draw.choice([0, 0, 0, 1, 2]) if wild else 0):
        data = _damaged(draw, data)
    if draw.random() < 0.1:
        data = draw.choice(list(tars.COMPRESSIONS.values()))(data)
        if draw.random() < 0.3:
            data = _damaged(draw, data)
    return data


TAME_NAMES = [name for name in NAMES if name not in (b"", b".", b"./", b"..", b"/", b".wh..", b".wh...", b"x" * 256)]
TAME_KINDS = [b"0", b"0", b"0", b"0", b"1", b"2", b"5", b"5", b"6", b"7", b"\0"]


def _tame(draw: random.Random) -> bytes:
    """A member of a kind and name that is refused only for what is there already."""
    content = draw.randbytes(draw.choice([0, 0, 1, 5, 511, 512, 513, 2000]))
    name, kind, target = draw.choice(TAME_NAMES), draw.choice(TAME_KINDS), draw.choice([b"a", b"d", b"../outside", b"..", b"/", b"s"])
    before = tars.pax({b"path": draw.choice(TAME_NAMES), b"mtime": b"-1.5"}) if draw.random() < 0.1 else b""
    return before + tars.header(name, kind, len(content), link=target) + tars.padded(content if kind not in b"1256" else b"")


def _member(draw: random.Random, wild: bool) -> bytes:
    if not wild or draw.random() < 0.5:
        return _tame(draw)
    before = b""
    if draw.random() < 0.25:
        before = tars.pax(
            {draw.choice(KEYS): draw.choice(VALUES) for _ in range(draw.randrange(1, 4))}, draw.choice([b"x", b"x", b"x", b"g"])
        )
    kind = draw.choice(KINDS)
    content = draw.randbytes(draw.choice([0, 0, 1, 5, 511, 512, 513, 2000]))
    if kind in (b"L", b"K"):
        content = draw.choice(NAMES) + b"\0"
    size = len(content) if draw.random() < 0.95 else draw.choice([0, 1, 10**6, 2**40, -1])
    head = tars.header(
        draw.choice(NAMES),
        kind,
        size,
        draw.choice([0o644, 0o755, 0, 0o7777]),
        draw.choice([None, None, 0, 2**31]),
        None,
        draw.choice([0, 1, -1, 2**33, 2**70]),
        draw.choice(TARGETS),
        draw.choice([b"ustar\x0000", b"ustar\x0000", b"ustar  \0", bytes(8)]),
        draw.choice([0, 1, 259, 9999]),
        draw.choice([0, 3, 2**21 - 1]),
    )
    return before + head + tars.padded(content)


def _damaged(draw: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = draw.randrange(len(data))
    way = draw.randrange(4)
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + bytes((data[at] ^ 1 << draw.randrange(8),)) + data[at + 1 :]
    if way == 2:
        start = at // 512 * 512
        return data[:start] + data[start : start + 512] * 2 + data[start + 512 :]
    # a field of a header made anew, with a checksum that fits
    block = bytearray(data[at // 512 * 512 :][:512].ljust(512, b"\0"))
    start = draw.choice([0, 100, 108, 124, 136, 156, 157, 257, 329, 345, 386, 482])
    block[start : start + 8] = draw.randbytes(8)
    return data[: at // 512 * 512] + tars.checksummed(block) + data[at // 512 * 512 + 512 :]
