"""Verify names what was changed behind the store's back, one record at a time."""

from __future__ import annotations

import os
import random
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.crc32c import crc32c
from layerlog.eventstore.errors import InvalidRequest
from layerlog.eventstore.frame import HEADER_BYTES
from layerlog.eventstore.journal import Journal

if TYPE_CHECKING:
    from layerlog.eventstore.frame import Frame

COMMITS = 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with forty commits, closed."""
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        image = store.create_image(names=["n"])
        store.set_big_data("image", image.id, "k", b"some bytes")
        for number in range(COMMITS - store.sequence):
            store.set_metadata(image.id, f"metadata number {number}")
    return tmp_path / "root"


def folder(root: Path) -> Path:
    return root / "vfs-layerlog"


def frames(root: Path) -> tuple[Path, list[Frame]]:
    """The first segment and its frames."""
    journal = Journal.open(str(folder(root)), read_only=True)
    found = list(journal.frames(journal.start()))
    journal.close()
    return next((folder(root) / "journal").iterdir()), found


def named(root: Path, last_known: str | int | None = None) -> set[int]:
    """Numbers of the commits that verify names."""
    found: set[int] = set()
    with Store(root, root.parent / "run", "vfs", read_only=True) as store:
        for finding in store.verify(last_known):
            if finding.id.startswith("commit"):
                first, _, last = finding.id.split(" ")[1].partition("-")
                found.update(range(int(first), int(last or first) + 1))
    return found


def rewrite(path: Path, data: bytes, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def raw(path: Path, frame: Frame) -> bytes:
    return path.read_bytes()[frame.offset : frame.end]


def forged(header: bytes, payload: bytes) -> bytes:
    """A frame with another payload and with checksums that fit it: the work of somebody who knows the format."""
    body = header[12:88] + sha256(payload).digest() + header[120:128]
    return header[:8] + crc32c(body).to_bytes(4, "little") + body + payload


def reboot(root: Path) -> None:
    """The published position of this boot is not believed any more."""
    os.unlink(folder(root) / "position")


def test_an_untouched_store_has_no_findings(root: Path) -> None:
    with Store(root, root.parent / "run", "vfs") as store:
        assert list(store.verify(store.head())) == []
        assert list(store.verify(COMMITS)) == []


@pytest.mark.parametrize("seed", range(12))
def test_any_altered_byte_of_a_record_is_named(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    path, found = frames(root)
    frame = chance.choice(found[:-1])
    at = chance.randrange(frame.offset, frame.end)
    rewrite(path, bytes((path.read_bytes()[at] ^ chance.randrange(1, 256),)), at)
    assert frame.sequence in named(root)


@pytest.mark.parametrize("place", [3, 20, COMMITS - 2, COMMITS - 1])
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_forged_record_with_checksums_that_fit_is_named(root: Path, place: int, rebooted: bool) -> None:
    """The last one by the head that was kept, since nothing after it holds its hash."""
    with Store(root, root.parent / "run", "vfs") as store:
        head = store.head()
    path, found = frames(root)
    frame = found[place]
    data = raw(path, frame)
    payload = data[HEADER_BYTES:].replace(b'"uid":', b'"UID":', 1)
    rewrite(path, forged(data[:HEADER_BYTES], payload), frame.offset)
    if rebooted:
        reboot(root)
    assert frame.sequence in named(root, head)


@pytest.mark.parametrize("place", [1, 20, COMMITS - 2])
def test_a_dropped_record_is_named(root: Path, place: int) -> None:
    """Once as a hole of zeros, once with everything after it moved up."""
    path, found = frames(root)
    frame, whole = found[place], path.read_bytes()
    rewrite(path, bytes(frame.end - frame.offset), frame.offset)
    assert frame.sequence in named(root)
    path.write_bytes((whole[: frame.offset] + whole[frame.end :]).ljust(len(whole), b"\0"))
    assert frame.sequence in named(root)


@pytest.mark.parametrize("place", [1, 20, COMMITS - 3])
def test_swapped_records_are_named(root: Path, place: int) -> None:
    path, found = frames(root)
    one, two = found[place : place + 2]
    rewrite(path, raw(path, two) + raw(path, one), one.offset)
    assert {one.sequence, two.sequence} <= named(root)


@pytest.mark.parametrize("place", [1, 20, COMMITS - 3])
def test_a_repeated_record_is_named(root: Path, place: int) -> None:
    """Written over the next one, or pushed in before it."""
    path, found = frames(root)
    one, two = found[place : place + 2]
    whole, copy = path.read_bytes(), raw(path, one)
    path.write_bytes((whole[: one.end] + copy + whole[two.end :]).ljust(len(whole), b"\0")[: len(whole)])
    assert two.sequence in named(root)
    path.write_bytes((whole[: one.end] + copy + whole[one.end :])[: len(whole)])
    assert two.sequence in named(root)


@pytest.mark.parametrize("kept", [1, 20, COMMITS - 1])
def test_a_cut_off_tail_is_named_when_the_last_known_position_is_given(root: Path, kept: int) -> None:
    path, found = frames(root)
    frame = found[kept - 1]
    rewrite(path, bytes(path.stat().st_size - frame.end), frame.end)
    reboot(root)
    assert named(root) == set()
    assert named(root, COMMITS) == set(range(kept + 1, COMMITS + 1))


def test_a_tail_that_was_cut_off_in_this_boot_is_named_without_that(root: Path) -> None:
    path, found = frames(root)
    rewrite(path, bytes(path.stat().st_size - found[29].end), found[29].end)
    assert named(root) == set(range(31, COMMITS + 1))


def test_records_that_moved_are_named_after_a_reboot_and_after_a_writer_settled_them(root: Path) -> None:
    """To a journal they look like a torn tail; but a power cut moves nothing."""
    path, found = frames(root)
    whole = path.read_bytes()
    path.write_bytes((whole[: found[19].offset] + whole[found[19].end :]).ljust(len(whole), b"\0"))
    reboot(root)
    assert set(range(21, COMMITS + 1)) <= named(root)
    Store(root, root.parent / "run", "vfs").close()
    assert set(range(21, COMMITS + 1)) <= named(root)


def test_a_history_that_was_written_anew_is_named_by_the_head_of_before(root: Path) -> None:
    with Store(root, root.parent / "run", "vfs") as store:
        head = store.head()
    path, found = frames(root)
    rewrite(path, bytes(path.stat().st_size - found[29].end), found[29].end)
    reboot(root)
    with Store(root, root.parent / "run", "vfs") as store:
        for _ in range(COMMITS):
            store.set_metadata("n", store.head())
    assert named(root) == set()
    assert named(root, head) == {COMMITS}


def test_a_redaction_that_no_commit_explains_is_named(root: Path) -> None:
    from layerlog.redacting import Words, redact_payload

    path, found = frames(root)
    frame = found[7]
    assert frame.payload is not None
    rewrite(path, redact_payload(frame.payload, Words()), frame.offset + HEADER_BYTES)
    assert named(root) == {frame.sequence}


def test_an_altered_blob_and_a_missing_one_are_named(root: Path) -> None:
    with Store(root, root.parent / "run", "vfs") as store:
        digest, _ = store.big_data_ref("image", "n", "k")
        path = Path(store.blobs.path(digest))
        path.write_bytes(b"other bytes")
        assert [(one.grade, one.id) for one in store.verify()] == [("content", digest)]
        path.unlink()
        assert [(one.grade, one.id) for one in store.verify()] == [("missing", digest)]


def test_a_checkpoint_that_differs_from_a_replay_is_named(tmp_path: Path) -> None:
    """Its own checksums may fit: here it was made by a fold that got something wrong."""
    from layerlog.eventstore.checkpoints import Checkpoints

    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        image = store.create_image(names=["n"])
        for number in range(200):
            store.set_metadata(image.id, str(number))
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        assert list(store.verify()) == []
        journal = Journal.open(store.ledger.folder, read_only=True)
        points = [journal.start(), *(frame.after() for frame in journal.frames(journal.start()) if frame.sequence in (64, 128))]
        made = Checkpoints(str(Path(store.ledger.folder) / "checkpoints"), journal, fold_version=1, may_write=True)
        made.clear()
        assert made.write({b"image\0" + image.id.encode(): {"id": image.id}}, points[1], points[2], patient=False)
        journal.close()
        found = list(store.verify())
        assert [one.id for one in found] == ["checkpoint 000000000064-000000000128.run"]
        assert image.id in found[0].proof


@pytest.mark.parametrize("head", ["x", "12:ab", "-3", ""])
def test_a_head_that_cannot_be_read_is_refused(root: Path, head: str) -> None:
    with Store(root, root.parent / "run", "vfs") as store, pytest.raises(InvalidRequest):
        store.verify(head)
