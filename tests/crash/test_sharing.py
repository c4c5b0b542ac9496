"""Somebody died between the commit of a layer's next contents and their swap: others, who share its lease, never see those before."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store, run_state, taking_over
from layerlog.eventstore import ofd, position
from layerlog.eventstore.errors import InUse
from layerlog.mending import mend
from layerlog.rescuing import plan_salvage
from tests.crash import children, judge, seams, world
from tests.crash.deciding import rows_met
from tests.crash.judge import Expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.eventstore.locks import Lease
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
BEFORE, AFTER = {"srv", "srv/page"}, {"etc", "etc/group", "srv", "srv/page", "var", "var/data"}


def die_over_a_swap(bench: Bench, half: bool = False) -> None:
    """Another process applies a diff and is killed when it is committed: before the swap, or *half*-way through it."""

    def run(say: Callable[[Any], None]) -> None:
        store = Store(bench.root, driver=bench.driver)
        driver: Any = store.driver
        move = driver._move

        def last_move(old: str, new: str) -> None:
            move(old, new)
            seams.die()

        if half:
            driver._move = last_move
        else:
            driver.swap = lambda layer_id: seams.die()
        store.apply_diff("other", io.BytesIO(world.MIDDLE))

    assert children.run(run).status == children.KILLED


def held(store: Store) -> set[str]:
    """Names in the layer's folder, without the whiteout of overlay's or vfs' own making."""
    return {path for path in judge.tree(store.driver.path("other")) if ".wh." not in path and path != "etc/passwd"}


def wrong(bench: Bench) -> list[str]:
    """What is wrong with the store as the next boot finds it."""

    def look(say: Callable[[Any], None]) -> None:
        position._boot_id = bytes(range(16))
        with Store(bench.root, driver=bench.driver) as store:
            say([*judge.leftovers(store), *judge.contents(store, Expected([], {})), *judge.checked(store)])
            say(held(store))

    ended = children.run(look)
    assert not ended.trace, ended.trace
    faults, found = ended.said
    return [*faults, *([] if found == AFTER else [f"holds {sorted(found)}"])]


def test_who_shares_the_lease_of_a_dead_waits_until_nobody_else_looks_at_it_and_settles_it_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one has it shared, too, and lets go when it must: both got it, and both worked on the contents before."""
    bench.fresh()
    with Store(bench.root, driver=bench.driver) as store:
        die_over_a_swap(bench)
        other = [store.leases.take("other", shared=True)]
        lock = ofd.lock

        def let_go_first(fd: int, *, shared: bool = False, wait: bool = True) -> bool:
            if wait and not shared and other:
                other.pop().abandon()
            return lock(fd, shared=shared, wait=wait)

        monkeypatch.setattr(ofd, "lock", let_go_first)
        with store.lease("other", "save", shared=True, wait=True):
            assert held(store) == AFTER
            assert other == []
        assert "other" not in store.leases.files()
    assert wrong(bench) == []


@pytest.mark.parametrize("half", [False, True])
def test_all_who_share_the_lease_of_a_dead_at_once_find_what_was_committed(
    bench: Bench, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fresh()
    at_once, inside, real = threading.Barrier(5), threading.Barrier(5), taking_over.taken_over
    waiting = threading.local()

    def met(core: Any, lease: Lease, note: Any, shared: bool, wait: bool) -> Lease:
        if not getattr(waiting, "done", False):
            waiting.done = True
            at_once.wait(60)  # five have it, shared
        return real(core, lease, note, shared, wait)

    found: list[object] = []

    def share(store: Store) -> None:
        try:
            with store.lease("other", "save", shared=True, wait=True):
                found.append(held(store))
                inside.wait(60)  # and at the end again
        except BaseException as error:  # noqa: BLE001 - told below
            found.append(error)

    stores = [Store(bench.root, driver=bench.driver) for _ in range(5)]
    die_over_a_swap(bench, half)
    monkeypatch.setattr(taking_over, "taken_over", met)
    threads = [threading.Thread(target=share, args=(store,), daemon=True) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [AFTER] * 5
    assert "other" not in stores[0].leases.files()
    for store in stores:
        store.close()
    assert wrong(bench) == []


def test_a_store_that_was_open_settles_a_half_made_swap_before_it_looks_for_the_folder(bench: Bench) -> None:
    """It called the layer damaged: its folder was missing."""
    bench.fresh()
    with Store(bench.root, driver=bench.driver) as store:
        die_over_a_swap(bench, half=True)
        top = store.mount("other", read_only=True)
        assert os.path.isfile(os.path.join(top, "var", "data"))
        store.unmount("other")
    assert wrong(bench) == []


def sharing(bench: Bench, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
    """In a child: a store that is open while another one's process dies, and then wants to share its lease."""

    def run(say: Callable[[Any], None]) -> None:
        with Store(bench.root, driver=bench.driver) as store:
            die_over_a_swap(bench)
            seams.install(watcher)
            with store.lease("other", "save", shared=True, wait=True):
                say(held(store) == AFTER)
        say(watcher.calls)

    return run


def test_who_settles_what_it_wants_to_share_may_be_killed_at_any_call(bench: Bench) -> None:
    bench.fresh()
    fine, calls = children.run(sharing(bench, seams.Watcher())).said
    assert fine
    bench.kind = "killed"
    for place in range(len(calls)):
        bench.fresh()
        ended = children.run(sharing(bench, seams.Killer(place)))
        assert ended.status == children.KILLED, ended.trace
        bench.kinds[bench.kind] += 1
        assert (ended.said, wrong(bench)) in (([True], []), ([], [])), f"killed at call {place}, {calls[place]}"


