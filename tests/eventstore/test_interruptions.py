"""Ctrl-C, or a signal's handler that raises, at any point of the event store.

What was interrupted has happened or not, and everybody sees the same: the thread itself, other threads, other processes.
Nothing stays held: no lock, no place in the queue.
"""

from __future__ import annotations

import dis
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import layerlog.eventstore
from layerlog.eventstore import disk
from layerlog.eventstore.errors import OutcomeUnknown
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import ENVELOPE, GENESIS, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from layerlog.eventstore.rows import Rows
    from layerlog.eventstore.state import Meta

HOME = os.path.realpath(os.path.dirname(layerlog.eventstore.__file__))
PATIENCE = 20
"""Seconds after which something is taken to be held for ever."""


class Interrupted(BaseException):
    """As KeyboardInterrupt, and nobody else's."""


def counting(rows: Rows, event: Any, meta: Meta) -> Iterator[tuple[bytes, Any]]:
    """A fold that shows whether a commit was folded once."""
    if event["type"] == "NamesSet":
        row = b"layer\0" + event["id"].encode()
        yield row, {"times": (rows.get(row) or {"times": 0})["times"] + 1, "names": event["names"]}


def put(ledger: Ledger, item: str, name: str) -> int:
    event = {"type": "NamesSet", "kind": "layer", "id": item, "names": [name]}
    return ledger.commit(lambda rows: [event], envelope=ENVELOPE).sequence


