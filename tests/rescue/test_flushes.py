"""What the tools for the worst day call done stands on flushed names, also on those made by one that was killed before flushing them."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.drivers import syscalls
from layerlog.eventstore import position
from tests.crash import children, handed_on, power, seams
from tests.crash.conftest import in_memory
from tests.crash.flushed import inodes, taken, unflushed
from tests.rescue import world
from tests.rescue.test_bad_disks import memory
from tests.rescue.test_stops import prepared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["in_memory", "memory", "prepared"]


def run_of(root: Path, words: list[str], watcher: seams.Watcher | None = None) -> Callable[[Callable[[Any], None]], None]:
    """A tool in a process of its own: what it was killed by, or ended with, and its trace."""

    def run(say: Callable[[Any], None]) -> None:
        made = watcher or power.Recorder()
        if isinstance(made, handed_on.Killed):
            made.say = say
        seams.install(made)
        say(main(["layerlog", "--graph", str(root), *words]))
        say(made.trace if isinstance(made, power.Recorder) else made.calls)

    return run


def after_each_folder(fresh: Callable[[], None], root: Path, words: list[str], precious: Callable[[], set[int]] = set) -> list[str]:
    """Kill a tool after each folder that it makes, before it flushes the name, and run it again: what that leaves unflushed.

    And when in it a power cut would take files with the inode numbers *precious*.
    """
    fresh()
    calls = children.run(run_of(root, words, seams.Watcher())).said[-1]
    places = [place + 1 for place, (name, _) in enumerate(calls) if name == "mkdir"]
    assert places
    found = []
    for place in places:
        fresh()
        start, files = power.Disk.of(str(root)), precious()
        dead = children.run(run_of(root, words, handed_on.Killed(place, print)))
        assert dead.status == children.KILLED, dead.trace
        again = children.run(run_of(root, words), seed=2)
        assert again.said[:1] == [0], again.trace
        trace = [*dead.said[-1], *again.said[1]]
        found += [f"killed at call {place}: {one}" for one in (*unflushed(start, trace, root), *taken(start, trace, files))]
    return found


@pytest.mark.parametrize("tool", ["journal import", "rebuild"])
def test_folders_that_a_killed_run_made_are_flushed_by_the_next(prepared: tuple[Path, str], memory: Path, tool: str) -> None:
    healthy, driver = prepared
    root = memory / "store"

    def fresh() -> None:
        shutil.rmtree(root, ignore_errors=True)
        if tool == "rebuild":
            world.copy(healthy / "store", root)
            shutil.rmtree(root / f"{driver}-layerlog")
        else:
            root.mkdir()

    words = ["rebuild", "--yes"] if tool == "rebuild" else ["journal", "import", str(healthy / "export"), "--yes"]
    assert after_each_folder(fresh, root, words) == []


def test_what_a_boot_ended_is_ended_also_where_the_journal_was_mended_first(
    prepared: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy, driver = prepared
    world.copy(healthy / "store", tmp_path / "store")
    with Store(tmp_path / "store") as store:
        box = store.create_container("built:latest", flags={"Volatile": True})
    world.record_header(world.Broken(tmp_path, driver))
    monkeypatch.setattr(position, "_boot_id", bytes(range(16)))
    assert main(["layerlog", "--graph", str(tmp_path / "store"), "journal", "salvage", "--yes"]) == 0
    with Store(tmp_path / "store") as store:
        assert box.id not in {one.id for one in store.containers()}


def test_what_says_that_the_old_journal_was_cut_off_is_flushed_before_that_goes(prepared: tuple[Path, str], memory: Path) -> None:
    """Else a power cut could leave the note against the new journal, all of which would then count as damaged."""
    healthy, driver = prepared
    world.copy(healthy / "store", memory / "store")
    world.last_segment_gone(world.Broken(memory, driver))
    Store(memory / "store").close()
    assert (memory / "store" / f"{driver}-layerlog" / "quarantine" / "cut").exists()
    ended = children.run(run_of(memory / "store", ["journal", "salvage", "--yes"]))
    assert ended.said[:1] == [0], ended.trace
    trace = ended.said[1]
    renames = {one[4]: place for place, one in enumerate(trace) if one[0] == "rename"}
    noted, kept = renames[b"cut"], next(place for name, place in renames.items() if name.startswith(b"journal-"))
    assert any(power.is_flushed(trace[noted], one[1]) for one in trace[noted:kept] if one[0] == "sync")


def test_what_no_record_claims_goes_to_folders_whose_names_are_flushed(prepared: tuple[Path, str], memory: Path) -> None:
    healthy, driver = prepared
    root = memory / "store"
    own = root / f"{driver}-containers" / ("5" * 64) / "userdata"

    def fresh() -> None:
        shutil.rmtree(root, ignore_errors=True)
        world.copy(healthy / "store", root)
        broken = world.Broken(memory, driver)
        for damage in (world.strange_blob, world.trash_strange, world.load_record):
            damage(broken)
        (root / driver / "trash" / "of-nobody" / "file").write_text("somebody's")
        own.mkdir(parents=True)
        (own / "file").write_text("somebody's")

    def precious() -> set[int]:
        return inodes(own, root / driver / "trash" / "of-nobody", root / f"{driver}-layerlog" / "blobs" / "sha256" / "ab")

    assert after_each_folder(fresh, root, ["journal", "salvage", "--yes"], precious) == []


def test_a_damaged_data_item_goes_to_a_folder_whose_name_is_flushed(prepared: tuple[Path, str], memory: Path) -> None:
    healthy, driver = prepared
    root = memory / "store"
    blobs: list[Path] = []

    def fresh() -> None:
        shutil.rmtree(root, ignore_errors=True)
        world.copy(healthy / "store", root)
        broken = world.Broken(memory, driver)
        world.tar_split_rotten(broken)
        world.manifest_rotten(broken)
        blobs[:] = [broken.blob(broken.base.row["contents"]["tar_split"]["blob"]), broken.blob(broken.image.big_data["manifest"][0])]

    assert after_each_folder(fresh, root, ["repair", "--from", str(healthy / "oci"), "--yes"], lambda: inodes(*blobs)) == []


def test_journals_change_places_by_flushed_renames_where_they_cannot_at_once(prepared: tuple[Path, str], memory: Path) -> None:
    healthy, driver = prepared
    root = memory / "store"
    world.copy(healthy / "store", root)
    world.load_record(world.Broken(memory, driver))
    start, files = power.Disk.of(str(root)), inodes(root / f"{driver}-layerlog" / "journal")

    def run(say: Callable[[Any], None]) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        syscalls.renameat2 = refuse  # type: ignore[assignment]
        recorder = power.Recorder()
        run_of(root, ["journal", "salvage", "--yes"], recorder)(say)

    ended = children.run(run)
    assert ended.said[:1] == [0], ended.trace
    assert any(one[0] == "rename" and one[4] == b"journal.old" for one in ended.said[1])
    assert list(taken(start, ended.said[1], files)) == []