def test_a_sharer_that_died_is_no_reason_to_wait_for_those_who_live(bench: Bench) -> None:
    bench.fresh()
    with Store(bench.root, driver=bench.driver) as store, store.lease("other", "save", shared=True):

        def run(say: Callable[[Any], None]) -> None:
            theirs = Store(bench.root, driver=bench.driver)
            with theirs.lease("other", "save", shared=True):
                seams.die()

        assert children.run(run).status == children.KILLED
        with store.lease("other", "save", shared=True):
            assert held(store) == BEFORE
        with Store(bench.root, driver=bench.driver) as another, another.lease("other", "save", shared=True):
            assert held(another) == BEFORE
    with Store(bench.root, driver=bench.driver) as store:
        assert judge.leftovers(store) == []


def test_what_a_dead_one_left_while_the_journal_has_a_gap_waits_for_its_salvage(bench: Bench) -> None:
    """It was forgotten: what was committed then counted as never committed."""
    bench.fresh()
    die_over_a_swap(bench)
    segment = next(Path(bench.root, f"{bench.driver}-layerlog", "journal").glob("*.segment"))
    data = bytearray(segment.read_bytes())
    there = data.index(b"thrown-empty")
    data[there : there + 12] = os.urandom(12)
    segment.write_bytes(data)
    with Store(bench.root, driver=bench.driver) as store:
        for shared in (False, True):
            with pytest.raises(InUse, match="salvage"), store.lease("other", "work", shared=shared):
                pass
        with pytest.raises(InUse, match="salvage"):
            store.apply_diff("other", io.BytesIO(world.OTHER))
        with store.lease("middle", "work"):
            assert store.leases.dead_notes()["other"]["generation"] == 1
    mend(plan_salvage(bench.root, driver=bench.driver))
    assert settled_after_a_boot(bench)[0] == AFTER


# --- without the note


def settled_after_a_boot(bench: Bench) -> tuple[set[str], set[str]]:
    """What the layer holds after the next boot, and the rows that recovery used."""

    def look(say: Callable[[Any], None]) -> None:
        position._boot_id = bytes(range(16))
        met = rows_met()
        with Store(bench.root, driver=bench.driver) as store:
            say(held(store))
            say(met)
            say(judge.leftovers(store))

    ended = children.run(look)
    assert not ended.trace, ended.trace
    found, met, left = ended.said
    assert left == []
    return found, met


def test_a_swap_that_was_begun_is_finished_also_where_the_note_is_lost(bench: Bench) -> None:
    """That the contents before left their place says that those after them are committed."""
    bench.fresh()
    die_over_a_swap(bench, half=True)
    shutil.rmtree(os.path.join(bench.root, f"{bench.driver}-layerlog", "leases"))
    found, met = settled_after_a_boot(bench)
    assert found == AFTER
    assert {"S2", "O4"} <= met


def test_contents_that_were_put_aside_come_back_where_those_after_them_are_gone(bench: Bench) -> None:
    """As a store is left that lost the note, and was opened by a version that threw away what was staged."""
    bench.fresh()
    die_over_a_swap(bench, half=True)
    shutil.rmtree(os.path.join(bench.root, f"{bench.driver}-layerlog", "leases"))
    with Store(bench.root, driver=bench.driver, read_only=True) as store:
        home = store.driver.home
    shutil.rmtree(os.path.join(home, "staging", "other"))
    found, met = settled_after_a_boot(bench)
    assert found == BEFORE
    assert "O5" in met


@pytest.mark.parametrize("shared", [False, True])
def test_a_dead_one_that_only_read_a_layer_takes_no_mount_of_another_run_root_away(bench: Bench, tmp_path: Path, shared: bool) -> None:
    """Only the run journal of one's own run root is asked who counts a mount."""
    if bench.driver != "overlay":
        return
    bench.fresh()
    with Store(bench.root, driver=bench.driver, run_root=tmp_path / "theirs") as theirs:
        top = theirs.mount("box")
        layer_id = theirs.container("box").layer

        def run(say: Callable[[Any], None]) -> None:
            store = Store(bench.root, driver=bench.driver)
            with store.lease(layer_id, "save", shared=shared):
                seams.die()

        assert children.run(run).status == children.KILLED
        with Store(bench.root, driver=bench.driver) as store:
            assert layer_id not in store.leases.files()
            assert os.path.ismount(top)
        assert theirs.unmount("box")


@pytest.mark.parametrize("first", [False, True])
def test_who_mounts_is_known_for_it_also_beside_others_who_share_the_layer(bench: Bench, first: bool) -> None:
    if bench.driver != "overlay":
        return
    bench.fresh()
    with Store(bench.root, driver=bench.driver) as store:
        layer_id = store.container("box").layer
        top = store.driver.path(layer_id) + "/merged"

        def run(say: Callable[[Any], None]) -> None:
            theirs = Store(bench.root, driver=bench.driver)
            stack = contextlib.ExitStack()
            if not first:
                stack.enter_context(theirs.lease(layer_id, "save", shared=True))
            vars(run_state)["commit"] = lambda *_: seams.die()
            theirs.mount("box")

        assert children.run(run).status == children.KILLED
        assert os.path.ismount(top)
    with Store(bench.root, driver=bench.driver):
        assert not os.path.ismount(top)
