"""Checkpoints: derived, disposable, and equal to a whole replay."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerlog.eventstore import blocks, checkpoints
from layerlog.eventstore.blocks import Block, RunDamaged
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import ENVELOPE, deleted, first_segment, fold, make, named, put, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.eventstore.rows import Rows

pairs = st.dictionaries(st.binary(max_size=40), st.binary(min_size=1, max_size=60), max_size=60)


@given(pairs, st.binary(max_size=3))
def test_block_finds_what_was_packed(rows: dict[bytes, bytes], asked: bytes) -> None:
    names = sorted(rows)
    block = Block(blocks.pack(names, [rows[name] for name in names]))
    assert [block.key(index) for index in range(block.count)] == names
    for _ in range(2):  # without and with the list of keys made
        assert block.first_from(asked) == sum(name < asked for name in names)
        assert block.last_to(asked) == sum(name <= asked for name in names) - 1
        assert block.keys == names
    assert block.values() == [rows[name] for name in names] == [block.value(index) for index in range(block.count)]
    assert block.joined(0, len(names)) == b",".join(rows[name] for name in names)


@given(pairs.filter(bool), st.integers(0), st.integers(0, 7))
def test_flipped_bit_in_a_block_is_seen(rows: dict[bytes, bytes], at: int, bit: int) -> None:
    names = sorted(rows)
    raw = bytearray(blocks.pack(names, [rows[name] for name in names]))
    raw[at % len(raw)] ^= 1 << bit
    with pytest.raises(RunDamaged):
        Block(bytes(raw))


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four levels of runs after a few hundred commits."""
    from layerlog.eventstore import state

    for module in (checkpoints, state):
        monkeypatch.setattr(module, "UNIT", 4)
        monkeypatch.setattr(module, "FANOUT", 3)


def _always(event: Any) -> Callable[[Rows], list[Any]]:
    return lambda rows: [event]


def _fill(ledger: Ledger, commits: int, seed: int = 7) -> None:
    draw = random.Random(seed)
    for number in range(commits):
        item = f"item-{draw.randrange(30)}"
        event: dict[str, Any] = deleted(item) if draw.random() < 0.3 else named(item, f"name-{number}", "\udcff")
        ledger.commit(_always(event), envelope=ENVELOPE)


def _replayed(folder: Path, tmp_path: Path) -> dict[bytes, Any]:
    """Rows without any checkpoint."""
    copy = tmp_path / "replayed"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "checkpoints", ignore_errors=True)
    with Ledger(str(copy), fold=fold, read_only=True) as ledger:
        assert not (copy / "checkpoints").exists()
        return rows_of(ledger)


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("commits", [3, 4, 11, 12, 37, 150, 333])
def test_checkpoint_and_tail_equal_whole_replay(tmp_path: Path, commits: int) -> None:
    folder = tmp_path / "s"
    with make(folder) as ledger:
        _fill(ledger, commits)
        before = rows_of(ledger)
    expected = _replayed(folder, tmp_path)
    assert before == expected
    with Ledger(str(folder), fold=fold) as ledger:
        assert rows_of(ledger) == expected
        for key in [*expected, b"layer\0nothing"]:
            assert ledger.rows.get(key) == expected.get(key)
        assert list(ledger.rows.keys(b"name\0")) == sorted(key for key in expected if key.startswith(b"name\0"))


