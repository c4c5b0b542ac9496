from __future__ import annotations

import gzip
import os
import zlib

import pytest

from layerlog.drivers import compression
from layerlog.eventstore.errors import InvalidArchive, NotSupported
from tests.drivers import tars

DATA = os.urandom(70_000) + bytes(3 << 20) + b"end"
PACKED = {name: pack(DATA) for name, pack in tars.COMPRESSIONS.items()}
REAL = [name for name in PACKED if name != "none"]
SKIPPABLE = b"\x51\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"


def unpack(data: bytes, chunk: int = 65536) -> bytes:
    decoder = compression.decoder(compression.detect(data))
    out = [piece for at in range(0, len(data), chunk) for piece in decoder.feed(data[at : at + chunk])]
    decoder.finish()
    assert max(map(len, out), default=0) <= max(compression.PIECE_BYTES, chunk)
    return b"".join(out)


@pytest.mark.parametrize("name", PACKED)
def test_the_first_bytes_tell_the_compression(name: str) -> None:
    assert compression.NAMES[compression.detect(PACKED[name][:6])] == name


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("chunk", [1000, 65536, 1 << 22])
def test_every_compression_unpacks(name: str, chunk: int) -> None:
    assert unpack(PACKED[name], chunk) == DATA


@pytest.mark.parametrize("name", REAL)
def test_several_frames_are_one_stream(name: str) -> None:
    pack = tars.COMPRESSIONS[name]
    assert unpack(PACKED[name] + pack(b"") + pack(b"more"), 4096) == DATA + b"more"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("cut", [1, 4, 9, 1000])
def test_an_end_in_the_middle_is_an_error(name: str, cut: int) -> None:
    with pytest.raises(InvalidArchive, match=r"unexpected EOF|damaged"):
        unpack(PACKED[name][:-cut])


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("garbage", [b"garbage!", b"\0\0\0", b"x"])
def test_garbage_after_the_end_is_an_error(name: str, garbage: bytes) -> None:
    with pytest.raises(InvalidArchive, match=r"garbage|unexpected EOF"):
        unpack(PACKED[name] + garbage)


@pytest.mark.parametrize("name", REAL)
def test_a_flipped_bit_is_an_error_or_gives_other_bytes(name: str) -> None:
    damaged = bytearray(PACKED[name])
    damaged[len(damaged) // 3] ^= 1
    with pytest.raises(InvalidArchive):
        assert unpack(bytes(damaged)) == DATA, "the checksum of the format saw nothing"


def test_a_plain_tar_may_begin_with_a_name_that_looks_like_bzip2() -> None:
    for name in (b"BZhang.txt", b"BZh", b"BZh9", b"BZh10.txt"):
        assert compression.detect(tars.archive(tars.file(name, b"x"))[:6]) == compression.NONE
    assert compression.detect(tars.COMPRESSIONS["bzip2"](b"")[:6]) == compression.BZIP2


def test_padding_of_xz_in_fours_is_no_garbage() -> None:
    assert unpack(PACKED["xz"] + bytes(8) + tars.COMPRESSIONS["xz"](b"more")) == DATA + b"more"


@pytest.mark.skipif("zstd" not in PACKED, reason="needs zstandard")
def test_skippable_frames_of_zstd_pass() -> None:
    packed = SKIPPABLE + PACKED["zstd"] + SKIPPABLE + tars.COMPRESSIONS["zstd"](b"more") + SKIPPABLE
    assert compression.detect(packed) == compression.ZSTD
    for chunk in (1, 3, 100, 1 << 20):
        assert unpack(packed if chunk > 1 else SKIPPABLE + tars.COMPRESSIONS["zstd"](b"x") + SKIPPABLE, chunk) == (
            DATA + b"more" if chunk > 1 else b"x"
        )


@pytest.mark.skipif("zstd" not in PACKED, reason="needs zstandard")
def test_a_zstd_bomb_unpacks_in_pieces() -> None:
    import zstandard

    packed = zstandard.ZstdCompressor(level=1).compress(bytes(256 << 20))
    assert len(packed) < 50_000
    decoder = compression.decoder(compression.ZSTD)
    assert max(len(piece) for piece in decoder.feed(packed)) <= compression.PIECE_BYTES


def test_the_standard_library_unpacks_gzip_the_same() -> None:
    decoder = compression._Zlib()
    packed = PACKED["gzip"] * 2
    assert b"".join(piece for at in range(0, len(packed), 5000) for piece in decoder.feed(packed[at : at + 5000])) == DATA * 2
    decoder.finish()


def test_compressed_output_is_the_same_every_time_and_carries_no_date() -> None:
    once = b"".join(compression.compressed([DATA, b"x"], compression.GZIP))
    assert once == b"".join(compression.compressed([DATA, b"x"], compression.GZIP))
    assert once[4:8] == bytes(4)
    assert gzip.decompress(once) == DATA + b"x"


@pytest.mark.parametrize(("code", "name"), [(compression.BZIP2, "tar.bz2"), (compression.XZ, "tar.xz")])
def test_output_in_bzip2_and_xz_is_refused_in_the_words_of_the_original(code: int, name: str) -> None:
    with pytest.raises(NotSupported, match=f"unsupported compression format {name}"):
        compression.compressed([b"x"], code)


def test_zlib_alone_is_not_taken_for_gzip() -> None:
    assert compression.detect(zlib.compress(b"x")) == compression.NONE


@pytest.mark.parametrize("name", [name for name in tars.COMPRESSIONS if name != "none"])
def test_a_bomb_unpacks_in_pieces_of_bounded_size_and_no_faster_than_it_is_read(name: str) -> None:
    """Whoever counts the pieces can stop in time: the first comes before the rest is unpacked."""
    packed = tars.COMPRESSIONS[name](bytes(16 << 20))
    pieces = compression.decoder(compression.detect(packed)).feed(packed)
    assert 0 < len(next(pieces)) <= compression.PIECE_BYTES
    assert max(map(len, pieces)) <= compression.PIECE_BYTES


@pytest.mark.skipif("zstd" not in PACKED, reason="needs zstandard")
def test_a_zstd_frame_that_wants_a_window_of_gigabytes_is_refused() -> None:
    """RFC 8878 §3.1.1.1.2: a window descriptor of 0xA8 asks for 2 GiB."""
    with pytest.raises(InvalidArchive, match="zstd"):
        unpack(b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00" * 3)


def test_an_xz_stream_that_wants_a_dictionary_of_gigabytes_is_refused() -> None:
    import lzma

    wanted = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 8}]
    try:
        packed = lzma.compress(b"x" * 100, filters=wanted)
    except MemoryError:
        pytest.skip("the kernel refuses the memory to make one")
    with pytest.raises(InvalidArchive, match="xz"):
        unpack(packed)
