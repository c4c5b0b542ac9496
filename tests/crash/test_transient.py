"""SIGKILL at each call of a transient container's life, perhaps a boot after it: it is whole or gone, the store is as it was."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.eventstore import position
from layerlog.eventstore.errors import StoreError
from tests.crash import children, judge, seams, world
from tests.crash.conftest import LONG, told
from tests.crash.laboratory import unmount_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
EVERY = 1 if LONG else 9


def life(bench: Bench, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
    """A container that ends with the boot, from its creation to its deletion."""

    def run(say: Callable[[Any], None]) -> None:
        seams.install(watcher)
        try:
            with Store(bench.root, driver=bench.driver, transient=True) as store:
                store.create_container("image", id="passing", name="passing-name", big_data={"k": b"v"})
                world.write_into(store, "passing", "file", "by a program")
                store.set_metadata("passing", "m", "container")
                store.set_big_data("container", "passing", "more", b"m" * 700)
                store.add_names("passing", ["other-name"], "container")
                store.delete_container("passing")
        except StoreError as failed:
            say(str(failed))
        say(watcher.calls)

    return run


def faults(bench: Bench, before: judge.State, boot: bool) -> list[str]:
    """What is wrong with the store, as the next process finds it; a container that is there can be deleted."""

    def look(say: Callable[[Any], None]) -> None:
        if boot:
            position._boot_id = bytes(range(16))
        with Store(bench.root, driver=bench.driver, transient=True) as store:
            if store.exists("passing", "container"):
                if boot:
                    say("it outlived the boot")
                store.delete_container("passing")
        with Store(bench.root, driver=bench.driver) as store:
            if judge.describe(store) != before:
                say(f"shows another state: {judge._difference(judge.describe(store), before)}")
            for one in (*judge.leftovers(store), *judge.checked(store)):
                say(one)
        for one in judge.goes_on(bench.root, bench.driver):
            say(one)

    bench.kinds[bench.kind] += 1
    if boot:
        unmount_below(bench.root)
        shutil.rmtree(os.path.join(bench.root, "run"), ignore_errors=True)
    ended = children.run(look, seed=9)
    return [*ended.said, *([ended.trace] if ended.trace else [])]


def undisturbed(bench: Bench) -> tuple[judge.State, list[tuple[str, int]]]:
    """The state before, and the calls."""
    bench.fresh()

    def look(say: Callable[[Any], None]) -> None:
        with Store(bench.root, driver=bench.driver) as store:
            say(judge.describe(store))

    before = children.run(look).said[0]
    bench.fresh()
    ended = children.run(life(bench, seams.Watcher()))
    assert ended.status == 0, ended.trace
    assert len(ended.said) == 1, ended.said
    return before, ended.said[0]


@pytest.mark.parametrize("boot", [False, True])
def test_a_transient_container_is_whole_or_gone_after_a_kill(bench: Bench, boot: bool) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    before, calls = undisturbed(bench)
    assert len(calls) > 20
    wrong = []
    bench.kind = f"transient, killed{', then a boot' if boot else ''}"
    for place in range(EVERY // 2, len(calls), EVERY):
        bench.fresh()
        assert children.run(life(bench, seams.Killer(place))).status == children.KILLED
        if found := faults(bench, before, boot):
            wrong.append((f"killed at call {place} of {len(calls)}, {calls[place]}", found))
    assert not wrong, told(wrong)


def test_a_deletion_cut_short_in_the_trash_is_finished_after_a_boot_that_took_its_lease_away(bench: Bench) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    before, calls = undisturbed(bench)
    bench.kind, met = "transient, killed, then a boot", 0
    for place in range(len(calls) // 2, len(calls)):
        bench.fresh()
        assert children.run(life(bench, seams.Killer(place))).status == children.KILLED
        own = os.path.join(bench.root, f"{bench.driver}-layerlog")
        if not any(entry.endswith(passing) for passing in os.listdir(os.path.join(own, "volatile")) for entry in trash_of(bench)):
            continue
        met += 1
        shutil.rmtree(os.path.join(own, "leases"))
        assert not (found := faults(bench, before, True)), f"killed at call {place} of {len(calls)}, {calls[place]}: {found}"
    assert met


def trash_of(bench: Bench) -> list[str]:
    """Entries of the trash."""
    with Store(bench.root, driver=bench.driver, read_only=True) as store:
        return store.driver.trash()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_call_of_it_that_fails_leaves_nothing(bench: Bench, number: int) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    before, calls = undisturbed(bench)
    wrong = []
    bench.kind = f"transient, {errno.errorcode[number]}"
    for place in range(EVERY // 2, len(calls), EVERY):
        bench.fresh()
        ended = children.run(life(bench, seams.Failer(place, number)))
        found = [ended.trace] if ended.trace else []
        if found := found + faults(bench, before, False):
            wrong.append((f"{errno.errorcode[number]} at call {place} of {len(calls)}, {calls[place]}", found))
    assert not wrong, told(wrong)


def test_one_whose_maker_was_killed_and_that_somebody_mounts_leaves_nothing_after_a_boot(bench: Bench) -> None:
    if bench.driver == "overlay" and not LONG:
        return

    def make(watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            with Store(bench.root, driver=bench.driver, transient=True) as store:
                store.create_container("image", id="passing", name="passing-name", big_data={"k": b"v"})
            say(watcher.calls)

        return run

    def mount(say: Callable[[Any], None]) -> None:
        with Store(bench.root, driver=bench.driver, transient=True) as store:
            if store.exists("passing", "container"):
                store.mount("passing")
                say("mounted")

    before, _ = undisturbed(bench)
    bench.fresh()
    calls = children.run(make(seams.Watcher())).said[0]
    bench.kind, met, wrong = "transient, killed, then a boot", 0, []
    for place in range(len(calls) // 2, len(calls), 1 if LONG else 2):
        bench.fresh()
        assert children.run(make(seams.Killer(place))).status == children.KILLED
        met += children.run(mount, seed=2).said == ["mounted"]
        if found := faults(bench, before, True):
            wrong.append((f"killed at call {place} of {len(calls)}, {calls[place]}", found))
    assert not wrong, told(wrong)
    assert met
