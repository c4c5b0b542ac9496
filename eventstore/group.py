"""Group commit: threads that commit at the same time share one lock, one write and one fdatasync.

The first thread that comes leads: it runs a batch, wakes the others, and makes the first of those that
gathered meanwhile the next leader. The batch is closed as late as possible (``gather``): whoever was just woken needs
a moment to come back, and a leader that did not wait for them would write batches of one.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WAITING, _TAKEN, _LEADS, _DONE = range(4)


class Seat:
    """One caller's place in the queue. Subclass it to carry the request and its outcome."""

    __slots__ = ("_alone", "_state", "_gate", "error")

    def __init__(self) -> None:
        self._alone = False
        self._state = _WAITING
        self._gate: threading.Lock | None = None
        self.error: BaseException | None = None


class Group:
    """Runs seats in batches through *run*, which must set each seat's outcome and must not raise.

    *run* begins with the seats that had come when its turn came, and takes those that came since by ``gather``.
    """

    def __init__(self, run: Callable[[list[Seat]], None]) -> None:
        self._run = run
        self._mutex = threading.Lock()
        self._queue: list[Seat] = []
        self._leader: Seat | None = None
        self._inside: set[int] = set()
        """Threads that are in ``submit`` or ``alone``."""

    def submit(self, seat: Seat) -> None:
        """Return when *seat* was run; raises its error.

        Interrupted (Ctrl-C) while it waits, it is not run; while another thread runs it, what interrupted is raised once that is done,
        since the caller goes by what has happened.
        """
        thread = threading.get_ident()
        try:
            self._inside.add(thread)
            if self._join(seat):
                self._lead(seat)
        except BaseException:
            self._withdraw(seat)
            raise
        finally:
            try:
                self._hand_over(seat)
            finally:
                self._hand_over(seat)  # again, where the first was interrupted
                self._inside.discard(thread)
        if seat.error is not None:
            try:
                raise seat.error
            finally:
                seat.error = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the leader without a batch; waits for its turn.

        The steps of ``submit``, written out once more: a function around them would be one more place at which an interruption
        comes before the lead is handed over.
        """
        seat, thread = Seat(), threading.get_ident()
        seat._alone = True
        try:
            self._inside.add(thread)
            self._join(seat)
            yield
        except BaseException:
            self._withdraw(seat)
            raise
        finally:
            try:
                self._hand_over(seat)
            finally:
                self._hand_over(seat)  # again, where the first was interrupted
                self._inside.discard(thread)

    def _join(self, seat: Seat) -> bool:
        """Until *seat* is done (False) or is to lead (True)."""
        with self._mutex:
            if self._leader is None:
                self._leader = seat
                return True
            seat._gate = threading.Lock()
            seat._gate.acquire()
            self._queue.append(seat)
        seat._gate.acquire()
        return seat._state == _LEADS

    def _withdraw(self, seat: Seat) -> None:
        """Of a seat whose caller was interrupted: out of the queue, or wait until who has taken it is done with it."""
        with self._mutex:
            if seat in self._queue:
                self._queue.remove(seat)
        while seat._state == _TAKEN and self._leader is not seat and seat._gate is not None:
            try:
                seat._gate.acquire()
            except BaseException:  # noqa: BLE001 - as long as the disk takes; the first interruption is raised after it
                continue

    def holds_this_thread(self) -> bool:
        """Whether the thread that asks is in the middle of ``submit`` or ``alone``."""
        return threading.get_ident() in self._inside

    def gather(self, batch: list[Seat]) -> None:
        """Put into *batch* whoever has come by now. Only *run* may call it, before it looks at what it runs."""
        if self._queue:  # who comes between this look and the next line is in the next batch
            with self._mutex:
                come = [seat for seat in self._queue if not seat._alone]
                rest, end = [seat for seat in self._queue if seat._alone], len(batch)
                self._queue, batch[end:] = rest, come  # no call in it: nothing interrupts between out of the one and into the other
                for seat in come:
                    seat._state = _TAKEN

    def _lead(self, own: Seat) -> None:
        own._state = _TAKEN
        batch = [own]
        try:
            try:
                self._run(batch)
            finally:
                _dismiss(batch)
        finally:
            _dismiss(batch)  # again, where the first was interrupted

    def _hand_over(self, seat: Seat) -> None:
        """Make the next one the leader, if *seat* is it."""
        with self._mutex:  # also to look: who made us the leader woke us before it said so
            if self._leader is not seat:
                return
            following = self._queue[0] if self._queue else None
            if following is not None:
                following._state = _LEADS
                _wake(following)
            self._leader, self._queue = following, self._queue[1:]


def _dismiss(batch: list[Seat]) -> None:
    for seat in batch:
        seat._state = _DONE
        _wake(seat)


def _wake(seat: Seat) -> None:
    """Let its thread go on; can be repeated."""
    if seat._gate is not None and seat._gate.locked():
        seat._gate.release()
