"""Which member comes next in a tar stream, and where are its bytes?

A reader of our own: it keeps names as bytes, keeps the raw header blocks (tar-split needs them),
reads what real tools write (ustar, PAX, GNU, star, base-256 numbers, both GNU and PAX sparse files)
and accepts the ends that real tools leave out. It is 5-10 times faster than ``tarfile`` per member.
Errors are InvalidArchive with the words of the original: ``unexpected EOF``, ``invalid tar header``.

Sources: POSIX pax(1), tar(5) of libarchive, GNU tar manual "Sparse Formats", Go archive/tar.
"""

from __future__ import annotations

import zlib

from layerlog.drivers.tarfields import (
    FOLDER,
    GLOBAL,
    HEADER,
    HEADER_ONLY,
    REGULAR,
    Member,
    apply_pax,
    checked_parts,
    decimal_of,
    member_of,
    number_of,
    octal,
    pairs_of,
    pax_records,
    sparse_slots,
    text_of,
)
from layerlog.eventstore.errors import ArchiveLimit, InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
SPECIAL_BYTES_MAX = 1 << 20  # one PAX or GNU long-name record; as Go's reader
_SPARSE_PARTS_MAX = 1 << 20
_NO_ID = (1 << 32) - 1  # what chown(2) takes for "leave it"
_ZERO = bytes(BLOCK)


