"""Run an operation undisturbed to learn its calls and states; then run it to each of them, and judge what is left."""

from __future__ import annotations

import collections
import errno
import importlib
import os
import random
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from layerlog import Store
from layerlog.eventstore import position
from layerlog.eventstore.errors import NotFound, OutcomeUnknown, StoreError
from layerlog.eventstore.journal import Journal
from tests.crash import children, judge, operations, power, seams, world
from tests.crash.deciding import rows_met
from tests.crash.judge import Expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_USED = (
    "check_files check_trees committing images_in images_out undoing drivers.applying drivers.choose drivers.crc64 drivers.extract "
    "drivers.tarstream drivers.vfs drivers.overlay drivers.overlaymount"
)
for _module in _USED.split():
    importlib.import_module(f"layerlog.{_module}")  # once, and not in every child

SEED = int(os.environ.get("LAYERLOG_CRASH_SEED", "1"))
"""Of the dice, and which of every so many places: others, with another seed."""
WENT_ON = "went on"


class Reference:
    """What an operation does undisturbed: its calls, and what may be seen before, between and after."""

    def __init__(self, calls: list[tuple[str, int]], expected: Expected, start: int) -> None:
        self.calls, self.expected, self.start = calls, expected, start


class Bench:
    """One prepared store of one driver, copied for each state; *folder* should be on a quick file system."""

    def __init__(self, folder: str, driver: str) -> None:
        self.folder, self.driver = folder, driver
        self.prepared = os.path.join(folder, "prepared")
        self.root = os.path.join(folder, "root")
        self.kind = "looked at"
        """Of the states that are being judged: how they came to be."""
        self.kinds: collections.Counter[str] = collections.Counter()
        """How many of each kind were judged."""
        self.reached: set[str] = set()
        """Rows of recovery's decision table that were used."""
        os.makedirs(folder, exist_ok=True)
        world.LAYOUT = os.path.join(folder, "layout")
        world.make_layout(world.LAYOUT)
        ended = children.run(lambda say: world.make_store(self.prepared, driver), seed=7)
        assert ended.status == 0, ended.trace

    @property
    def states(self) -> int:
        """How many were judged."""
        return self.kinds.total()

    def fresh(self, name: str = "") -> str:
        """A copy of the prepared store at ``root``, or an empty folder; whatever was there is unmounted and removed."""
        self.clear()
        if name in operations.BIRTH:
            os.mkdir(self.root)
        else:
            copy(self.prepared, self.root)
        return self.root

    def clear(self) -> None:
        """Unmount and remove ``root``."""
        unmount_below(self.root)
        if os.path.isdir(self.root):
            open_up(self.root)
            shutil.rmtree(self.root)

    def stops_of_recovery(self, name: str, every: int = 1) -> Iterator[tuple[str, list[str]]]:
        """Kill at each *every*-th call, then kill the recovery at each of its calls, then judge."""
        reference = self.reference(name)
        crashed = os.path.join(self.folder, "crashed")

        def reopen(watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
            def run(say: Callable[[Any], None]) -> None:
                seams.install(watcher)
                Store(self.root, driver=self.driver).close()
                say(watcher.calls)

            return run

        for place in range((every // 2 + SEED - 1) % every, len(reference.calls), every):
            self.fresh(name)
            self.kind = "killed, and the recovery killed"
            said = children.run(self.session(name, seams.Killer(place))).said
            shutil.rmtree(crashed, ignore_errors=True)
            copy(self.root, crashed)
            calls = children.run(reopen(seams.Watcher()), seed=2).said[0]
            for second, (call, _) in enumerate(calls):
                self.clear()
                copy(crashed, self.root)
                children.run(reopen(seams.Killer(second)), seed=2)
                if faults := self.judged(reference, said):
                    yield f"{name}: killed at call {place}, recovery killed at its call {second} of {len(calls)}, {call}", faults

    def errors(self, name: str, number: int, lasting: bool = False, every: int = 1) -> Iterator[tuple[str, list[str]]]:
        """Let each *every*-th call that may meet it fail with error *number*; *lasting*: and all later ones, until the operation failed."""
        reference = self.reference(name)
        for place, (call, _) in enumerate(reference.calls):
            if (place - SEED + 1) % every or not meets(call, number):
                continue
            self.fresh(name)
            self.kind = f"{errno.errorcode[number]}{' from then on' if lasting else ''}"
            ended = children.run(self.failing_session(name, seams.Failer(place, number, lasting)))
            where = f"{name}: {errno.errorcode[number]}{' for good' if lasting else ''} at call {place} of {len(reference.calls)}, {call}"
            faults = [f"ended with {ended.status}: {ended.trace[-700:]}"] if ended.status else []
            done, *told = ended.said or [None]
            faults += [one for one in told if isinstance(one, str) and one != WENT_ON]
            full, went_on = number in (errno.ENOSPC, errno.EDQUOT), WENT_ON in told
            if went_on:
                unmount_below(self.root)
            wanted = _gone_on(reference) if went_on else reference
            if faults := faults + self.judged(wanted, [done] if isinstance(done, int) else [], booted=went_on, full=full):
                yield where, faults

    def failing_session(self, name: str, failer: seams.Failer) -> Callable[[Callable[[Any], None]], None]:
        """As ``session``; says the last commit acknowledged, or None for a typed error, and then what was wrong right after it.

        After one EIO the same Store goes on with a change of its own, and a boot comes before the judge. A disk that refuses everything
        lets nothing be tidied up: what lies there is the next opener's.
        """
        alone = failer.number == errno.EIO and not failer.lasting
        dead = failer.number == errno.EIO and failer.lasting

        def run(say: Callable[[Any], None]) -> None:
            seams.install(failer)
            unknown = told = False
            store: Store | None = None
            try:
                store = Store(self.root, driver=self.driver, retention=operations.retention(name))
                for step in operations.steps(name):
                    step(store)
                say(store.sequence)
                told = True
                store.close()
            except StoreError as failed:
                unknown = isinstance(failed, OutcomeUnknown)
                if not told:
                    say(None)
                if store is not None and not (told or unknown or alone):
                    with suppress(StoreError):
                        store.close()
            failer.number = 0
            if not (unknown or dead) and failer.failed and Journal.exists(os.path.join(self.root, f"{self.driver}-layerlog")):
                with Store(self.root, driver=self.driver, read_only=True) as looking:  # nobody has settled anything since
                    if not looking.leases.files():  # else recovery knows where to look
                        for fault in judge.leftovers(looking):
                            say(f"at once: {fault}")
            if store is not None and alone and not told and not unknown:
                with suppress(NotFound):  # where the operation took it away
                    store.set_metadata("middle", WENT_ON, "layer")
                    say(WENT_ON)
                store.close()

        return run

    def session(self, name: str, watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
        """Open, run one operation, say up to which commit that is acknowledged, close; every changing call passes *watcher*."""

        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            with Store(self.root, driver=self.driver, retention=operations.retention(name)) as store:
                for step in operations.steps(name):
                    step(store)
                    watcher.acknowledge(store.sequence)
                    say(store.sequence)

        return run

    def reference(self, name: str) -> Reference:
        """The undisturbed run, its states read back commit by commit."""
        self.fresh(name)
        watcher = seams.Watcher()

        def run(say: Callable[[Any], None]) -> None:
            self.session(name, watcher)(say)
            say(watcher.calls)

        before = children.run(lambda say: say(_looked_at(self.root, self.driver)))
        if name in operations.BIRTH:
            self.fresh(name)
        ended = children.run(run)
        assert ended.status == 0, ended.trace
        after = children.run(lambda say: say(_looked_at(self.root, self.driver, before.said[0][0])))
        assert after.status == 0, after.trace
        _, first_states, first_trees = before.said[0]
        _, states, trees = after.said[0]
        merged = {layer: [one[layer] for one in (first_trees, trees) if layer in one] for layer in {*first_trees, *trees}}
        if len(operations.steps(name)) > 1:  # what a layer held between two steps was not seen
            seen = [first_states[0], *states]
            merged = {layer: held for layer, held in merged.items() if len(held) == 2 and held[0] == held[1] and not _replaced(layer, seen)}
        calls: list[tuple[str, int]] = ended.said[-1]
        return Reference(calls, Expected([first_states[0], *states], merged), before.said[0][0])

    def power_cuts(self, name: str, most: int, forget: str = "", seed: int = SEED, every: int = 1) -> Iterator[tuple[str, list[str]]]:
        """Cut the power before each flush and after each acknowledgement; judge up to about *most* disks of each moment.

        *every*: of all these disks judge one in so many, by dice.
        """
        reference = self.reference(name)
        self.fresh(name)
        self.kind = "power cut, on the model"
        start, recorder = power.Disk.of(self.root), power.Recorder(forget)

        def run(say: Callable[[Any], None]) -> None:
            self.session(name, recorder)(lambda what: None)
            say(recorder.trace)

        ended = children.run(run)
        assert ended.status == 0, ended.trace
        dice = random.Random(seed)
        for cut in power.cuts(start, ended.said[0]):
            said = [] if cut.acknowledged is None else [cut.acknowledged]
            for which, disk in power.states(cut, most, dice):
                if every > 1 and dice.randrange(every):
                    continue
                if faults := self.judged_after_cut(disk, reference, said):
                    yield f"{name}: power cut before step {cut.place} of {len(ended.said[0])}, {which}", faults

    def judged_after_cut(self, disk: power.Disk, reference: Reference, said: list[Any]) -> list[str]:
        """What is wrong with a disk that a power cut left, after the boot."""
        self.clear()
        disk.write_to(self.root, leave_out=frozenset((b"run",)))
        return self.judged(reference, said, booted=True)

    def dropped(self, name: str, most: int, every: int = 1, seed: int = SEED) -> Iterator[tuple[str, list[str]]]:
        """Let each *every*-th flush fail and lose what it should have flushed; the caller tries once more; then cut the power."""
        reference = self.reference(name)
        flushes = sum(call in seams.SYNCS for call, _ in reference.calls)
        last, dice = len(reference.expected.states) - 1, random.Random(seed)
        self.kind = "a flush that failed, then a power cut"
        for number in range((every // 2 + SEED - 1) % every, flushes, every):
            self.fresh(name)
            start, dropper = power.Disk.of(self.root), power.Dropper(number)
            ended = children.run(self.stubborn_session(name, dropper))
            where = f"{name}: flush {number} of {flushes} failed"
            if ended.status:
                yield where, [f"ended with {ended.status}: {ended.trace[-700:]}"]
                continue
            for cut in power.cuts(start, ended.said[0]):
                said = [] if cut.acknowledged is None else [min(cut.acknowledged, reference.start + last)]
                for which, disk in power.states(cut, most, dice) if said or cut.place == len(ended.said[0]) else ():
                    if faults := self.judged_after_cut(disk, reference, said):
                        yield f"{where}, then a power cut before step {cut.place} of {len(ended.said[0])}, {which}", faults

    def stubborn_session(self, name: str, recorder: power.Recorder) -> Callable[[Callable[[Any], None]], None]:
        """Each step that fails is tried once more, with the same dice, but for one of which nobody knows whether it failed."""

        def run(say: Callable[[Any], None]) -> None:
            seams.install(recorder)
            store = self.opened(name)
            rolled: random.Random = os.urandom.__self__  # type: ignore[attr-defined]  # children.py
            with suppress(OutcomeUnknown):
                for step in operations.steps(name):
                    state, before = rolled.getstate(), store.sequence
                    try:
                        step(store)
                    except OutcomeUnknown:
                        raise
                    except StoreError as failed:
                        if store.sequence > before:  # it is committed, and what was to follow failed: once more would be twice
                            raise OutcomeUnknown(sequence=store.sequence, cause=failed) from failed
                        if not store.leases.files():  # else the same ID is still in work
                            rolled.setstate(state)  # the judge knows the IDs that it gives
                        step(store)
                recorder.acknowledge(store.sequence)
            with suppress(StoreError):
                store.close()
            say(recorder.trace)

        return run

    def opened(self, name: str) -> Store:
        """The store, opened at the second attempt if the first one fails."""
        for _ in range(2):
            with suppress(StoreError):
                return Store(self.root, driver=self.driver, retention=operations.retention(name))
        raise AssertionError("does not open at the second attempt")

    def judged(self, reference: Reference, said: list[Any], booted: bool = False, full: bool = False) -> list[str]:
        """The verdict on ``root``, from a process that opens it as any other would. *said*: the last commit acknowledged, if any.

        *full*: the disk was; then a delete may have taken one commit more, which says what could not be kept.
        """
        self.kinds[self.kind] += 1
        last = len(reference.expected.states) - 1
        first = said[-1] - reference.start if said else 0
        if full:
            first = min(first, last)

        def look(say: Callable[[Any], None]) -> None:
            if booted:
                position._boot_id = bytes(range(16))
            met = rows_met()
            faults = judge.judge(self.root, self.driver, reference.expected, first, last, full)
            say(met)
            say(faults)

        ended = children.run(look, seed=99)
        self.reached |= ended.said[0] if ended.said else set()
        faults: list[str] = ended.said[1] if len(ended.said) > 1 else [f"the judge fell: {ended.trace or ended.status}"]
        return faults

    def stops(self, name: str, partial: bool = True, every: int = 1, last: int = 0, boot: bool = False) -> Iterator[tuple[str, list[str]]]:
        """Kill at each *every*-th call (of the *last* so many), and in the middle of writes; yields what was wrong, place by place.

        *boot*: after one, which takes all mounts away, the next process looks.
        """
        reference = self.reference(name)
        for place, (call, size) in enumerate(reference.calls):
            if (place - SEED + 1) % every or (last and place < len(reference.calls) - last):
                continue
            parts: list[int | None] = [None]
            if partial and size > 1:
                parts += sorted({1, size // 2, size - 1, *(edge for edge in (512, 4096) if edge < size)})
            for part in parts:
                self.fresh(name)
                self.kind = "killed in a write" if part else "killed, then a boot" if boot else "killed"
                ended = children.run(self.session(name, seams.Killer(place, part)))
                where = f"{name}: killed at call {place} of {len(reference.calls)}, {call}" + (f", {part} bytes in" if part else "")
                if ended.status != children.KILLED:
                    yield where, [f"was not killed but ended with {ended.status}: {ended.trace}"]
                    continue
                if boot:
                    unmount_below(self.root)
                    shutil.rmtree(os.path.join(self.root, "run"))
                if faults := self.judged(reference, ended.said, booted=boot):
                    yield where, faults


def _replaced(layer: str, states: list[judge.State]) -> bool:
    """Whether the layer of that ID held something else at some time."""
    return len({repr(state["layer"][layer].get("contents")) for state in states if layer in state["layer"]}) > 1


def _gone_on(reference: Reference) -> Reference:
    """What may be seen after the failed operation's Store made one more change."""

    def changed(state: judge.State) -> judge.State:
        layers = state["layer"]
        return {**state, "layer": {**layers, "middle": {**layers["middle"], "metadata": WENT_ON}}} if "middle" in layers else state

    expected = Expected([changed(state) for state in reference.expected.states], reference.expected.trees)
    return Reference(reference.calls, expected, reference.start)


def meets(call: str, number: int) -> bool:
    """Whether that call can fail like that."""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return call in seams.ROOM
    if number == errno.EMFILE:
        return call == "open"
    if number == errno.EINTR:
        return call not in seams.RETRIED and call not in seams.CHANGING_BY_CTYPES
    return True


def _looked_at(root: str, driver: str, after: int = -1) -> tuple[int, list[judge.State], dict[str, judge.Tree]]:
    """The last sequence; the states after each commit from *after* on (default: the last); the trees."""
    with Store(root, driver=driver) as store:
        last = store.sequence
        points = range(last if after < 0 else after + 1, last + 1)
        states = [judge.describe(store.at(str(point))) for point in points]
        return last, states, judge.trees_of(store)


def copy(source: str, target: str) -> None:
    """As ``cp -a``: owners, xattrs, devices, links and holes as they are."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def unmount_below(root: str) -> None:
    """Lazily unmount all below, newest first."""
    from layerlog.drivers import mounts, syscalls

    for point in mounts.below(root):
        syscalls.umount(os.fsencode(point), syscalls.MNT_DETACH)


def open_up(root: str) -> None:
    """Let an ordinary user remove folders that forbid it."""
    if os.geteuid() != 0:
        for where, folders, _ in os.walk(root):
            for name in folders:
                path = os.path.join(where, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
