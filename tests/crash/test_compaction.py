"""SIGKILL at every call of a compaction and of its recovery, and the power cut between them: the same state, past and present.

Whatever happened, the present is as it was; the past is there, or (dropped) refused by name; the journal verifies
from end to end; nothing is left over; and the next compaction comes to its end.
"""

from __future__ import annotations

import collections
import errno
import os
import random
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.eventstore import compaction, position
from layerlog.eventstore.archive import HistoryCompacted
from tests.crash import children, handed_on, power, seams
from tests.crash.conftest import LONG, MEMORY, told
from tests.crash.flushed import unflushed
from tests.crash.laboratory import copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.crash
PAST = (0, 1, 7, 40, 64, 65)
EVERY = 1 if LONG else 3


class CompactionBench:
    """A store of three small segments, what it shows, and a folder to break copies of it in."""

    def __init__(self, folder: str) -> None:
        self.prepared, self.root, self.crashed = (os.path.join(folder, name) for name in ("prepared", "root", "crashed"))
        self.driver = "vfs"
        self.kinds: collections.Counter[str] = collections.Counter()
        with Store(self.prepared, driver="vfs", retention=0) as store:
            for number in range(80):
                layer = store.create_layer(names=[f"layer-{number}"])
                if number % 9 == 0:
                    store.set_metadata(layer.id, "x" * 30_000)
                if number % 5 == 0:
                    store.delete_layer(layer.id)
        with Store(self.prepared, driver="vfs", retention=0) as store:  # closing it frees what was deleted
            assert store.plan_compaction("now").segments
            self.shown = _rows(store)
            self.past = {sequence: _rows(store.at(sequence)) for sequence in PAST}

    def fresh(self, source: str = "") -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        copy(source or self.prepared, self.root)

    def compact(self, watcher: seams.Watcher, drop: bool) -> Callable[[Callable[[Any], None]], None]:
        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            with Store(self.root, driver="vfs", retention=0) as store:
                watcher.acknowledge(store.compact("now", drop=drop).sequence)
            say(watcher.trace if isinstance(watcher, power.Recorder) else watcher.calls)

        return run

    def reopen(self, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            Store(self.root, driver="vfs", retention=0).close()
            say(watcher.calls)

        return run

    def faults(self, drop: bool, booted: bool = False, kind: str = "compaction killed") -> list[str]:
        """What is wrong with ``root``, as another process finds it."""
        self.kinds[kind] += 1

        def look(say: Callable[[Any], None]) -> None:
            if booted:
                position._boot_id = bytes(range(16))
            for again in (False, True):
                with Store(self.root, driver="vfs", retention=0) as store:
                    if again:
                        store.compact("now", drop=drop)
                        if not drop and store.begins():
                            say("the archive is not read")
                    say(list(self._wrong(store, drop)))

        ended = children.run(look, seed=5)
        return [ended.trace] if ended.trace else [one for said in ended.said for one in ([said] if isinstance(said, str) else said)]

    def _wrong(self, store: Store, drop: bool) -> Iterator[str]:
        if _rows(store) != self.shown:
            yield "the present is another"
        for sequence, rows in self.past.items():
            try:
                if _rows(store.at(sequence)) != rows:
                    yield f"the state at {sequence} is another"
            except HistoryCompacted:
                if not drop:
                    yield f"the state at {sequence} is gone"
        yield from (f"verify: {one.message}" for one in store.verify() if "torn" not in one.proof and one.grade != "metadata")
        if compaction.leftovers(store.ledger.folder):
            yield "a compaction is left half done"
        yield from (f"left behind: leases/{name}" for name in os.listdir(store.folder("leases")) if name != ".room")


def _rows(view: Any) -> dict[bytes, Any]:
    with view.reading() as rows:
        return {key: value for key, value in rows.scan(b"") if key != b"store\0compacted"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompactionBench]:
    folder = str(tmp_path_factory.mktemp("compaction"))
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 256 << 20:
        folder = os.path.join(MEMORY, f"layerlog-compaction-{os.getpid()}")
        os.makedirs(folder)
    yield CompactionBench(folder)
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


@pytest.mark.parametrize("drop", [False, True])
def test_a_killed_compaction_changes_nothing_or_comes_to_its_end(bench: CompactionBench, drop: bool) -> None:
    bench.fresh()
    calls = children.run(bench.compact(seams.Watcher(), drop)).said[0]
    assert len(calls) > 10
    wrong = []
    for place in range(0, len(calls), EVERY):
        bench.fresh()
        ended = children.run(bench.compact(seams.Killer(place), drop))
        assert ended.status == children.KILLED, ended.trace
        if found := bench.faults(drop):
            wrong.append((f"killed at call {place} of {len(calls)}, {calls[place]}", found))
    assert not wrong, told(wrong)


def test_a_recovery_of_it_that_is_killed_is_finished_by_the_next(bench: CompactionBench) -> None:
    bench.fresh()
    calls = children.run(bench.compact(seams.Watcher(), False)).said[0]
    wrong = []
    for place in range(0, len(calls), 1 if LONG else 9):
        bench.fresh()
        children.run(bench.compact(seams.Killer(place), False))
        shutil.rmtree(bench.crashed, ignore_errors=True)
        copy(bench.root, bench.crashed)
        steps = children.run(bench.reopen(seams.Watcher()), seed=2).said[0]
        for second in range(0, len(steps), EVERY):
            bench.fresh(bench.crashed)
            children.run(bench.reopen(seams.Killer(second)), seed=2)
            if found := bench.faults(False):
                wrong.append((f"killed at call {place}, recovery killed at its call {second} of {len(steps)}", found))
    assert not wrong, told(wrong)


@pytest.mark.parametrize("drop", [False, True])
def test_a_power_cut_changes_nothing_or_lets_it_come_to_its_end(bench: CompactionBench, drop: bool) -> None:
    bench.fresh()
    start, recorder = power.Disk.of(bench.root), power.Recorder()
    ended = children.run(bench.compact(recorder, drop))
    assert ended.status == 0, ended.trace
    dice, wrong = random.Random(1), []
    for number, cut in enumerate(power.cuts(start, ended.said[0])):
        if number % EVERY:
            continue
        for which, disk in power.states(cut, 8 if LONG else 2, dice):
            shutil.rmtree(bench.root, ignore_errors=True)
            disk.write_to(bench.root, leave_out=frozenset((b"run",)))
            if found := bench.faults(drop, booted=True, kind="compaction, a power cut on the model"):
                wrong.append((f"power cut before step {cut.place}, {which}", found))
    assert not wrong, told(wrong)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_compaction_that_the_disk_refuses_says_so_and_leaves_nothing(bench: CompactionBench, number: int) -> None:
    bench.fresh()
    calls = children.run(bench.compact(seams.Watcher(), False)).said[0]
    wrong = []
    for place in range(0, len(calls), EVERY):
        bench.fresh()
        ended = children.run(bench.compact(seams.Failer(place, number), False))
        found = bench.faults(False, kind="compaction, a call failed")
        if ended.status and not re.search(r"\.(DiskError|NoSpace|OutcomeUnknown)\b", ended.trace):
            found.append(ended.trace)
        if found:
            wrong.append((f"{errno.errorcode[number]} at call {place} of {len(calls)}, {calls[place]}", found))
    assert not wrong, told(wrong)


def traced(bench: CompactionBench, watcher: seams.Watcher, do: Callable[[Store], object]) -> Callable[[Callable[[Any], None]], None]:
    """One change of the store in a process of its own, and its trace or calls, which one that is killed tells, too."""

    def run(say: Callable[[Any], None]) -> None:
        if isinstance(watcher, handed_on.Killed):
            watcher.say = say
        seams.install(watcher)
        with Store(bench.root, driver="vfs", retention=0) as store:
            do(store)
        say(watcher.trace if isinstance(watcher, power.Recorder) else watcher.calls)

    return run


def test_the_folder_of_an_archive_that_a_killed_compaction_made_is_flushed_by_who_goes_on(bench: CompactionBench) -> None:
    def compact(store: Store) -> None:
        store.compact("now", archive=os.path.join(bench.root, "elsewhere", "archive"))

    bench.fresh()
    calls = children.run(traced(bench, seams.Watcher(), compact)).said[0]
    places = [place + 1 for place, (name, _) in enumerate(calls) if name == "mkdir"]
    assert len(places) >= 2
    found = []
    for place in places:
        bench.fresh()
        start = power.Disk.of(bench.root)
        dead = children.run(traced(bench, handed_on.Killed(place, print), compact))
        ended = children.run(traced(bench, power.Recorder(), lambda store: None), seed=2)
        assert (dead.status, ended.status) == (children.KILLED, 0), ended.trace
        found += [f"killed at call {place}: {one}" for one in unflushed(start, [*dead.said[-1], *ended.said[0]], Path(bench.root))]
    assert not found


def test_the_plan_of_a_redaction_that_was_killed_at_its_end_does_not_come_back_after_a_compaction(bench: CompactionBench) -> None:
    """It would name a commit that was folded away, and no open would succeed."""
    plan = os.path.join(bench.root, "vfs-layerlog", "redaction")
    bench.fresh()
    calls = children.run(traced(bench, seams.Watcher(), lambda store: store.redact(3))).said[0]
    for place in range(len(calls) - 1, 0, -1):
        bench.fresh()
        start = power.Disk.of(bench.root)
        dead = children.run(traced(bench, handed_on.Killed(place, print), lambda store: store.redact(3)))
        if dead.status == children.KILLED and dead.said[-1][-1][::2] == ("gone", b"redaction"):
            break
    assert not os.path.exists(plan)
    ended = children.run(traced(bench, power.Recorder(), lambda store: store.compact("now", drop=True)), seed=2)
    assert ended.status == 0, ended.trace
    *_, cut = power.cuts(start, [*dead.said[-1], *ended.said[0]])
    assert not [one for one in cut.pending if one[0] == "gone" and one[2] == b"redaction"]
