"""How does a layer give back the tar it came from, byte for byte?

tar-split data, in the original's format (vbatts/tar-split, contract/semantics.md §3): gzip of JSON
lines. ``type`` 2 carries raw bytes of the archive (headers, padding, the end) in base64; ``type`` 1
stands for a file's content: name, size, CRC-64 ISO (big-endian, base64). Positions count all lines.

Content that no file of the layer will hold (of whiteouts, of sparse files, of members that a later
one replaces) travels as raw bytes, so that every archive we accept can be given back.
"""

from __future__ import annotations

import binascii
import json
import os

from layerlog.drivers import compression
from layerlog.eventstore.errors import ContentsDamaged, DriverError, InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from layerlog.drivers.driver import Driver
    from layerlog.drivers.resolve import Opener

FILE, SEGMENT = 1, 2
_SEGMENT_BYTES = 1 << 20
_FLUSH_BYTES = 256 << 10
_READ_BYTES = 64 << 10
_LINE_BYTES_MAX = 64 << 20


class TarSplitWriter:
    """Writes the lines to *out* as they come; nothing is kept but one buffer."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._gzip = compression.quick_gzip()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._position = 0

    def segment(self, raw: bytes) -> None:
        """Raw bytes of the archive."""
        line = b'{"type":2,"payload":"%b","position":%d}\n' % (binascii.b2a_base64(raw, newline=False), self._position)
        self._add(line)

    def segments(self, pieces: Iterator[memoryview]) -> None:
        """Raw bytes of any length, in lines of at most 1 MiB."""
        for piece in pieces:
            for start in range(0, len(piece), _SEGMENT_BYTES):
                self.segment(bytes(piece[start : start + _SEGMENT_BYTES]))

    def file(self, name: bytes, size: int, crc: int) -> None:
        """A member; with *size* 0 it has no content and *crc* is not looked at."""
        payload = b'"%b"' % binascii.b2a_base64(crc.to_bytes(8, "big"), newline=False) if size else b"null"
        length = b'"size":%d,' % size if size else b""
        self._add(b'{"type":1,%b%b"payload":%b,"position":%d}\n' % (_name_field(name), length, payload, self._position))

    def close(self) -> None:
        """Write what is left; *out* stays open."""
        self._flush()
        self._out.write(self._gzip.flush())

    def _add(self, line: bytes) -> None:
        self._position += 1
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        packed = self._gzip.compress(b"".join(self._lines))
        self._lines.clear()
        self._bytes = 0
        if packed:
            self._out.write(packed)


_PLAIN = bytes(c for c in range(32, 127) if c not in b'"\\<>&')


def _name_field(name: bytes) -> bytes:
    if not name:
        return b""
    if not name.translate(None, _PLAIN):
        return b'"name":"%b",' % name
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return b'"name_raw":"%b",' % binascii.b2a_base64(name, newline=False)
    quoted = json.dumps(text, ensure_ascii=False)
    for character in "<>&\u2028\u2029":  # as Go's encoder writes them
        quoted = quoted.replace(character, f"\\u{ord(character):04x}")
    return b'"name":%b,' % quoted.encode("utf-8")


class Entry:
    """One line. ``payload`` is the raw bytes of a segment or the eight bytes of the checksum."""

    __slots__ = ("kind", "name", "payload", "size")

    def __init__(self, kind: int, name: bytes, size: int, payload: bytes) -> None:
        self.kind, self.name, self.size, self.payload = kind, name, size, payload


def entries(tar_split: IO[bytes]) -> Iterator[Entry]:
    """The lines of tar-split data, gzipped or not. Raises ContentsDamaged (layer_id "") when they do not parse."""
    for line in _lines(tar_split):
        try:
            if (entry := _plain_entry(line)) is not None:
                yield entry
                continue
            fields = json.loads(line)
            kind = fields["type"]
            name = fields.get("name", "").encode("utf-8", "surrogatepass")
            if fields.get("name_raw"):
                name = binascii.a2b_base64(fields["name_raw"])
            payload = binascii.a2b_base64(fields.get("payload") or "")
            size = fields.get("size", 0)
            if kind not in (FILE, SEGMENT) or not isinstance(size, int) or size < 0:
                raise ValueError(f"unknown entry type {kind!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(str(error)) from error
        yield Entry(kind, name, size, payload)


_SEGMENT_LINE = b'{"type":2,"payload":"'
_FILE_LINE = b'{"type":1,"name":"'


def _plain_entry(line: bytes) -> Entry | None:
    """A line in the shape that nearly all have, several times faster than any parser of JSON; None for another.

    Raises ValueError for a payload that is not base64.
    """
    if line.startswith(_SEGMENT_LINE):
        payload, quote, rest = line[21:].partition(b'"')
        if quote and rest.startswith(b',"position":') and rest.endswith(b"}"):
            return Entry(SEGMENT, b"", 0, binascii.a2b_base64(payload))
    elif line.startswith(_FILE_LINE) and b"\\" not in line:
        name, _, rest = line[18:].partition(b'"')
        if rest.startswith(b',"payload":null,"position":'):
            return Entry(FILE, name, 0, b"")
        size, comma, rest = rest.removeprefix(b',"size":').partition(b",")
        if comma and size.isdigit() and rest.startswith(b'"payload":"') and rest[23:36] == b'","position":':
            return Entry(FILE, name, int(size), binascii.a2b_base64(rest[11:23]))
    return None


def _damaged(why: str) -> ContentsDamaged:
    return ContentsDamaged(layer_id="", path="tar-split data", why=why)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in _unpacked(stream):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            raise _damaged("a line is too long")
        yield from (line for line in whole if line)
    if rest.strip():
        raise _damaged("it is cut off")


def _unpacked(stream: IO[bytes]) -> Iterator[bytes]:
    data = stream.read(_READ_BYTES)
    decoder = compression.decoder(compression.detect(data))
    try:
        while data:
            yield from decoder.feed(data)
            data = stream.read(_READ_BYTES)
        decoder.finish()
    except InvalidArchive as damage:
        raise _damaged(str(damage.data["why"])) from damage


class ContentsUnreadable(DriverError):
    """A layer's files are not this user's to read: nothing is known of them. Data: ``layer_id``, ``path``, ``why``."""

    message = "layer {layer_id}: {path}: {why}"
    hint = "the files of another user, or of a user namespace: layerlog --unshare (or root) can read what was unpacked there"


def reassemble(driver: Driver, layer_id: str, tar_split: IO[bytes]) -> Iterator[bytes]:
    """The tar that *layer_id* was made from, in pieces of about 1 MiB.

    Raises ContentsDamaged with ``file integrity checksum failed`` when a file is not what it was; what
    was yielded before stands, so a consumer that must not act on half a stream checks the digest.
    """
    return assemble(entries(tar_split), driver.own_tree(layer_id), layer_id)


def assemble(lines: Iterator[Entry], root: str, layer_id: str) -> Iterator[bytes]:
    """As ``reassemble``, from parsed lines and the folder that holds the files."""
    from layerlog.drivers.resolve import Opener

    opener = Opener(root)
    small: list[bytes] = []
    pending = 0
    try:
        for entry in lines:
            pieces = (entry.payload,) if entry.kind == SEGMENT else _content(opener, entry, layer_id) if entry.size else ()
            for piece in pieces:
                if len(piece) >= _FLUSH_BYTES:
                    if small:
                        yield b"".join(small)
                        small.clear()
                        pending = 0
                    yield piece
                    continue
                small.append(piece)
                pending += len(piece)
                if pending >= _FLUSH_BYTES:
                    yield b"".join(small)
                    small.clear()
                    pending = 0
        if small:
            yield b"".join(small)
    finally:
        opener.close()


def _content(opener: Opener, entry: Entry, layer_id: str) -> Iterator[bytes]:
    """The content of one file, its checksum proved before the last piece is given out."""
    from layerlog.drivers import crc64

    try:
        fd = opener.open(entry.name)
    except PermissionError as error:
        raise ContentsUnreadable(layer_id=layer_id, path=_shown(entry.name), why=str(error.strerror or error)) from error
    except OSError as error:
        raise ContentsDamaged(layer_id=layer_id, path=_shown(entry.name), why=str(error.strerror or error)) from error
    try:
        left, crc = entry.size, 0
        while left:
            # One byte more than there should be: a file that grew is noticed, too.
            data = os.read(fd, min(left + 1, _SEGMENT_BYTES))
            left -= len(data)
            crc = crc64.update(data, crc)
            wrong = not data or left < 0 or (not left and crc.to_bytes(8, "big") != entry.payload)
            if wrong or (not left and len(data) == _SEGMENT_BYTES and os.read(fd, 1)):
                why = f"file integrity checksum failed for {_shown(entry.name)!r}"
                raise ContentsDamaged(layer_id=layer_id, path=_shown(entry.name), why=why)
            yield data
    finally:
        os.close(fd)


def inline_contents(tar_split: IO[bytes], start: int, replaced: list[tuple[bytes, int]]) -> None:
    """Rewrite tar-split data so that it carries the contents of *replaced* (name, open descriptor) itself.

    A content is told by base name, size and checksum: should another file have all three, its content
    is carried, too, and the archive stays the same.
    """
    import tempfile

    from layerlog.drivers import crc64

    by_sum: dict[tuple[bytes, int, bytes], int] = {}
    for name, fd in replaced:
        crc = 0
        size = 0
        while data := os.pread(fd, _SEGMENT_BYTES, size):
            crc = crc64.update(data, crc)
            size += len(data)
        by_sum[name.rpartition(b"/")[2], size, crc.to_bytes(8, "big")] = fd
    with tempfile.TemporaryFile(dir=_folder_of(tar_split)) as rewritten:
        writer = TarSplitWriter(rewritten)
        tar_split.seek(start)
        for entry in entries(tar_split):
            if entry.kind == SEGMENT:
                writer.segment(entry.payload)
                continue
            held = by_sum.get((entry.name.rstrip(b"/").rpartition(b"/")[2], entry.size, entry.payload))
            if held is None:
                writer.file(entry.name, entry.size, int.from_bytes(entry.payload, "big"))
                continue
            at = 0
            while data := os.pread(held, _SEGMENT_BYTES, at):
                writer.segment(data)
                at += len(data)
            writer.file(entry.name, 0, 0)
        writer.close()
        rewritten.seek(0)
        tar_split.seek(start)
        tar_split.truncate()
        while data := rewritten.read(_SEGMENT_BYTES):
            tar_split.write(data)


def _folder_of(file: IO[bytes]) -> str | None:
    """The folder of an open file, even of one without a name; None for what is no file. There is room there, in /tmp perhaps not."""
    try:
        return os.path.dirname(os.readlink(f"/proc/self/fd/{file.fileno()}"))
    except OSError:
        return None


def proves(tar_split: IO[bytes], start: int, root: str) -> bool:
    """Whether tar-split data and the files below *root* belong together. Leaves the stream at its end."""
    tar_split.seek(start)
    try:
        for _ in assemble(entries(tar_split), root, ""):
            pass
    except (ContentsDamaged, ContentsUnreadable):
        return False
    tar_split.seek(0, 2)
    return True


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
