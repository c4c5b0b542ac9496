"""The decision table of recovery: total, unambiguous, in CRASH.md as in the code, and every row really met."""

from __future__ import annotations

import errno
import io
import itertools
import random
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.decide import settling
from layerlog.decide.settling import QUESTIONS, TABLE, Seen, rows_for
from layerlog.eventstore import position
from layerlog.eventstore.errors import InvalidArchive
from tests.crash import children, power, seams
from tests.crash.conftest import LONG
from tests.crash.laboratory import SEED
from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
INPUTS = ("mounted", "counted", "claimed", "committed", "staged", "superseded", "placed", "kept", "in_trash", "strange")
STRANGE = "5" * 64
PAGE = Path(__file__).resolve().parents[2] / "layerlog" / "CRASH.md"


def every_combination() -> list[Seen]:
    return [Seen(**dict(zip(INPUTS, values, strict=True))) for values in itertools.product((False, True), repeat=len(INPUTS))]


def test_every_combination_finds_exactly_one_row_for_each_question() -> None:
    for seen in every_combination():
        for question in QUESTIONS:
            assert len([row for row in TABLE if row.question == question and row.fits(seen)]) == 1


def test_the_page_shows_the_table_of_the_code() -> None:
    words = {"": "nothing"}
    wanted = [
        (
            row.name,
            ", ".join(f"{'' if yes else 'not '}{what.replace('_', ' ')}" for what, yes in row.when.items()),
            words.get(row.step, row.step),
        )
        for row in TABLE
    ]
    shown = re.findall(r"^\| ([MSOPT]\d) \| ([^|]+?) \| ([^|]+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == wanted


def test_what_is_claimed_is_never_removed() -> None:
    for seen in every_combination():
        if seen.claimed and not seen.superseded:
            assert {row.step for row in rows_for(seen) if row.question == "what is in place"} == {""}


def test_every_row_is_reached_by_a_crash(bench: Bench) -> None:
    faults = []
    for name in ("apply_diff to a filled layer", "delete_layer at once", "delete_layer", "delete and make again", "mount and unmount"):
        faults += list(bench.stops(name, partial=False))
    for seed in range(2, 12):  # dice: until one cuts between the removals of two generations
        if "O3" not in bench.reached:
            faults += list(bench.power_cuts("apply and delete", 6, seed=seed))
    assert not faults, faults[:5]
    mounts = {"M2", "M3"} if bench.driver == "vfs" else set()  # vfs mounts nothing
    elsewhere = {"P6", "P7", "O5"}  # P6, P7: below; O5: only where a note is lost, test_sharing.py
    assert bench.reached == {row.name for row in TABLE} - mounts - elsewhere


def unclaimed(bench: Bench, layer_id: str = STRANGE) -> None:
    """The prepared store with a layer's folder, and a file in it, that no record claims."""
    bench.fresh()
    folder = Path(bench.root, bench.driver, *(["dir"] if bench.driver == "vfs" else []), layer_id)
    (folder / "diff").mkdir(parents=True)
    (folder / "diff" / "theirs").write_text("somebody's")
    subprocess.run(["sync", "-f", bench.root], check=True)


def wrong_with_what_is_unclaimed(bench: Bench, booted: bool, of: str = STRANGE) -> tuple[list[str], set[str]]:
    """After the next open and, once more, a gc: it must be in lost+found; and what recovery did."""

    def look(say: Callable[[Any], None]) -> None:
        if booted:
            position._boot_id = bytes(range(16))
        with Store(bench.root, driver=bench.driver) as store:
            say({step for layer_id, steps in store.recovered if layer_id == of for step in steps})
            store.gc()

    ended = children.run(look, seed=3)
    files = [path.read_text() for path in Path(bench.root, bench.driver, "lost+found").rglob("theirs")]
    return ([] if files == ["somebody's"] else [f"{files} {ended.trace}"]), ended.said[0] if ended.said else set()


def test_what_gc_comes_upon_is_moved_and_never_removed_wherever_it_is_killed_or_cut_off(bench: Bench) -> None:
    unclaimed(bench)
    calls = children.run(gc_of(bench, seams.Watcher())).said[0]
    faults, met = [], set()
    for place in range(len(calls)):
        unclaimed(bench)
        assert children.run(gc_of(bench, seams.Killer(place))).status == children.KILLED
        found, steps = wrong_with_what_is_unclaimed(bench, booted=False)
        faults += [f"killed at call {place}, {calls[place]}: {one}" for one in found]
        met |= steps
    unclaimed(bench)
    start = power.Disk.of(bench.root)
    trace, dice = children.run(gc_of(bench, power.Recorder())).said[1], random.Random(SEED)
    for cut in power.cuts(start, trace):
        for which, disk in power.states(cut, 4, dice):
            bench.clear()
            disk.write_to(bench.root, leave_out=frozenset((b"run",)))
            found, steps = wrong_with_what_is_unclaimed(bench, booted=True)
            faults += [f"power cut before step {cut.place}, {which}: {one}" for one in found]
            met |= steps
    assert not faults, faults[:5]
    assert met == {settling.LOSE}


def gc_of(bench: Bench, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
    def run(say: Callable[[Any], None]) -> None:
        seams.install(watcher)
        with Store(bench.root, driver=bench.driver) as store:
            store.gc()
        say(watcher.calls)
        say(watcher.trace if isinstance(watcher, power.Recorder) else [])

    return run


@pytest.mark.parametrize("archive", [tar({"ours": b"ours"}), b"no archive" * 100], ids=["good", "bad"])
def test_an_import_under_the_id_of_what_no_record_claims_removes_nothing_wherever_it_is_killed(bench: Bench, archive: bytes) -> None:
    unclaimed(bench)
    calls = children.run(import_over(bench, archive, seams.Watcher())).said[0]
    wrong, _ = wrong_with_what_is_unclaimed(bench, booted=False)
    faults = [f"undisturbed: {one}" for one in wrong]
    for place in range(0, len(calls), 1 if LONG else 3):
        unclaimed(bench)
        assert children.run(import_over(bench, archive, seams.Killer(place))).status == children.KILLED
        wrong, _ = wrong_with_what_is_unclaimed(bench, booted=False)
        faults += [f"killed at call {place}, {calls[place]}: {one}" for one in wrong]
    assert not faults, faults[:5]


def import_over(bench: Bench, archive: bytes, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
    def run(say: Callable[[Any], None]) -> None:
        seams.install(watcher)
        with Store(bench.root, driver=bench.driver) as store, suppress(InvalidArchive):
            store.import_layer(io.BytesIO(archive), id=STRANGE)
        say(watcher.calls)

    return run


@pytest.mark.parametrize("gone", ["thrown", "thrown-empty"])  # of the second: a folder may be its own as long as no lease says more
def test_what_no_record_claims_is_not_removed_by_a_restore_in_its_place_wherever_it_is_killed(bench: Bench, gone: str) -> None:
    unclaimed(bench, gone)
    calls = children.run(restore_over(bench, gone, seams.Watcher())).said[0]
    faults, _ = wrong_with_what_is_unclaimed(bench, booted=False, of=gone)
    with Store(bench.root, driver=bench.driver) as store:
        came_back = Path(store.mount(gone))
        assert not (came_back / "theirs").exists()
        assert (came_back / "srv" / "page").exists() == (gone == "thrown")
        store.unmount(gone)
    for place in range(0, len(calls) if gone == "thrown" else 0, 1 if LONG else 3):
        unclaimed(bench, gone)
        assert children.run(restore_over(bench, gone, seams.Killer(place))).status == children.KILLED
        wrong, _ = wrong_with_what_is_unclaimed(bench, booted=False, of=gone)
        faults += [f"killed at call {place}, {calls[place]}: {one}" for one in wrong]
    assert not faults, faults[:5]


def restore_over(bench: Bench, gone: str, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
    def run(say: Callable[[Any], None]) -> None:
        seams.install(watcher)
        with Store(bench.root, driver=bench.driver) as store:
            store.restore(gone, "layer")
        say(watcher.calls)

    return run


@pytest.mark.parametrize("leased", [False, True], ids=["by nobody", "by one who died before noting it"])
def test_a_boot_does_not_take_what_somebody_put_in_the_place_of_a_deleted_layer_for_that_layer(bench: Bench, leased: bool) -> None:
    unclaimed(bench, "thrown")
    if leased:
        leases = Path(bench.root, f"{bench.driver}-layerlog", "leases")
        leases.mkdir(exist_ok=True)
        (leases / "thrown").touch()
    wrong, steps = wrong_with_what_is_unclaimed(bench, booted=not leased, of="thrown")
    assert not wrong
    assert steps == {settling.LOSE}


def test_a_store_opens_also_where_a_full_disk_has_no_room_for_lost_and_found(bench: Bench) -> None:
    unclaimed(bench)
    leases = Path(bench.root, f"{bench.driver}-layerlog", "leases")
    leases.mkdir(exist_ok=True)
    (leases / STRANGE).touch()  # of one who died before noting what it was at

    def look(say: Callable[[Any], None]) -> None:
        seams.install(seams.Failer(0, errno.ENOSPC, lasting=True))
        with Store(bench.root, driver=bench.driver) as store:
            say(store.recovered)

    ended = children.run(look)
    assert ended.said == [[]], ended.trace
    assert (leases / STRANGE).exists()  # the next sees to it
    wrong, steps = wrong_with_what_is_unclaimed(bench, booted=False)
    assert not wrong
    assert steps == {settling.LOSE}