class Feed:
    """Bytes of a stream in exact counts; ``offset`` is how many were handed out."""

    __slots__ = ("_chunks", "_data", "_at", "_before")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = b""
        self._at = 0
        self._before = 0

    @property
    def offset(self) -> int:
        return self._before + self._at

    def take(self, size: int) -> bytes:
        """The next *size* bytes; fewer only at the end of the stream."""
        at = self._at
        end = at + size
        if end <= len(self._data):
            self._at = end
            return self._data[at:end]
        return b"".join(map(bytes, self.pieces(size)))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next *size* bytes without copying them, in pieces; fewer only at the end of the stream."""
        while size:
            have = len(self._data) - self._at
            if not have:
                self._before += len(self._data)
                self._at = 0
                self._data = next(self._chunks, b"")
                have = len(self._data)
                if not have:
                    return
            step = have if have < size else size
            start = self._at
            self._at = start + step
            size -= step
            yield memoryview(self._data)[start : start + step]

    def rest(self) -> Iterator[memoryview]:
        """All that is left."""
        return self.pieces(1 << 62)


class TarReader:
    """Members of one archive, in order.

    ``next`` returns the following member or None at the end; before it is called again the caller
    may read ``pieces()``; what was not read is skipped. ``raw`` collects every byte that is not a
    member's content (headers, padding, the tail); the caller empties it when it likes.
    """

    __slots__ = ("_feed", "_left", "_padding", "_special", "keep_raw", "raw")

    def __init__(self, feed: Feed, keep_raw: bool = False) -> None:
        self._feed = feed
        self._left = 0
        self._padding = 0
        self._special = 0
        self.keep_raw = keep_raw
        self.raw: list[bytes] = []

    # --- members

    def next(self) -> Member | None:
        """The next member. Raises InvalidArchive."""
        if self._left:
            for _ in self.pieces():
                pass
        if self._padding:
            self._keep(self._feed.take(self._padding))
            self._padding = 0
        extended: dict[bytes, bytes] = {}
        sparse_records: list[tuple[bytes, bytes]] = []
        long_name = long_link = b""
        self._special = 0
        start = self._feed.offset
        while True:
            offset = self._feed.offset
            block = self._block()
            if block is None:
                if extended or long_name or long_link:
                    raise InvalidArchive(why="unexpected EOF", offset=offset)
                return None
            fields = HEADER.unpack(block)
            kind = fields[7]
            if kind == b"x" or kind == b"X":
                extended, sparse_records = pax_records(self._content(fields, offset), offset)
            elif kind == b"L":
                long_name = self._content(fields, offset).split(b"\0", 1)[0]
            elif kind == b"K":
                long_link = self._content(fields, offset).split(b"\0", 1)[0]
            elif kind == GLOBAL:
                self._padding = -len(self._content(fields, offset, padding=False)) % BLOCK
                return Member(text_of(fields[0]), GLOBAL, offset)
            else:
                break
        member = member_of(fields, start)
        if extended:
            apply_pax(member, extended, offset)
        if long_name:  # has the last word, as in Go's reader
            member.name = long_name
        if long_link:
            member.link = long_link
        if kind == b"\0":
            member.kind = FOLDER if member.name.endswith(b"/") else REGULAR
        elif kind == b"7":
            member.kind = REGULAR
        if member.kind in HEADER_ONLY:
            member.size = 0
        if member.size < 0:
            raise InvalidArchive(why="invalid tar header: negative size", offset=offset)
        if not (0 <= member.uid < _NO_ID and 0 <= member.gid < _NO_ID):
            raise InvalidArchive(why="invalid tar header: owner", offset=offset)
        self._left = member.size
        self._padding = -member.size % BLOCK
        if kind == b"S":
            self._old_sparse(member, fields, block, offset)
        elif sparse_records:
            self._pax_sparse(member, sparse_records, offset)
        else:
            member.real_size = member.size
        if b"\0" in member.name or b"\0" in member.link:
            raise InvalidArchive(why="invalid tar header: NUL in a name", offset=offset)
        return member

    def pieces(self) -> Iterator[memoryview]:
        """The content of the current member, as it is in the archive. Raises InvalidArchive when it is cut off."""
        size, self._left = self._left, 0
        for piece in self._feed.pieces(size):
            size -= len(piece)
            self._left = size  # so that an abandoned iteration is skipped to its end by ``next``
            yield piece
        if size:
            self._left = 0
            raise InvalidArchive(why="unexpected EOF", offset=self._feed.offset)

    def content(self, size: int) -> bytes | None:
        """The whole content at once when it is *size* bytes and already here; else None (use ``pieces``)."""
        feed = self._feed
        end = feed._at + size
        if size != self._left or end > len(feed._data):
            return None
        self._left = 0
        data = feed._data[feed._at : end]
        feed._at = end
        return data

    def tail(self) -> Iterator[memoryview]:
        """What follows the end of the archive, up to the end of the stream."""
        return self._feed.rest()

    @property
    def offset(self) -> int:
        return self._feed.offset

    # --- blocks

    def _keep(self, data: bytes) -> None:
        if self.keep_raw and data:
            self.raw.append(data)

    def _block(self) -> bytes | None:
        """One checked header block; None at the end of the archive, be it marked or not."""
        offset = self._feed.offset
        block = self._feed.take(BLOCK)
        if self.keep_raw and block:
            self.raw.append(block)
        if len(block) < BLOCK:
            if block:
                raise InvalidArchive(why="unexpected EOF", offset=offset)
            return None
        # Adler-32's low half is 1 + the sum of all bytes, modulo 65521: the header checksum at the speed of C.
        field = block[148:156]
        try:
            stored = octal(field)
        except ValueError:
            raise InvalidArchive(why="invalid tar header", offset=offset) from None
        if (stored - 256 + sum(field) + 1) % 65521 != zlib.adler32(block) & 0xFFFF:
            if block == _ZERO:
                self._end(offset)
                return None
            signed = sum(block[:148]) + sum(block[156:]) + 256 - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
            if stored != signed:
                raise InvalidArchive(why="invalid tar header", offset=offset)
        return block

    def _end(self, offset: int) -> None:
        """The second zero block, which may be missing; anything else in its place is junk."""
        block = self._feed.take(BLOCK)
        self._keep(block)
        if block and block != _ZERO[: len(block)]:
            raise InvalidArchive(why="invalid tar header", offset=offset + BLOCK)

    def _content(self, fields: tuple[bytes, ...], offset: int, padding: bool = True) -> bytes:
        """The content of an extended header; without *padding* that is left for ``next``, as after any member."""
        size = number_of(fields[4], offset)
        self._special += size
        if size < 0:
            raise InvalidArchive(why="invalid tar header", offset=offset)
        if size > SPECIAL_BYTES_MAX or self._special > 2 * SPECIAL_BYTES_MAX:
            raise ArchiveLimit(limit="extended header bytes", allowed=SPECIAL_BYTES_MAX, offset=offset)
        data = self._feed.take(size)
        if len(data) < size:
            raise InvalidArchive(why="unexpected EOF", offset=offset)
        self._keep(data)
        if padding and size % BLOCK:
            self._keep(self._feed.take(-size % BLOCK))
        return data

    # --- sparse files

    def _old_sparse(self, member: Member, fields: tuple[bytes, ...], block: bytes, offset: int) -> None:
        """GNU's own format: four parts in the header, 21 in each block that follows."""
        parts = sparse_slots(block, 386, 4, offset)
        member.real_size = number_of(block[483:495], offset)
        more = block[482]
        while more:
            block = self._feed.take(BLOCK)
            self._keep(block)
            if len(block) < BLOCK:
                raise InvalidArchive(why="unexpected EOF", offset=offset)
            parts += sparse_slots(block, 0, 21, offset)
            more = block[504]
            if len(parts) > _SPARSE_PARTS_MAX:
                raise ArchiveLimit(limit="sparse parts", allowed=_SPARSE_PARTS_MAX, offset=offset)
        member.kind = REGULAR
        member.sparse = checked_parts(parts, member.size, member.real_size, offset)

    def _pax_sparse(self, member: Member, records: list[tuple[bytes, bytes]], offset: int) -> None:
        """GNU.sparse.* records: formats 0.0 and 0.1 carry the map in the header, 1.0 before the data."""
        last = dict(records)
        member.name = last.get(b"GNU.sparse.name", member.name)
        real = last.get(b"GNU.sparse.realsize", last.get(b"GNU.sparse.size"))
        member.real_size = decimal_of(real, offset) if real is not None else member.size
        if last.get(b"GNU.sparse.major") == b"1":
            parts = self._sparse_map(offset)
            member.size = self._left
        elif b"GNU.sparse.map" in last:
            numbers = [decimal_of(n, offset) for n in last[b"GNU.sparse.map"].split(b",") if n]
            parts = pairs_of(numbers, offset)
        else:
            numbers = [decimal_of(v, offset) for k, v in records if k in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
            if not numbers and not real:
                member.real_size = member.size
                return
            parts = pairs_of(numbers, offset)
        member.kind = REGULAR
        member.sparse = checked_parts(parts, member.size, member.real_size, offset)

    def _sparse_map(self, offset: int) -> list[tuple[int, int]]:
        """Format 1.0: a count, then offset and length of each part, a decimal number a line, padded to a block."""
        text = b""
        lines: list[bytes] = []
        wanted = 1
        while len(lines) < wanted:
            if self._left < BLOCK or len(text) > SPECIAL_BYTES_MAX:
                raise InvalidArchive(why="invalid tar header: sparse map", offset=offset)
            block = self._feed.take(BLOCK)
            if len(block) < BLOCK:
                raise InvalidArchive(why="unexpected EOF", offset=offset)
            self._keep(block)
            self._left -= BLOCK
            text += block
            *whole, text = text.split(b"\n")
            lines += whole
            if wanted == 1 and lines:
                count = decimal_of(lines[0], offset)
                if count > _SPARSE_PARTS_MAX:
                    raise ArchiveLimit(limit="sparse parts", allowed=_SPARSE_PARTS_MAX, offset=offset)
                wanted = 1 + 2 * count
        return pairs_of([decimal_of(line, offset) for line in lines[1:wanted]], offset)
