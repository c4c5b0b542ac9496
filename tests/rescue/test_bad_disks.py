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
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.eventstore import position
from tests.crash import children, power, seams
from tests.crash.conftest import in_memory
from tests.crash.laboratory import meets
from tests.rescue import world
from tests.rescue.test_migrating import looked_at
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


def cut_short(bench: Bench | Migration, recorder: power.Recorder, most: int) -> Iterator[str]:
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


def failing(calls: list[tuple[str, int]]) -> Iterator[tuple[int, bool, int]]:
    """Which error, whether it lasts, and at which call: a sample by dice."""
    dice = random.Random(SEED)
    for number, lasting in ERRORS:
        places = [place for place, (call, _) in enumerate(calls) if meets(call, number)]
        for place in dice.sample(places, min(CALLS, len(places))):
            yield number, lasting, place


def named(number: int, lasting: bool, place: int, calls: list[tuple[str, int]]) -> str:
    """One of these in words."""
    return f"{errno.errorcode[number]}{' from then on' if lasting else ''} at call {place} of {len(calls)}, {calls[place]} (seed {SEED})"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_whose_power_is_cut_is_run_again_and_comes_to_the_same_end(
    prepared: tuple[Path, str], memory: Path, tool: str, capsys: pytest.CaptureFixture[str], later_boot: Callable[[], None]
) -> None:
    bench = Bench(prepared, memory, tool, capsys)
    _, wanted = bench.undisturbed()
    for where in cut_short(bench, power.Recorder(), DISKS):
        later_boot()
        if tool == "journal import":
            again = children.run(bench.session(seams.Watcher()), seed=2)
            assert again.status == 0, f"{where}: {again.trace}"
        assert bench.end() == wanted, where


class Migration:
    """A store that moves to another driver, in a process of its own."""

    def __init__(self, folder: Path, old: str, new: str) -> None:
        world.make(folder / "healthy", old)
        self.healthy, self.root, self.old, self.new = folder / "healthy" / "store", folder / "store", old, new
        self.shown = looked_at(self.healthy)

    def fresh(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        world.copy(self.healthy, self.root)

    def session(self, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            say(main(["layerlog", "--graph", str(self.root), "migrate", "--to", self.new, "--yes"]))
            say(watcher.trace if isinstance(watcher, power.Recorder) else watcher.calls)

        return run

    def wrong(self) -> list[str]:
        """What another process finds: everything, in one of the two drivers, and nothing of the other."""
        with Store(self.root) as store:
            other = self.old if store.driver_name == self.new else self.new
        found = looked_at(self.root)
        left = sorted(name for name in os.listdir(self.root) if name.startswith(other))
        return [
            f"{key}: {self.shown.get(key)} became {found.get(key)}"
            for key in {*self.shown, *found}
            if self.shown.get(key) != found.get(key)
        ] + left


WAYS = [("vfs", "overlay"), ("overlay", "vfs")]


@pytest.mark.root
@pytest.mark.parametrize(("old", "new"), WAYS)
def test_a_migration_whose_power_is_cut_goes_on_or_back(memory: Path, old: str, new: str, later_boot: Callable[[], None]) -> None:
    migration = Migration(memory, old, new)
    for where in cut_short(migration, power.Recorder(), DISKS):
        later_boot()
        assert migration.wrong() == [], where


@pytest.mark.root
@pytest.mark.parametrize(("old", "new"), WAYS)
def test_a_migration_whose_call_fails_goes_on_or_back(tmp_path: Path, old: str, new: str) -> None:
    migration = Migration(tmp_path, old, new)
    migration.fresh()
    calls = children.run(migration.session(seams.Watcher())).said[1]
    for number, lasting, place in failing(calls):
        migration.fresh()
        failed = children.run(migration.session(seams.Failer(place, number, lasting)))
        where = named(number, lasting, place, calls)
        assert (failed.status, failed.said[:1]) in ((0, [0]), (0, [1])), f"{where}: {failed.trace}"
        assert migration.wrong() == [], where


def test_control_a_journal_that_is_put_in_place_without_a_flush_is_caught(
    prepared: tuple[Path, str], memory: Path, capsys: pytest.CaptureFixture[str], later_boot: Callable[[], None]
) -> None:
    bench = Bench(prepared, memory, "journal salvage", capsys)
    (_, wanted), caught = bench.undisturbed(), 0
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
    calls, wanted = bench.undisturbed()
    for number, lasting, place in failing(calls):
        bench.fresh()
        failed = children.run(bench.session(seams.Failer(place, number, lasting)))
        where = named(number, lasting, place, calls)
        assert (failed.status, failed.said[:1]) in ((0, [0]), (0, [1])), f"{where}: {failed.trace}"
        if tool == "journal import":
            assert children.run(bench.session(seams.Watcher()), seed=2).status == 0
        assert bench.end() == wanted, where
