"""Who shares a batch with whom."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore import group as group_module
from layerlog.eventstore.group import Group, Seat

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns:
    """A group whose batches begin when they are told to, and which remembers them."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.begins = threading.Semaphore(0)
        self.fails = False
        self.group = Group(self._run)

    def _run(self, batch: list[Seat]) -> None:
        self.begins.acquire()
        self.group.gather(batch)
        self.batches.append(len(batch))
        for seat in batch if self.fails else []:
            seat.error = KeyError(len(batch))

    def waiting(self, count: int) -> None:
        """Return when so many stand in the queue."""
        while len(self.group._queue) < count:
            time.sleep(0.001)

    def start(self, work: Callable[[], None] | None = None) -> threading.Thread:
        thread = threading.Thread(target=work or (lambda: self.group.submit(Seat())))
        thread.start()
        return thread


def test_who_comes_while_the_leader_waits_for_its_turn_shares_its_batch() -> None:
    turns = Turns()
    threads = [turns.start() for _ in range(4)]
    turns.waiting(3)
    turns.begins.release()
    for thread in threads:
        thread.join(10)
    assert turns.batches == [4]


def test_who_wants_to_be_alone_is_in_no_batch_and_nobody_is_beside_it() -> None:
    turns = Turns()
    alone: list[int] = []

    def be_alone() -> None:
        with turns.group.alone():
            alone.append(len(turns.batches))

    first = turns.start()
    while turns.group._leader is None:
        time.sleep(0.001)
    threads = [first, turns.start(be_alone)]
    turns.waiting(1)
    threads += [turns.start(), turns.start()]
    turns.waiting(3)
    turns.begins.release(2)
    for thread in threads:
        thread.join(10)
    assert turns.batches == [3], "those who came after it did not have to wait for it"
    assert alone == [1]


def test_the_error_of_a_seat_reaches_its_caller_and_the_next_batch_runs() -> None:
    turns = Turns()
    turns.begins.release(2)
    turns.fails = True
    with pytest.raises(KeyError):
        turns.group.submit(Seat())
    turns.fails = False
    turns.group.submit(Seat())
    assert turns.batches == [1, 1]


def test_who_is_done_before_it_was_said_that_it_leads_still_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before is put off the processor between waking it and saying so."""

    def wake(seat: Seat) -> None:
        really(seat)
        if seat._state == group_module._LEADS:
            time.sleep(0.1)

    really = group_module._wake
    monkeypatch.setattr(group_module, "_wake", wake)
    entered, go_on = threading.Event(), threading.Event()

    def run(batch: list[Seat]) -> None:
        """Without a look at the queue, as where the journal cannot be opened."""
        entered.set()
        go_on.wait(10)

    group = Group(run)
    first = threading.Thread(target=lambda: group.submit(Seat()))
    first.start()
    entered.wait(10)
    second = threading.Thread(target=lambda: group.submit(Seat()))
    second.start()
    while not group._queue:
        time.sleep(0.001)
    go_on.set()
    third = threading.Thread(target=lambda: group.submit(Seat()), daemon=True)
    first.join(10)
    second.join(10)
    third.start()
    third.join(10)
    assert not third.is_alive()