@pytest.mark.usefixtures("small_units")
def test_every_past_state_is_what_it_was(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        past = []
        for number in range(120):
            _fill(ledger, 1, seed=number)
            past.append(rows_of(ledger))
        for sequence, rows in enumerate(past, 2):
            assert dict(ledger.at(sequence).scan(b"")) == rows


@pytest.mark.usefixtures("small_units")
def test_small_runs_go_when_greater_ones_cover_them(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        _fill(ledger, 4 * 27 * 3 + 5)
        ledger._state.flush()
    names = sorted(path.name for path in (tmp_path / "s" / "checkpoints").iterdir())
    widths = {int(name.split("-")[1].split(".")[0]) - int(name.split("-")[0]) for name in names}
    assert 36 in widths
    assert all(name.endswith(".run") for name in names)
    with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as ledger:
        assert len(ledger._state.checkpoints.cover(ledger.sequence)) < 12


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "flipped", "other journal", "all missing"])
def test_bad_run_costs_time_only(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "s"
    with make(folder) as ledger:
        _fill(ledger, 200)
    expected = _replayed(folder, tmp_path)
    runs = sorted((folder / "checkpoints").iterdir())
    for number, run in enumerate(runs):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(folder, copy)
        bad = copy / "checkpoints" / run.name
        data = bad.read_bytes()
        if how == "missing":
            bad.unlink()
        elif how == "empty":
            bad.write_bytes(b"")
        elif how == "cut":
            bad.write_bytes(data[: len(data) * 2 // 3])
        elif how == "flipped":
            at = random.Random(number).randrange(len(data) - 256)  # in the pages: met in the middle of a look-up
            bad.write_bytes(data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :])
        elif how == "other journal":
            make(tmp_path / f"other-{number}", 0).close()
            bad.write_bytes(data[:-200] + bytes(100) + data[-100:])
        else:
            shutil.rmtree(copy / "checkpoints")
        for read_only in (True, False):
            with Ledger(str(copy), fold=fold, read_only=read_only) as ledger:
                for key in expected:
                    assert ledger.rows.get(key) == expected[key]
                assert rows_of(ledger) == expected
        with Ledger(str(copy), fold=fold) as ledger:
            assert rows_of(ledger) == expected
            assert put(ledger, "more", "m") == 202


@pytest.mark.usefixtures("small_units")
def test_run_made_again_after_it_was_found_bad(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with make(folder) as ledger:
        _fill(ledger, 200)
        expected = rows_of(ledger)
    for run in (folder / "checkpoints").iterdir():
        run.write_bytes(b"rot")
    with Ledger(str(folder), fold=fold) as ledger:
        assert rows_of(ledger) == expected
    with Ledger(str(folder), fold=fold, read_only=True) as ledger:
        assert ledger._state.base_sequence > 150


@pytest.mark.usefixtures("small_units")
def test_runs_of_another_fold_are_not_used(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        _fill(ledger, 50)

    def other(rows: Any, event: Any, meta: Any) -> Any:
        yield b"count", meta.sequence

    with Ledger(str(tmp_path / "s"), fold=other, fold_version=2) as ledger:
        assert rows_of(ledger) == {b"count": 51}


@pytest.mark.usefixtures("small_units")
def test_runs_are_not_used_when_the_journal_was_cut_before_them(tmp_path: Path) -> None:
    """The journal is the truth, also when it is shorter than what was derived from it."""
    folder = tmp_path / "s"
    with make(folder) as ledger:
        _fill(ledger, 100)
        cut = list(ledger.history())[40].frame.end
        expected = dict(ledger.at(41).scan(b""))
    segment = Path(first_segment(folder))
    data = segment.read_bytes()
    segment.write_bytes(data[:cut] + bytes(len(data) - cut))
    with Ledger(str(folder), fold=fold) as ledger:
        assert ledger.sequence == 41
        assert rows_of(ledger) == expected
        _fill(ledger, 30, seed=99)
        after = rows_of(ledger)
    assert after == _replayed(folder, tmp_path)
    with Ledger(str(folder), fold=fold) as ledger:
        assert rows_of(ledger) == after


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 1000))
def test_processes_that_open_in_turn_leave_the_same_state(tmp_path_factory: pytest.TempPathFactory, turns: list[int], seed: int) -> None:
    """Short and long ones, each flushing what it must: the end is that of one replay."""
    folder = tmp_path_factory.mktemp("turns") / "s"
    make(folder).close()
    rows: dict[bytes, Any] = {}
    for number, commits in enumerate(turns):
        with Ledger(str(folder), fold=fold) as ledger:
            _fill(ledger, commits, seed=seed + number)
            rows = rows_of(ledger)
    assert rows == _replayed(folder, folder.parent)


def test_disk_that_takes_no_runs_stops_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog.eventstore import disk

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with make(tmp_path / "s") as ledger:
        monkeypatch.setattr(disk, "write_all", full)
        _fill(ledger, 700)
        assert ledger.sequence == 701
        assert not list((tmp_path / "s" / "checkpoints").iterdir())
