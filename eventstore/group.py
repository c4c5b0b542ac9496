"""Group commit: threads that commit at the same time share one lock, one write and one fdatasync.

The first thread that comes leads: it runs a batch, wakes the others, and makes the first of those that
gathered meanwhile the next leader. The batch is closed as late as possible (``gather``): whoever was just woken needs
a moment to come back, and a leader that did not wait for them would write batches of one.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._led = False

    def submit(self, seat: Seat) -> None:
        """Return when *seat* was run; raises its error. Interrupted while it waits, it is not run if that is still possible."""
        with self._mutex:
            leads = not self._led
            if leads:
                self._led = True
                seat._state = _TAKEN
            else:
                seat._gate = threading.Lock()
                seat._gate.acquire()
                self._queue.append(seat)
        if not leads:
            leads = self._wait(seat)
        if leads:
            self._lead(seat)
        if seat.error is not None:
            try:
                raise seat.error
            finally:
                seat.error = None

    def enter(self) -> None:
        """Be the leader without a batch, until ``leave``; waits for its turn."""
        with self._mutex:
            if not self._led:
                self._led = True
                return
            seat = Seat()
            seat._alone = True
            seat._gate = threading.Lock()
            seat._gate.acquire()
            self._queue.append(seat)
        self._wait(seat)

    def leave(self) -> None:
        """Let the next leader go on."""
        self._hand_over()

    def _wait(self, seat: Seat) -> bool:
        """Until *seat* is done (False) or is to lead (True)."""
        assert seat._gate is not None
        try:
            seat._gate.acquire()
        except BaseException:
            with self._mutex:
                if seat in self._queue:
                    self._queue.remove(seat)
                leads = seat._state == _LEADS
            if leads:
                self._hand_over()
            raise
        return seat._state == _LEADS

    def gather(self, batch: list[Seat]) -> None:
        """Put into *batch* whoever has come by now. Only *run* may call it, before it looks at what it runs."""
        if self._queue:  # who comes between this look and the next line is in the next batch
            with self._mutex:
                come = [seat for seat in self._queue if not seat._alone]
                self._queue = [seat for seat in self._queue if seat._alone]
                for seat in come:
                    seat._state = _TAKEN
            batch += come

    def _lead(self, own: Seat) -> None:
        own._state = _TAKEN
        batch = [own]
        try:
            self._run(batch)
        finally:
            for seat in batch:
                seat._state = _DONE
                if seat is not own and seat._gate is not None:
                    seat._gate.release()
            self._hand_over()

    def _hand_over(self) -> None:
        with self._mutex:
            if not self._queue:
                self._led = False
                return
            following = self._queue.pop(0)
            following._state = _LEADS
        assert following._gate is not None
        following._gate.release()
