"""The tools for the worst day on a bad disk: power cuts, and calls that fail. Whoever goes on afterwards comes to the same end.

Power cuts on the model of a disk (tests/crash/power.py): before each flush, with any part of what was not flushed. Of all disks and
of all calls a sample, a larger one in the long form (``LAYERLOG_CRASH=long``); ``LAYERLOG_CRASH_SEED`` takes other dice.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore import position
from tests.crash import children, power, seams
from tests.crash.conftest import in_memory
from tests.crash.laboratory import meets
from tests.rescue.test_stops import LONG, TOOLS, Bench, prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["prepared"]
SEED = int(os.environ.get("LAYERLOG_CRASH_SEED", "1"))
DISKS, CALLS = (150, 60) if LONG else (6, 2)
"""How many of each tool are judged; of calls, for each error."""
ERRORS = [(errno.EIO, False), (errno.ENOSPC, True), (errno.EMFILE, False)]
"""Error, and whether it lasts until the tool ends."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where no inode number is used twice, which the model of a disk counts on."""
    folder = Path(in_memory("rescue") or tmp_path / "rescue")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def later_boot(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it when the machine is to have booted."""
    return lambda: monkeypatch.setattr(position, "_boot_id", bytes(range(16)))


def cut_short(bench: Bench, recorder: power.Recorder, most: int) -> Iterator[str]:
    """Leave one disk after the other that the power cut may leave, by dice; what it is."""
    bench.fresh()
    start, dice = power.Disk.of(str(bench.root)), random.Random(SEED)
    ended = children.run(bench.session(recorder))
    assert ended.said[:1] == [0], ended.trace
    disks = [(cut.place, *left) for cut in power.cuts(start, ended.said[1]) for left in power.states(cut, 4, dice)]
    for place, which, disk in dice.sample(disks, min(most, len(disks))):
        shutil.rmtree(bench.root)
        disk.write_to(str(bench.root), leave_out=frozenset((b"run",)))
        yield f"power cut before step {place} of {len(ended.said[1])}, {which} (seed {SEED})"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_whose_power_is_cut_is_run_again_and_comes_to_the_same_end(
    prepared: tuple[Path, str], memory: Path, tool: str, capsys: pytest.CaptureFixture[str], later_boot: Callable[[], None]
) -> None:
    bench = Bench(prepared, memory, tool, capsys)
    bench.fresh()
    assert children.run(bench.session(seams.Watcher())).said[:1] == [0]
    wanted = bench.end()
    for where in cut_short(bench, power.Recorder(), DISKS):
        later_boot()
        if tool == "journal import":
            again = children.run(bench.session(seams.Watcher()), seed=2)
            assert again.status == 0, f"{where}: {again.trace}"
        assert bench.end() == wanted, where


def test_control_a_journal_that_is_put_in_place_without_a_flush_is_caught(
    prepared: tuple[Path, str], memory: Path, capsys: pytest.CaptureFixture[str], later_boot: Callable[[], None]
) -> None:
    bench = Bench(prepared, memory, "journal salvage", capsys)
    bench.fresh()
    assert children.run(bench.session(seams.Watcher())).said[:1] == [0]
    wanted, caught = bench.end(), 0
    for _ in cut_short(bench, power.Recorder(forget="all"), 12):
        later_boot()
        try:
            caught += bench.end() != wanted
        except AssertionError:
            caught += 1
    assert caught


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_whose_call_fails_says_so_and_comes_to_the_same_end_when_run_again(
    prepared: tuple[Path, str], tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(prepared, tmp_path, tool, capsys)
    bench.fresh()
    calls = children.run(bench.session(seams.Watcher())).said[1]
    wanted = bench.end()
    dice = random.Random(SEED)
    for number, lasting in ERRORS:
        places = [place for place, (call, _) in enumerate(calls) if meets(call, number)]
        for place in dice.sample(places, min(CALLS, len(places))):
            bench.fresh()
            failed = children.run(bench.session(seams.Failer(place, number, lasting)))
            where = f"{errno.errorcode[number]}{' from then on' if lasting else ''} at call {place} of {len(calls)}, {calls[place]}"
            assert (failed.status, failed.said[:1]) in ((0, [0]), (0, [1])), f"{where} (seed {SEED}): {failed.trace}"
            if tool == "journal import":
                assert children.run(bench.session(seams.Watcher()), seed=2).status == 0
            assert bench.end() == wanted, f"{where} (seed {SEED})"
