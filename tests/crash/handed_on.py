"""A kill, then the process after it, then the power cut: what one had not flushed yet, and the other believed.

The dead process' changes are in memory, where whoever comes next sees them. It settles them, goes on, and says "done":
that stands on names and files of which nobody knows whether they are on the disk.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from layerlog import Store
from layerlog.eventstore.errors import StoreError
from tests.crash import children, judge, operations, power, seams
from tests.crash.laboratory import SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.laboratory import Bench, Reference


DICE = frozenset(("create_container", "create_container with other owners", "transaction of names"))
"""What gives IDs by dice: the next process rolls the same ones, so that the judge knows them."""


class Killed(power.Recorder):
    """Writes down every change, tells them all at call *at*, and dies there."""

    def __init__(self, at: int, say: Callable[[Any], None]) -> None:
        super().__init__()
        self.at, self.say = at, say

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.at -= 1
        if self.at < 0:
            self.say(self.trace)
            seams.die()
        return super().call(name, real, args, kwargs)


def cuts(bench: Bench, name: str, most: int, every: int = 1, share: int = 1, seed: int = SEED) -> Iterator[tuple[str, list[str]]]:
    """Kill *name* at each *every*-th call; the next process settles it, does it if it was not done, acknowledges; cut the power meanwhile.

    Judges one in *share* (by dice) of up to about *most* disks of each moment of the second process.
    """
    reference = bench.reference(name)
    bench.kind = "killed, the next process, a power cut"
    dice = random.Random(seed)
    for place in range(dice.randrange(every), len(reference.calls), every):
        bench.fresh(name)
        start = power.Disk.of(bench.root)
        dead = children.run(lambda say, place=place: bench.session(name, Killed(place, say))(say))  # type: ignore[misc]
        ended = children.run(next_one(bench, name, reference), seed=1 if name in DICE else 3)
        where = f"{name}: killed at call {place} of {len(reference.calls)}"
        if dead.status != children.KILLED or ended.status or not ended.said:
            yield where, [f"ended with {dead.status} and {ended.status}: {dead.trace}{ended.trace[-700:]}"]
            continue
        before, after = _by_place(dead.said[-1], reference.start), ended.said[0]
        for cut in power.cuts(start, [*before, *after]):
            if cut.place < len(before):
                continue
            said = [] if cut.acknowledged is None else [reference.start + cut.acknowledged]
            for which, disk in power.states(cut, most, dice):
                if share > 1 and dice.randrange(share):
                    continue
                if faults := bench.judged_after_cut(disk, reference, said):
                    step = f"step {cut.place - len(before)} of {len(after)} of the next process"
                    yield f"{where}, then a power cut before {step}, {which}", faults


def next_one(bench: Bench, name: str, reference: Reference) -> Callable[[Callable[[Any], None]], None]:
    """The next process: opens the store, does the operation where nothing of it is there, and acknowledges what it saw.

    What it saw is told by its place among the states of the undisturbed run: recovery makes commits of its own.
    """
    states = reference.expected.states

    def run(say: Callable[[Any], None]) -> None:
        recorder = power.Recorder()
        seams.install(recorder)
        with Store(bench.root, driver=bench.driver, retention=operations.retention(name)) as store:
            seen = states.index(judge.describe(store))
            recorder.acknowledge(seen)
            if not seen:
                for step in operations.steps(name):
                    with suppress(StoreError):  # what changes no record may have been done
                        step(store)
                recorder.acknowledge(states.index(judge.describe(store)))
        say(recorder.trace)

    return run


def _by_place(trace: list[power.Change], start: int) -> list[power.Change]:
    """The dead process' acknowledgements, which are numbers of commits, as places among the states."""
    return [(power.ACK, change[1] - start) if change[0] == power.ACK else change for change in trace]