class AtPoint:
    """Raises Interrupted at the point *number* of the event store, or of what else is in *home*, that this thread comes to.

    A point is where Python itself looks whether a signal came: where a function begins, after each call, and where a loop begins anew.
    """

    def __init__(self, number: int, home: str = HOME) -> None:
        self.left = number
        self.home = home
        self.where = ""
        self.after: dict[FrameType, str] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not os.path.realpath(frame.f_code.co_filename).startswith(self.home):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self.step

    def step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "return":
            self.after.pop(frame, None)
        elif event == "opcode":
            before = self.after.get(frame, "RESUME")
            self.after[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                self.left -= 1
                if self.left == 0:
                    self.where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
                    self.after.clear()
                    raise Interrupted
        return self.step


def interrupted(work: Callable[[], object], number: int) -> str:
    """Run *work* with an interruption at its point *number*; where that was, empty when it has fewer."""
    trace = AtPoint(number)
    sys.settrace(trace)
    try:
        with suppress(Interrupted, OutcomeUnknown):
            work()
    finally:
        sys.settrace(None)
    return trace.where


def within(work: Callable[[], object]) -> bool:
    """Whether *work*, done by another thread, comes to an end."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(done)


def hold(ledger: Ledger) -> None:
    with ledger.exclusively():
        pass


WORK: dict[str, Callable[[Ledger], object]] = {
    "commit": lambda ledger: put(ledger, "a", "mine"),
    "look": lambda ledger: ledger.rows,
    "reading": rows_of,
    "exclusively": hold,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what comes in a finalizer, Python itself drops
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_an_interruption_at_any_point_leaves_nothing_held_and_nobody_misled(tmp_path: Path, work: Callable[[Ledger], object]) -> None:
    faults: list[str] = []
    number, where = 0, "first"
    while where:
        number += 1
        folder = str(tmp_path / str(number))
        with Ledger.create(folder, GENESIS, fold=counting, envelope=ENVELOPE, durable=False) as ledger:
            other = Ledger(folder, fold=counting, durable=False)
            put(ledger, "a", "first")
            put(other, "a", "theirs")
            where = interrupted(lambda ledger=ledger: work(ledger), number)  # type: ignore[misc]
            assert gc.isenabled(), f"{where}: the collector stays off"
            happened = rows_of(other)[b"layer\0a"]
            assert within(lambda other=other: put(other, "b", "after")), f"{where}: another process waits for ever"  # type: ignore[misc]
            assert within(lambda ledger=ledger: put(ledger, "b", "again")), f"{where}: another thread waits for ever"  # type: ignore[misc]
            fresh = Ledger(folder, fold=counting, durable=False)
            if not rows_of(ledger) == rows_of(other) == rows_of(fresh):
                faults.append(f"{where}: they see different states")
            if rows_of(fresh)[b"layer\0a"] != happened:
                faults.append(f"{where}: what had not happened did later")
            other.close()
            fresh.close()
    assert not faults
    assert number > 50, "the whole way was walked"


class Slow(disk.Seam):
    """A disk whose first flush waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.goes = threading.Event(), threading.Event()

    def fdatasync(self, fd: int) -> None:
        first = not self.begun.is_set()
        self.begun.set()
        if first:
            assert self.goes.wait(PATIENCE)
        os.fdatasync(fd)


def raising(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def test_who_is_interrupted_while_another_thread_writes_its_change_goes_on_when_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller then takes away the effects of a change that has not happened: it must not look before it has."""
    slow = Slow()
    before = signal.signal(signal.SIGUSR1, raising)
    with Ledger.create(str(tmp_path / "s"), GENESIS, fold=counting, envelope=ENVELOPE) as ledger:
        put(ledger, "a", "first")
        monkeypatch.setattr(disk, "seam", slow)
        main = threading.get_ident()
        leader = threading.Thread(target=lambda: put(ledger, "b", "theirs"))
        gathered = threading.Event()
        gather = ledger._group.gather

        def gather_both(batch: list[Any]) -> None:
            for _ in range(PATIENCE * 1000):
                if ledger._group._queue:
                    break
                gathered.wait(0.001)
            gather(batch)

        def interrupt() -> None:
            assert slow.begun.wait(PATIENCE)
            signal.pthread_kill(main, signal.SIGUSR1)
            gathered.wait(0.2)  # time for the wrong thing
            slow.goes.set()

        monkeypatch.setattr(ledger._group, "gather", gather_both)
        helper = threading.Thread(target=interrupt)
        leader.start()
        while ledger._group._leader is None:
            gathered.wait(0.001)
        helper.start()
        try:
            with pytest.raises(Interrupted):
                put(ledger, "a", "mine")
            assert slow.goes.is_set()
            assert rows_of(ledger)[b"layer\0a"]["names"] == ["mine"]
        finally:
            signal.signal(signal.SIGUSR1, before)
            slow.goes.set()
            leader.join()
            helper.join()


def test_closing_waits_for_the_change_that_another_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on in a file that was opened meanwhile, under the same number."""
    slow = Slow()
    with Ledger.create(str(tmp_path / "s"), GENESIS, fold=counting, envelope=ENVELOPE) as ledger:
        put(ledger, "a", "first")
        monkeypatch.setattr(disk, "seam", slow)
        told: list[object] = []
        writer = threading.Thread(target=lambda: told.append(put(ledger, "a", "second")))
        writer.start()
        assert slow.begun.wait(PATIENCE)
        closer = threading.Thread(target=ledger.close)
        closer.start()
        while not ledger._closed:
            closer.join(0.001)
        closer.join(0.05)
        foreign = [os.open(str(tmp_path / f"foreign-{number}"), os.O_CREAT | os.O_RDWR) for number in range(8)]
        slow.goes.set()
        writer.join()
        closer.join()
        sizes = [os.fstat(fd).st_size for fd in foreign]
        for fd in foreign:
            os.close(fd)
    assert told == [3]
    assert sizes == [0] * 8, "nobody else's file was written to"
    with Ledger.open(str(tmp_path / "s"), counting) as again:
        assert rows_of(again)[b"layer\0a"]["names"] == ["second"]


def test_closing_in_the_handler_of_a_signal_waits_for_nothing(tmp_path: Path) -> None:
    with Ledger.create(str(tmp_path / "s"), GENESIS, fold=counting, envelope=ENVELOPE) as ledger:
        with ledger.exclusively():
            ledger.close()
        assert within(ledger.close)
