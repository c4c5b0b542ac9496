"""SIGKILL at every call of the tools for the worst day: whoever goes on afterwards comes to the same end.

Each tool is killed once at each call that changes files. Then it is run again, or somebody follows what the commands say,
as test_damage does; what is found then is what an undisturbed run of the tool leads to, with nothing lying about that no record
claims. In the long form (``LAYERLOG_CRASH=long``) every call, on every driver; else a sample on vfs.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from tests.crash import children, power, seams
from tests.rescue import world
from tests.rescue.test_damage import follow, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = os.environ.get("LAYERLOG_CRASH") == "long"
DRIVERS = ("vfs", "overlay") if LONG and os.geteuid() == 0 else ("vfs",)
KILLS = 7

TOOLS: dict[str, tuple[list[world.Damage], str]] = {
    "repair": ([world.base_gone, world.file_changed, world.manifest_gone, world.tar_split_rotten], "repair --from {oci} --yes"),
    "repair --give-up": ([world.note_gone, world.mine_gone, world.box_gone], "repair --give-up --yes"),
    "journal salvage": ([world.load_record, world.delete_record, world.strange_blob, world.layer_unclaimed], "journal salvage --yes"),
    "journal import": ([world.journal_gone, world.strange_blob], "journal import {export} --yes"),
    "rebuild": ([world.journal_gone, world.checkpoints_gone, world.staging_litter], "rebuild --yes"),
    "recover": (
        [world.lease_dead, world.checkpoint, world.genesis_copy, world.trash_gone, world.trash_strange, world.staging_litter],
        "recover",
    ),
}


@pytest.fixture(scope="module", params=DRIVERS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the healthy store and an export of its journal, and its driver."""
    folder = tmp_path_factory.mktemp("stops")
    world.make(folder, request.param)
    assert main(["layerlog", "--graph", str(folder / "store"), "journal", "export", str(folder / "export")]) == 0
    yield folder, request.param
    shutil.rmtree(folder)


class Bench:
    """A damaged store, and what becomes of copies of it."""

    def __init__(self, prepared: tuple[Path, str], folder: Path, tool: str, capsys: pytest.CaptureFixture[str]) -> None:
        healthy, driver = prepared
        damages, words = TOOLS[tool]
        self.damaged, self.root, self.crashed, self.capsys = folder / "damaged" / "store", folder / "store", folder / "crashed", capsys
        self.damaged.parent.mkdir()
        self.words = words.format(oci=healthy / "oci", export=healthy / "export").split()
        self.sources = [healthy / "oci", healthy / "other"] if tool == "repair" else []
        world.copy(healthy / "store", self.damaged)
        broken = world.Broken(self.damaged.parent, driver)
        for damage in damages:
            damage(broken)

    def fresh(self, source: Path | None = None) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        world.copy(source or self.damaged, self.root)

    def session(self, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
        """The tool, in a process of its own."""

        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            say(main(["layerlog", "--graph", str(self.root), *self.words]))
            say(watcher.trace if isinstance(watcher, power.Recorder) else watcher.calls)

        return run

    def undisturbed(self) -> tuple[list[tuple[str, int]], dict[Any, Any]]:
        """The calls of a run that nothing happens to, and what there is in the end."""
        self.fresh()
        ended = children.run(self.session(seams.Watcher()))
        assert (ended.status, ended.said[:1]) == (0, [0]), ended.trace
        return ended.said[1], self.end()

    def end(self) -> dict[Any, Any]:
        """Follow what the commands say; what there is then."""
        follow(self.root, self.sources, self.capsys)
        found = state(self.root)
        with Store(self.root) as store:
            found["trash"] = sorted((one.kind, one.id) for one in store.trash())  # type: ignore[index]
            found["damaged journals"] = journals(self.root)  # type: ignore[index]
        assert [path.name for path in self.root.rglob("mending.new*")] == []
        return found


def journals(root: Path) -> list[str]:
    """What was put into quarantine whole: the first bytes of each journal's segments."""
    return sorted(path.read_bytes()[:8192].hex() for path in root.glob("*-layerlog/quarantine/journal-*/*.segment"))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_killed_and_run_again_comes_to_the_same_end(
    prepared: tuple[Path, str], tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(prepared, tmp_path, tool, capsys)
    calls, wanted = bench.undisturbed()
    every = 1 if LONG else len(calls) // KILLS
    for number, place in enumerate(range(every // 2, len(calls), every)):
        bench.fresh()
        died = children.run(bench.session(seams.Killer(place)))
        assert died.status == children.KILLED, died.trace
        if number % 2 or tool == "journal import":
            again = children.run(bench.session(seams.Watcher()), seed=2)
            assert (again.status, again.said[:1]) in ((0, [0]), (0, [1])), (place, calls[place], again.trace)
        assert bench.end() == wanted, f"killed at call {place} of {len(calls)}, {calls[place]}"


@pytest.mark.parametrize("tool", ["journal salvage", "journal import", "rebuild"] if LONG else ["journal salvage"])
def test_one_that_is_killed_twice_does_so_too(
    prepared: tuple[Path, str], tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(prepared, tmp_path, tool, capsys)
    calls, wanted = bench.undisturbed()
    first, second = (7, 5) if LONG else (len(calls) // 2, len(calls) // 3)
    for place in range(first // 2, len(calls), first):
        bench.fresh()
        children.run(bench.session(seams.Killer(place)))
        shutil.rmtree(bench.crashed, ignore_errors=True)
        world.copy(bench.root, bench.crashed)
        steps = children.run(bench.session(seams.Watcher()), seed=2).said[1]
        for again in range(second // 2, len(steps), second):
            bench.fresh(bench.crashed)
            children.run(bench.session(seams.Killer(again)), seed=2)
            if tool == "journal import":
                children.run(bench.session(seams.Watcher()), seed=3)
            assert bench.end() == wanted, f"killed at call {place} of {len(calls)}, then at {again} of {len(steps)}, {steps[again]}"
