"""What recovery must read of a lease is in its note, whole, before there is anything that depends on it."""

from __future__ import annotations

import errno
import io
import os
import random
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store, change
from layerlog.eventstore import position
from layerlog.eventstore.errors import Conflict
from tests.crash import children, judge, power, seams, world
from tests.crash.conftest import LONG
from tests.crash.judge import Expected
from tests.crash.laboratory import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
TALKATIVE: dict[str, Any] = {"actor": "ci/" + "\N{GRINNING FACE}a" * 3000, "command": "build " + "b" * 5000}
"""Words of a caller that are longer than a note."""


def killed_in(bench: Bench, method: str, work: Callable[[Store], object], after: bool = False) -> None:
    """Run *work* in a store of a talkative caller; SIGKILL when the driver is to do *method*, or right *after* it."""

    def run(say: Callable[[Any], None]) -> None:
        store = Store(bench.root, driver=bench.driver, **TALKATIVE)
        real = getattr(store.driver, method)

        def deadly(*arguments: Any) -> None:
            if after:
                real(*arguments)
            seams.die()

        setattr(store.driver, method, deadly)
        work(store)

    assert children.run(run).status == children.KILLED


def wrong(bench: Bench) -> list[str]:
    """What is wrong with the store as the next process finds it."""
    with Store(bench.root, driver=bench.driver) as store:
        return [*judge.leftovers(store), *judge.contents(store, Expected([], {})), *judge.checked(store)] + [
            f"lost+found/{one.name}" for one in Path(store.driver.home, "lost+found").glob("*")
        ]


def test_a_caller_of_many_words_loses_no_generation_that_was_committed(bench: Bench) -> None:
    bench.fresh()
    killed_in(bench, "swap", lambda store: store.apply_diff("other", io.BytesIO(world.MIDDLE)))
    assert wrong(bench) == []
    with Store(bench.root, driver=bench.driver) as store:
        assert "var/data" in judge.tree(store.driver.path("other"))


def test_what_a_caller_of_many_words_placed_and_never_committed_is_removed(bench: Bench) -> None:
    bench.fresh()
    killed_in(bench, "place", lambda store: store.import_layer(io.BytesIO(world.OTHER), id="half"), after=True)
    assert wrong(bench) == []


class Full(seams.Watcher):
    """No room for the note of *lease_id*, *times* times; SIGKILL at the first call after the layer came to its *place*."""

    def __init__(self, place: str, lease_id: str, times: int) -> None:
        super().__init__()
        self.place, self.times = place, times
        self.lease = f"/leases/{lease_id}"

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if os.path.isdir(self.place):
            seams.die()
        if name == "pwrite" and self.times and os.readlink(f"/proc/self/fd/{args[0]}").endswith(self.lease):
            self.times -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)


def importing(bench: Bench, times: int) -> children.Ended:
    """Import a layer on a disk that has no room for the first *times* notes of its lease."""
    bench.fresh()
    with Store(bench.root, driver=bench.driver) as store:
        place = store.driver.path("half")

    def run(say: Callable[[Any], None]) -> None:
        with Store(bench.root, driver=bench.driver) as store:
            seams.install(Full(place, "half", times))
            store.import_layer(io.BytesIO(world.OTHER), id="half")

    return children.run(run)


def test_what_was_begun_on_a_full_disk_and_placed_when_there_was_room_again_is_removed(bench: Bench) -> None:
    assert importing(bench, 1).status == children.KILLED
    assert wrong(bench) == []


def test_nothing_is_placed_while_there_is_no_room_to_note_it(bench: Bench) -> None:
    ended = importing(bench, 99)
    assert ended.status == 1
    assert "DiskError" in ended.trace
    assert "No space left" in ended.trace
    assert wrong(bench) == []


def test_what_a_restore_that_failed_put_back_into_the_trash_is_there_after_a_power_cut(bench: Bench) -> None:
    """Its lease, which told it from a younger layer of the same ID, is gone by then, and for good."""

    def prepare(say: Callable[[Any], None]) -> None:
        with Store(bench.root, driver=bench.driver) as store:
            store.create_image("other", id="of-first", names=["first:1"])
            store.delete_image("of-first")
            store.import_layer(io.BytesIO(world.MIDDLE), id="other")
            store.delete_layer("other")

    def fail(say: Callable[[Any], None]) -> None:
        recorder, commit = power.Recorder(), change.commit
        seams.install(recorder)

        def refused(*asked: Any, **terms: Any) -> Any:
            vars(change)["commit"] = commit
            raise Conflict("somebody else was quicker")

        with Store(bench.root, driver=bench.driver) as store:
            vars(change)["commit"] = refused
            with suppress(Conflict):
                store.restore("first:1")
            store.apply_diff("middle-copy", io.BytesIO(world.BASE))  # flushes the folder of leases
        say(recorder.trace)

    def look(say: Callable[[Any], None]) -> None:
        position._boot_id = bytes(range(16))
        with Store(bench.root, driver=bench.driver) as store:
            say([str(finding) for finding in store.check()])

    bench.fresh()
    children.run(prepare)
    subprocess.run(["sync", "-f", bench.root], check=True)
    start = power.Disk.of(bench.root)
    ended = children.run(fail)
    assert ended.said, ended.trace
    faults, dice = [], random.Random(SEED)
    for cut in power.cuts(start, ended.said[0]):
        for which, disk in power.states(cut, 6, dice):
            if not LONG and dice.randrange(6):
                continue
            bench.clear()
            disk.write_to(bench.root, leave_out=frozenset((b"run",)))
            told = children.run(look)
            faults += [f"before step {cut.place}, {which}: {one}" for one in (told.said[0] if told.said else [told.trace])]
    assert not faults, faults[:5]
