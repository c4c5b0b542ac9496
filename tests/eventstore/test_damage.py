"""Cut, torn and flipped: every journal opens, what is damaged is named, and nothing else is lost."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import first_segment, fold, make, put, rows_of

COMMITS = 12


class Sample:
    """A journal of a dozen commits, what its rows were after each, and where each frame is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with make(folder, COMMITS) as ledger:
            self.states = [dict(ledger.at(sequence).scan(b"")) for sequence in range(COMMITS + 2)]
            self.frames = [(commit.frame.offset, commit.frame.end) for commit in ledger.history()]
        self.bytes = Path(first_segment(folder)).read_bytes()
        self.end = self.frames[-1][1]

    def copy(self, to: Path, data: bytes, *, position: bool) -> Path:
        """A copy whose segment holds *data*, with or without the published position."""
        if to.exists():
            shutil.rmtree(to)
        shutil.copytree(self.folder, to)
        Path(first_segment(to)).write_bytes(data)
        if not position:
            os.unlink(to / "position")
        return to


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("sample") / "s")


@pytest.mark.parametrize("position", [True, False], ids=["same boot", "after a boot"])
@pytest.mark.parametrize("how", ["cut", "zeros"])
def test_every_possible_truncation_opens(sample: Sample, tmp_path: Path, position: bool, how: str) -> None:
    """All commits that are whole before the cut are there; then the store works on."""
    for cut in range(0, sample.end + 20, 5 if how == "cut" else 11):
        data = sample.bytes[:cut] if how == "cut" else sample.bytes[:cut] + bytes(len(sample.bytes) - cut)
        folder = sample.copy(tmp_path / "c", data, position=position)
        whole = max(sum(end <= cut for _, end in sample.frames), 1)  # the genesis comes back from its copy
        with Ledger(str(folder), fold=fold) as ledger:
            assert rows_of(ledger) == sample.states[whole], cut
            sequence = put(ledger, "more", "m")
        with Ledger(str(folder), fold=fold) as ledger:
            assert ledger.sequence == sequence
            assert ledger.rows.get(b"name\0m") == "more", cut


@pytest.mark.parametrize("position", [True, False], ids=["same boot", "after a boot"])
def test_one_flipped_bit_is_named_and_loses_nothing(sample: Sample, tmp_path: Path, position: bool) -> None:
    """Not even the record it hit: one bit can be computed from the checksums."""
    draw = random.Random(4711)
    for byte in range(0, sample.end, 3):
        data = bytearray(sample.bytes)
        data[byte] ^= 1 << draw.randrange(8)
        folder = sample.copy(tmp_path / "c", bytes(data), position=position)
        with Ledger(str(folder), fold=fold, read_only=True) as ledger:
            assert rows_of(ledger) == sample.states[-1], byte
            named = [found for found in ledger.verify() if found.offset <= byte < found.end]
            assert [found.mended for found in named] == [True], byte
            assert not ledger.has_damage()


def test_damaged_payload_loses_its_own_record_only(sample: Sample, tmp_path: Path) -> None:
    offset, _ = sample.frames[5]
    data = bytearray(sample.bytes)
    data[offset + 200 : offset + 210] = b"##########"
    folder = sample.copy(tmp_path / "c", bytes(data), position=True)
    with Ledger(str(folder), fold=fold) as ledger:
        assert [commit.sequence for commit in ledger.history()] == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13]
        assert [commit.sequence for commit in ledger.history(reverse=True)] == [13, 12, 11, 10, 9, 8, 7, 5, 4, 3, 2, 1]
        (found,) = ledger.verify()
        assert (found.segment, found.first_sequence, found.last_sequence, found.mended) == (1, 6, 6, False)
        assert found.offset <= offset + 200 < found.end
        assert ledger.has_damage()
        assert put(ledger, "more", "m") == 14


@pytest.mark.parametrize("position", [True, False], ids=["same boot", "after a boot"])
def test_lost_sector_loses_what_it_held_only(sample: Sample, tmp_path: Path, position: bool) -> None:
    """512 zeroed bytes anywhere before the last commit: the frames after it are found by their magic."""
    for start in range(512, sample.end - 700, 512):
        data = sample.bytes[:start] + bytes(512) + sample.bytes[start + 512 :]
        folder = sample.copy(tmp_path / "c", data, position=position)
        hit = {number for number, (first, end) in enumerate(sample.frames, 1) if first < start + 512 and end > start}
        with Ledger(str(folder), fold=fold, read_only=True) as ledger:
            assert {commit.sequence for commit in ledger.history()} == set(range(1, COMMITS + 2)) - hit
            lost: set[int] = set()
            for found in ledger.verify():
                lost |= set(range(found.first_sequence, found.last_sequence + 1))
            assert lost == hit


def test_torn_bytes_are_kept_before_they_are_overwritten(sample: Sample, tmp_path: Path) -> None:
    data = bytearray(sample.bytes)
    data[sample.end : sample.end + 40] = b"half of a frame that never became whole!"
    folder = sample.copy(tmp_path / "c", bytes(data), position=False)
    with Ledger(str(folder), fold=fold) as ledger:
        assert rows_of(ledger) == sample.states[-1]
        put(ledger, "more", "m")
    (kept,) = (folder / "quarantine").iterdir()
    assert kept.read_bytes() == b"half of a frame that never became whole!"


def test_whole_frame_beyond_the_position_is_settled_not_lost(sample: Sample, tmp_path: Path) -> None:
    """A writer was killed between its write and its publication: the change counts, and its bytes are written again."""
    folder = sample.copy(tmp_path / "c", sample.bytes, position=True)
    from layerlog.eventstore.journal import Journal

    journal = Journal.open(str(folder))
    journal.begin()
    journal._publish = lambda position: None  # type: ignore[method-assign]
    journal.append([b'{"envelope":{},"events":[{"type":"NamesSet","id":"q","names":["r"]}]}'], [journal.position.time_ns + 1])
    journal.end()
    journal.close()
    with Ledger(str(folder), fold=fold) as ledger:
        assert ledger.rows.get(b"name\0r") == "q"


def test_missing_segment_is_named(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        for number in range(2500):
            put(ledger, f"item-{number % 9}", "n" * 200 + str(number))
        folder = Path(ledger.folder)
    shutil.rmtree(folder / "checkpoints")
    second = sorted((folder / "journal").iterdir())[1]
    lost = range(
        int(second.name.split("-")[1].split(".")[0]), int(sorted((folder / "journal").iterdir())[2].name.split("-")[1].split(".")[0])
    )
    second.unlink()
    with Ledger(str(folder), fold=fold) as ledger:
        found = [one for one in ledger.verify() if not one.mended]
        assert [(one.segment, one.first_sequence, one.last_sequence) for one in found] == [(2, lost[0], lost[-1])]
        assert {commit.sequence for commit in ledger.history()} == set(range(1, 2502)) - set(lost)
        assert put(ledger, "more", "m") == 2502


def test_frame_of_another_journal_is_not_believed(tmp_path: Path) -> None:
    make(tmp_path / "a", 3).close()
    make(tmp_path / "b", 9).close()
    ours, theirs = Path(first_segment(tmp_path / "a")), Path(first_segment(tmp_path / "b"))
    with Ledger(str(tmp_path / "a"), fold=fold) as ledger:
        end = ledger._reader.position.offset
    data = ours.read_bytes()
    ours.write_bytes(data[:end] + theirs.read_bytes()[end:])
    os.unlink(tmp_path / "a" / "position")
    with Ledger(str(tmp_path / "a"), fold=fold) as ledger:
        assert ledger.sequence == 4
