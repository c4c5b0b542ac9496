"""Blobs: stored once, verified, collected only when nothing refers to them."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path

import pytest

from layerlog.eventstore.blobs import Blobs
from layerlog.eventstore.errors import BlobMissing, DigestMismatch, InvalidDigest

HELLO = "sha256:" + hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def test_bytes_streams_and_pieces_are_the_same_blob(blobs: Blobs) -> None:
    assert blobs.put(b"hello") == (HELLO, 5)
    inode = os.stat(blobs.path(HELLO)).st_ino
    assert blobs.put(io.BytesIO(b"hello")) == (HELLO, 5)
    with blobs.writer() as out:
        out.write(b"he")
        out.write(b"llo")
        assert out.finish() == (HELLO, 5)
    assert os.stat(blobs.path(HELLO)).st_ino == inode, "stored once"
    assert blobs.read(HELLO) == b"hello"
    assert (blobs.has(HELLO), blobs.size(HELLO), list(blobs.digests())) == (True, 5, [HELLO])
    assert os.listdir(os.path.join(blobs.folder, "aside")) == []


def test_unfinished_blob_leaves_nothing(blobs: Blobs) -> None:
    with blobs.writer() as out:
        out.write(b"half")
    assert list(blobs.digests()) == []
    assert os.listdir(os.path.join(blobs.folder, "aside")) == []


def test_torn_blob_is_replaced_and_rotten_one_is_told(blobs: Blobs) -> None:
    blobs.put(b"hello")
    Path(blobs.path(HELLO)).write_bytes(b"hel")
    blobs.put(b"hello")
    assert blobs.read(HELLO) == b"hello"
    Path(blobs.path(HELLO)).write_bytes(b"jello")
    with pytest.raises(DigestMismatch):
        blobs.read(HELLO)
    assert list(blobs.damaged()) == [HELLO]


def test_what_is_put_is_there_whatever_stood_in_its_place(blobs: Blobs) -> None:
    """Whoever puts it is told that it is kept: bytes of the same size that rotted are not it, nor is a folder or a pipe."""
    path = Path(blobs.path(HELLO))
    for strange in ("rotten", "folder", "pipe"):
        for data in (b"hello", io.BytesIO(b"hello")):
            blobs.put(b"hello")
            path.unlink()
            if strange == "rotten":
                path.write_bytes(b"jello")
            elif strange == "folder":
                path.mkdir()
            else:
                os.mkfifo(path)
            assert blobs.put(data) == (HELLO, 5)
            assert blobs.read(HELLO) == b"hello"


def test_missing_and_malformed_digests(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        blobs.read(HELLO)
    with pytest.raises(BlobMissing):
        blobs.size(HELLO)
    for bad in ("sha256:../../etc/passwd", "md5:abc", HELLO.upper()):
        with pytest.raises(InvalidDigest):
            blobs.has(bad)


def test_collector_takes_what_nothing_refers_to(blobs: Blobs) -> None:
    kept, _ = blobs.put(b"kept")
    loose, size = blobs.put(b"loose")
    assert blobs.collect(lambda digest: digest == kept, younger_than_ns=time.time_ns() - 10**12) == ([], 0)
    assert blobs.collect(lambda digest: digest == kept) == ([loose], size)
    assert list(blobs.digests()) == [kept]


def test_half_written_blobs_of_dead_writers_are_swept(blobs: Blobs) -> None:
    writer = blobs.writer()
    writer.write(b"x")
    assert blobs.sweep_aside(time.time_ns() - 10**12) == []
    assert len(blobs.sweep_aside(time.time_ns() + 1)) == 1
    writer.close()
