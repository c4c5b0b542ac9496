"""Which compression is it (told by the first bytes), and how does the stream unpack?

A decoder is an object with ``feed(data) -> Iterator[bytes]``, which yields pieces of at most
PIECE_BYTES, and ``finish()``, which raises InvalidArchive when the stream ended in the middle.
All formats here may hold several frames one after another. What follows the last frame and is
no frame is garbage, and said to be: a layer whose end cannot be read is not a layer.
"""

from __future__ import annotations

from layerlog.eventstore.errors import InvalidArchive, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Protocol

    class Decoder(Protocol):
        def feed(self, data: bytes) -> Iterator[bytes]: ...
        def finish(self) -> None: ...


# The codes that the original records with a layer (contract/semantics.md §1).
NONE, BZIP2, GZIP, XZ, ZSTD = 0, 1, 2, 3, 4
NAMES = ("none", "bzip2", "gzip", "xz", "zstd")
PIECE_BYTES = 1 << 20
_BZIP2_BLOCKS = (b"\x31\x41", b"\x17\x72")
"""How a block, and the end of a stream without any, begins: a plain tar may begin with the name ``BZhou``."""
_ZSTD_SKIPPABLE = frozenset(bytes((low, 0x2A, 0x4D, 0x18)) for low in range(0x50, 0x60))


def detect(start: bytes) -> int:
    """The code of the compression that a stream beginning with *start* (6 bytes suffice) uses; NONE if no other."""
    if start.startswith(b"\x1f\x8b\x08"):
        return GZIP
    if start.startswith(b"BZh") and start[3:4].isdigit() and (len(start) < 6 or start[4:6] in _BZIP2_BLOCKS):
        return BZIP2
    if start.startswith(b"\xfd7zXZ\x00"):
        return XZ
    if start.startswith(b"\x28\xb5\x2f\xfd") or start[:4] in _ZSTD_SKIPPABLE:
        return ZSTD
    return NONE


