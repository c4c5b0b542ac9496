"""Segments cut, gone, swapped or renamed; position, checkpoints and copies flipped: what is lost is named, the rest is read."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore import segments
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import fold, make, named, put, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.eventstore.damage import Damage

COMMITS = 41
BOOTS = pytest.mark.parametrize("position", [True, False], ids=["same boot", "after a boot"])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[bytes, Any], list[tuple[int, int, str]]]:
    """A journal in four small segments, its rows, and its listing; without checkpoints, which would hide what is lost."""
    folder = tmp_path_factory.mktemp("sample") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FIRST_BYTES", 4096)
        patch.setattr(segments, "FIRST_RESERVE_BYTES", 512)
        patch.setattr(segments, "sizes_after", lambda before, needed: [(max(4096, needed + 1024), 512)])
        with make(folder, COMMITS - 1) as ledger:
            rows = rows_of(ledger)
    return folder, rows, segments.listing(str(folder / "journal"))


class Tampered:
    """A copy of the sample to tamper with."""

    def __init__(self, sample: Any, folder: Path, position: bool) -> None:
        source, self.rows, listing = sample
        shutil.copytree(source, folder)
        self.folder = folder
        self.first = {number: first for number, first, _ in listing}
        self.paths = {number: folder / "journal" / name for number, _, name in listing}
        if not position:
            (folder / "position").unlink()

    def of(self, number: int) -> set[int]:
        """The commits in a segment."""
        return set(range(self.first[number], self.first.get(number + 1, COMMITS + 1)))

    def look(self) -> tuple[list[int], set[int], bool]:
        """Commits in order, those that are named as lost, and whether anything at all was named; nothing is written."""
        with Ledger(str(self.folder), fold=fold, read_only=True) as ledger:
            there = [commit.sequence for commit in ledger.history()]
            assert [commit.sequence for commit in ledger.history(reverse=True)] == there[::-1]
            assert there == sorted(set(there)), "each once and in order"
            found = list(ledger.verify())
            if len(there) == COMMITS:
                assert rows_of(ledger) == self.rows
            return there, lost_in(found), bool(found)

    def goes_on(self) -> None:
        """A store that lost something works, and what it writes stays."""
        with make(self.folder) as ledger:
            sequence = put(ledger, "more", "m")
        with make(self.folder) as ledger:
            assert (ledger.sequence, ledger.rows.get(b"name\0m")) == (sequence, "more")


def lost_in(found: list[Damage]) -> set[int]:
    return {number for one in found if not one.mended for number in range(one.first_sequence, one.last_sequence + 1)}


@pytest.fixture
def tampered(sample: Any, tmp_path: Path) -> Callable[[bool], Tampered]:
    return lambda position: Tampered(sample, tmp_path / "c", position)


@BOOTS
@pytest.mark.parametrize("number", [1, 2, 3])
def test_segment_that_is_gone_is_named_with_all_its_commits(tampered: Any, position: bool, number: int) -> None:
    journal = tampered(position)
    journal.paths[number].unlink()
    everything = set(range(1, COMMITS + 1))
    there, lost, _ = journal.look()
    assert (set(there), lost) == (everything - journal.of(number), journal.of(number))
    with make(journal.folder) as ledger:
        assert ledger.has_damage()
    journal.goes_on()


def test_last_segment_that_is_gone_stays_named_when_its_numbers_are_used_again(tampered: Any) -> None:
    """The position said that they were durable: that is kept before it is overwritten."""
    journal = tampered(True)
    journal.paths[4].unlink()
    assert journal.look()[1] == journal.of(4)
    journal.goes_on()
    for _ in range(2):
        assert max(journal.look()[1]) == COMMITS
        with make(journal.folder) as ledger:
            for number in range(len(journal.of(4))):
                put(ledger, f"again-{number}", f"again-{number}")


@BOOTS
@pytest.mark.parametrize("pair", [(1, 2), (2, 3), (3, 4)])
def test_swapped_segments_are_read_by_what_their_headers_say(tampered: Any, position: bool, pair: tuple[int, int]) -> None:
    journal = tampered(position)
    one, two = (journal.paths[number] for number in pair)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert journal.look() == (list(range(1, COMMITS + 1)), set(), True)
    journal.goes_on()


@BOOTS
@pytest.mark.parametrize("name", ["00000012-0000000000000011.segment", "00000009-0000000000000001.segment"])
def test_renamed_segment_is_found(tampered: Any, position: bool, name: str) -> None:
    journal = tampered(position)
    journal.paths[2].rename(journal.folder / "journal" / name)
    assert journal.look() == (list(range(1, COMMITS + 1)), set(), True)
    journal.goes_on()


@BOOTS
def test_segment_under_another_ones_name_counts_once(tampered: Any, position: bool) -> None:
    journal = tampered(position)
    journal.paths[3].write_bytes(journal.paths[2].read_bytes())
    there, lost, _ = journal.look()
    assert (set(there), lost) == (set(range(1, COMMITS + 1)) - journal.of(3), journal.of(3))
    journal.goes_on()


@BOOTS
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_header_that_is_all_wrong_loses_no_commit(tampered: Any, position: bool, number: int) -> None:
    journal = tampered(position)
    data = journal.paths[number].read_bytes()
    journal.paths[number].write_bytes(random.Random(number).randbytes(128) + data[128:])
    assert journal.look() == (list(range(1, COMMITS + 1)), set(), True)
    journal.goes_on()


@BOOTS
@pytest.mark.parametrize("size", [0, 64, 128, 700, 1000, 2500])
def test_segment_cut_in_the_middle_of_the_journal_is_named_to_its_end(tampered: Any, position: bool, size: int) -> None:
    journal = tampered(position)
    journal.paths[2].write_bytes(journal.paths[2].read_bytes()[:size])
    there, lost, _ = journal.look()
    assert lost == set(range(1, COMMITS + 1)) - set(there)
    assert lost <= journal.of(2)
    journal.goes_on()


@BOOTS
def test_several_flipped_bits_lose_the_records_they_hit_at_most(tampered: Any, position: bool, tmp_path: Path) -> None:
    """Wherever they are, headers of segments included; what is lost is named, and nothing else is lost."""
    journal = tampered(position)
    draw = random.Random(4711)
    whole = journal.paths[2].read_bytes()
    with Ledger(str(journal.folder), fold=fold, read_only=True) as ledger:
        frames = [(commit.sequence, commit.frame.offset, commit.frame.end) for commit in ledger.history() if commit.frame.segment == 2]
    for _ in range(60):
        data = bytearray(whole)
        hits = [draw.randrange(frames[-1][2]) for _ in range(draw.randrange(2, 6))]
        for byte in hits:
            data[byte] ^= 1 << draw.randrange(8)
        journal.paths[2].write_bytes(data)
        hit = {sequence for sequence, start, end in frames if any(start <= byte < end for byte in hits)}
        there, lost, _ = journal.look()
        assert set(range(1, COMMITS + 1)) - set(there) == lost
        assert lost <= hit, hits


def test_every_flipped_bit_of_the_position_costs_nothing(sample: Any, tmp_path: Path) -> None:
    """Also for a process that was there before, and whatever the flip says."""
    journal = Tampered(sample, tmp_path / "c", True)
    path = journal.folder / "position"
    with make(journal.folder) as living:
        for byte in range(128):
            data = bytearray(path.read_bytes())
            data[byte] ^= 1 << byte % 8
            path.write_bytes(data)
            with make(journal.folder) as other:
                assert other.sequence == COMMITS + byte
                put(other, "next", f"n{byte}")
            assert living.rows.get(f"name\0n{byte}".encode()) == "next"
            assert list(living.verify()) == []


def test_flipped_copy_of_the_genesis_is_of_no_consequence(tampered: Any) -> None:
    journal = tampered(True)
    path = journal.folder / "genesis"
    whole = path.read_bytes()
    for byte in range(0, len(whole), 7):
        path.write_bytes(whole[:byte] + bytes((whole[byte] ^ 16,)) + whole[byte + 1 :])
        assert journal.look() == (list(range(1, COMMITS + 1)), set(), False)


def test_every_flipped_byte_of_a_checkpoint_costs_time_only(tmp_path: Path) -> None:
    with make(tmp_path / "s", 130) as ledger:
        expected = rows_of(ledger)
        ledger._state.flush()
    runs = sorted((tmp_path / "s" / "checkpoints").iterdir())
    assert runs
    draw = random.Random(7)
    for run in runs:
        whole = run.read_bytes()
        for byte in (*range(len(whole) - 256, len(whole) - 60, 3), *(draw.randrange(len(whole)) for _ in range(60))):
            run.write_bytes(whole[:byte] + bytes((whole[byte] ^ 1 << byte % 8,)) + whole[byte + 1 :])
            with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as ledger:
                assert rows_of(ledger) == expected, (run.name, byte)
                assert ledger.rows.get(b"name\0name-7") == "item-7"
        run.write_bytes(whole)


def test_loss_is_remembered_by_the_checkpoints_made_after_it(tmp_path: Path) -> None:
    """Else a store that opens from them would take for unclaimed what the lost record claimed."""
    folder = tmp_path / "s"
    with make(folder, 300) as ledger:
        hit = next(commit.frame for commit in ledger.history(99, 100))
        path = ledger._reader.segment(1).path
    data = bytearray(Path(path).read_bytes())
    data[hit.offset + 200 : hit.offset + 240] = bytes(40)
    Path(path).write_bytes(data)
    shutil.rmtree(folder / "checkpoints")
    make(folder).close()  # makes checkpoints anew
    assert os.listdir(folder / "checkpoints")
    with make(folder) as ledger:
        assert ledger._state.base_sequence > 100
        assert ledger.rows.get(b"name\0name-98") is None
        assert ledger.has_damage()
        for number in range(600):  # runs are merged
            ledger.commit(lambda rows, number=number: [named(f"x{number}", f"y{number}")], envelope={})  # type: ignore[misc]
    with make(folder) as ledger:
        assert ledger.has_damage()
