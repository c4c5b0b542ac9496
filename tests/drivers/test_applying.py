from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers import applying, compression
from layerlog.drivers.extract import Extractor
from layerlog.eventstore.errors import InvalidArchive
from tests.drivers import tars

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.drivers.applying import Applied

BIG = tars.archive(*[tars.file(b"d/f%d" % n, os.urandom(3000)) for n in range(400)])
SMALL = tars.archive(tars.file(b"d/f", b"x"))


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def unpack(root: Path, data: io.BufferedIOBase, **options: object) -> Applied:
    extractor = Extractor(str(root), True)
    try:
        return applying.apply(data, extractor, **options)  # type: ignore[arg-type]
    finally:
        extractor.close()


@pytest.mark.parametrize("plain", [BIG, SMALL, b""], ids=["threaded", "in line", "empty"])
@pytest.mark.parametrize("name", tars.COMPRESSIONS)
def test_one_pass_learns_both_digests_and_sizes(name: str, plain: bytes, tmp_path: Path) -> None:
    packed = tars.COMPRESSIONS[name](plain)
    applied = unpack(tmp_path, io.BytesIO(packed))
    assert (applied.compressed_digest, applied.compressed_size) == (sha256(packed), len(packed))
    assert (applied.diff_digest, applied.diff_size) == (sha256(plain), len(plain))
    assert compression.NAMES[applied.compression] == name


@pytest.mark.parametrize("tail", [bytes(10240), b"anything at all" * 100_000], ids=["zeros", "junk"])
def test_what_follows_the_end_of_the_archive_is_hashed_too(tail: bytes, tmp_path: Path) -> None:
    assert unpack(tmp_path, io.BytesIO(BIG + tail)).diff_digest == sha256(BIG + tail)


def test_progress_is_told_in_bytes_of_the_stream(tmp_path: Path) -> None:
    told: list[int] = []
    packed = tars.COMPRESSIONS["gzip"](BIG)
    unpack(tmp_path, io.BytesIO(packed), progress=told.append)
    assert sum(told) == len(packed)
    assert len(told) > 2


class Failing(io.RawIOBase):
    """A stream whose reading fails after some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        data = self._data.read(size)
        if not data:
            raise ConnectionResetError("the peer went away")
        return data


@pytest.mark.parametrize("size", [1000, 300_000, 700_000])
def test_an_error_of_the_stream_reaches_the_caller_and_ends_the_thread(size: int, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        unpack(tmp_path, Failing(BIG[:size]))  # type: ignore[arg-type]
    assert threading.active_count() == 1


@pytest.mark.parametrize("name", tars.COMPRESSIONS)
def test_a_damaged_archive_ends_the_thread(name: str, tmp_path: Path) -> None:
    packed = tars.COMPRESSIONS[name](BIG[:-100_000])
    with pytest.raises(InvalidArchive, match="unexpected EOF"):
        unpack(tmp_path, io.BytesIO(packed))
    assert threading.active_count() == 1


@pytest.mark.parametrize("name", [name for name in tars.COMPRESSIONS if name != "none"])
def test_a_damaged_compression_says_so_with_an_offset(name: str, tmp_path: Path) -> None:
    packed = tars.COMPRESSIONS[name](BIG)
    with pytest.raises(InvalidArchive, match=name) as caught:
        unpack(tmp_path, io.BytesIO(packed[:-20]))
    assert isinstance(caught.value.data["offset"], int)


def test_a_stream_that_gives_a_byte_at_a_time_is_read(tmp_path: Path) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(1)

    assert unpack(tmp_path, Slow(SMALL)).diff_digest == sha256(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", tars.COMPRESSIONS)
def test_memory_stays_bounded_whatever_the_size(name: str, tmp_path: Path) -> None:
    """A layer of 400 MB, half of it noise, in a process of its own: at most 64 MiB (zstd: beside its own 8 MiB window)."""
    import random

    noise = random.Random(1).randbytes(4 << 20)
    member = tars.file(b"f%d", noise + bytes(4 << 20))
    archive = tmp_path / "archive"
    with open(archive, "wb") as out:
        plain = b"".join(tars.header(b"f%d" % n, size=8 << 20) + member[512:] for n in range(2 if name in ("xz", "bzip2") else 50))
        out.write(tars.COMPRESSIONS[name](plain))
    program = f"""
        from layerlog.drivers import applying
        from layerlog.drivers.extract import Extractor
        extractor = Extractor({str(tmp_path / "root")!r}, True)
        with open({str(archive)!r}, "rb") as stream, open({str(tmp_path / "split")!r}, "w+b") as split:
            applying.apply(stream, extractor, tar_split=split)
        print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
    """
    (tmp_path / "root").mkdir()
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 64 << 10