def decoder(code: int) -> Decoder:
    """A decoder for *code*. Raises NotSupported when this installation cannot unpack it."""
    if code == NONE:
        return _Plain()
    if code == GZIP:
        return _gzip()
    if code == ZSTD:
        return _zstd()
    if code == BZIP2:
        import bz2

        return _Frames("bzip2", bz2.BZ2Decompressor, b"BZh")
    import lzma

    return _Frames("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=128 << 20), b"\xfd7zXZ\x00", padding=4)


def damaged(what: str) -> InvalidArchive:
    """An InvalidArchive; the reader that knows the offset sets it."""
    return InvalidArchive(why=what, offset=0)


def compressed(pieces: Iterable[bytes], code: int) -> Iterator[bytes]:
    """*pieces* compressed as *code* says, the same bytes every time. Raises NotSupported for bzip2 and xz, as the original."""
    if code == NONE:
        return iter(pieces)
    if code == GZIP:
        import zlib

        return _packed(pieces, zlib.compressobj(6, zlib.DEFLATED, 31))
    if code == ZSTD:
        try:
            import zstandard
        except ImportError as error:
            raise NotSupported("zstd output needs the package zstandard (pip install zstandard)") from error
        return _packed(pieces, zstandard.ZstdCompressor(level=3).compressobj())
    raise NotSupported(f"unsupported compression format tar.{'bz2' if code == BZIP2 else NAMES[code]}")


def quick_gzip() -> Any:
    """A compressor of gzip for what is small and only for us: fast, and not the same bytes on every machine."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib.compressobj(1, zlib.DEFLATED, 31)
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)


def _packed(pieces: Iterable[bytes], codec: Any) -> Iterator[bytes]:
    for piece in pieces:
        packed = codec.compress(piece)
        if packed:
            yield packed
    yield codec.flush()


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data

    def finish(self) -> None:
        return


class _Frames:
    """Frame after frame with a decompressor of the shape of ``bz2.BZ2Decompressor``."""

    def __init__(self, name: str, make: Callable[[], Any], magic: bytes, padding: int = 0) -> None:
        self._name, self._make, self._magic, self._padding = name, make, magic, padding
        self._frame: Any = make()
        self._pending = b""  # bytes after a frame, too few to tell what they are
        self._started = False
        self._zeros = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame is None:
                data = self._next_frame(data)
                if self._frame is None:
                    return
            self._started = True
            try:
                piece = self._frame.decompress(data, PIECE_BYTES)
                if piece:
                    yield piece
                while not self._frame.eof and not self._frame.needs_input:
                    piece = self._frame.decompress(b"", PIECE_BYTES)
                    if not piece and self._frame.needs_input:
                        break
                    if piece:
                        yield piece
            except EOFError:
                pass
            except Exception as error:  # each codec has its own class of error, none of them an OSError of ours
                if isinstance(error, (MemoryError, GeneratorExit, InvalidArchive)):
                    raise
                raise damaged(f"damaged {self._name} stream: {error}") from error
            if not self._frame.eof:
                return
            data = self._frame.unused_data
            self._frame = None

    def _next_frame(self, data: bytes) -> bytes:
        """Begin the next frame if *data* holds its first bytes; returns what is to be fed to it."""
        if self._padding and not self._pending:
            stripped = data.lstrip(b"\0")
            self._zeros += len(data) - len(stripped)
            data = stripped
            if not data:
                return b""
            if self._zeros % self._padding:
                raise damaged(f"garbage after the end of the {self._name} stream")
        data = self._pending + data
        if not data.startswith(self._magic[: len(data)]):
            raise damaged(f"garbage after the end of the {self._name} stream")
        if len(data) < len(self._magic):
            self._pending = data
            return b""
        self._pending, self._zeros = b"", 0
        self._frame = self._make()
        return data

    def finish(self) -> None:
        if self._frame is not None and self._started:
            raise damaged(f"unexpected EOF in the {self._name} stream")
        if self._pending or (self._padding and self._zeros % self._padding):
            raise damaged(f"garbage after the end of the {self._name} stream")


def _gzip() -> Decoder:
    try:
        from isal import igzip_lib
    except ImportError:
        return _Zlib()
    return _Frames("gzip", lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), b"\x1f\x8b\x08")


class _Zlib(_Frames):
    """gzip by the standard library, in the shape that _Frames expects."""

    def __init__(self) -> None:
        super().__init__("gzip", _ZlibFrame, b"\x1f\x8b\x08")


class _ZlibFrame:
    def __init__(self) -> None:
        import zlib

        self._inflate = zlib.decompressobj(31)
        self.needs_input = True

    def decompress(self, data: bytes, length_max: int) -> bytes:
        piece = self._inflate.decompress(data or self._inflate.unconsumed_tail, length_max)
        self.needs_input = not self._inflate.unconsumed_tail and len(piece) < length_max
        return piece

    @property
    def eof(self) -> bool:
        return bool(self._inflate.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inflate.unused_data)


def _zstd() -> Decoder:
    try:
        import zstandard
    except ImportError:
        return _ZstdStandard()
    return _Zstandard(zstandard)


class _ZstdStandard(_Frames):
    """zstd by ``compression.zstd`` (Python 3.14) or ``backports.zstd``."""

    def __init__(self) -> None:
        try:
            from compression import zstd  # type: ignore[import-not-found]
        except ImportError:
            try:
                from backports import zstd  # type: ignore[import-not-found,unused-ignore]
            except ImportError as error:
                raise NotSupported("this layer is compressed with zstd: install the package zstandard (pip install zstandard)") from error
        super().__init__("zstd", zstd.ZstdDecompressor, b"")


class _Zstandard:
    """zstd by the package zstandard, fed a few whole blocks at a time.

    The package unpacks all it is given in one go, and 32 KiB of input can be a gigabyte of zeros; a
    block is at most 128 KiB unpacked. So frames and blocks are told apart here (RFC 8878 §3.1),
    which also finds an end in the middle and lets skippable frames pass.
    """

    _BLOCK_BYTES_MAX = 128 << 10

    def __init__(self, zstandard: Any) -> None:
        self._error = zstandard.ZstdError
        self._make = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._checksum = False
        self._skip = 0
        self._rest = b""  # what is too little to be a header or a block

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data if self._rest else data
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
            elif self._frame is None:
                step = self._begin(data, at)
            else:
                step, end = self._blocks(data, at)
                if step:
                    yield from self._unpack(data[at : at + step])
                if end and self._frame is not None:
                    if not self._frame.eof:
                        raise damaged("damaged zstd stream: frame does not end with its last block")
                    self._frame = None
            if not step:
                break
            at += step
        self._rest = data[at:]

    def _unpack(self, blocks: bytes) -> Iterator[bytes]:
        try:
            piece = self._frame.decompress(blocks)
        except self._error as error:
            raise damaged(f"damaged zstd stream: {error}") from error
        if piece:
            yield piece

    def _begin(self, data: bytes, at: int) -> int:
        """Length of the frame header at *at*, or 0 when more bytes are needed."""
        magic = data[at : at + 4]
        if len(magic) < 4:
            return 0
        if magic in _ZSTD_SKIPPABLE:
            if len(data) - at < 8:
                return 0
            self._skip = int.from_bytes(data[at + 4 : at + 8], "little")
            return 8
        if magic != b"\x28\xb5\x2f\xfd":
            raise damaged("garbage after the end of the zstd stream")
        if len(data) - at < 5:
            return 0
        descriptor = data[at + 4]
        single = descriptor >> 5 & 1
        size_code = descriptor >> 6
        length = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + ((1 if single else 0) if size_code == 0 else 1 << size_code)
        if len(data) - at < length:
            return 0
        self._checksum = bool(descriptor & 4)
        self._frame = self._make()
        try:
            self._frame.decompress(data[at : at + length])
        except self._error as error:
            raise damaged(f"damaged zstd stream: {error}") from error
        return length

    def _blocks(self, data: bytes, at: int) -> tuple[int, bool]:
        """(bytes of whole blocks at *at*, at most eight; whether they end the frame)."""
        start = at
        for _ in range(PIECE_BYTES // self._BLOCK_BYTES_MAX):
            if len(data) - at < 3:
                break
            header = int.from_bytes(data[at : at + 3], "little")
            last, kind, size = header & 1, header >> 1 & 3, header >> 3
            if kind == 3 or size > self._BLOCK_BYTES_MAX:
                raise damaged("damaged zstd stream: invalid block")
            length = 3 + (1 if kind == 1 else size) + (4 if last and self._checksum else 0)
            if len(data) - at < length:
                break
            at += length
            if last:
                return at - start, True
        return at - start, False

    def finish(self) -> None:
        if self._frame is not None or self._skip or self._rest:
            raise damaged("unexpected EOF in the zstd stream")
