"""What is asked of a ledger and what comes of it."""

from __future__ import annotations

from layerlog.eventstore.group import Seat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog.eventstore.rows import Rows

    Event = Any
    Decide = Callable[[Rows], list[Event]]


class Committed:
    """The outcome of a commit. ``repeated``: its client key had been committed before; this is that commit.

    ``changes`` are the row changes it made, known only to the process that made it, and not for a repeated one.
    """

    __slots__ = ("changes", "events", "repeated", "sequence", "time_ns")

    def __init__(
        self, sequence: int, time_ns: int, events: list[Event], repeated: bool = False, changes: dict[bytes, Any] | None = None
    ) -> None:
        self.changes: dict[bytes, Any] = changes or {}
        self.sequence = sequence
        self.time_ns = time_ns
        self.events = events
        self.repeated = repeated

    def __repr__(self) -> str:
        return f"Committed(sequence={self.sequence}, events={self.events!r}, repeated={self.repeated})"


class Request(Seat):
    """One call of ``Ledger.commit``, which another thread may carry out."""

    __slots__ = ("decide", "envelope", "key", "fingerprint", "expected", "reserve", "guard", "outcome", "payload", "changes", "alone")

    def __init__(
        self,
        decide: Decide,
        envelope: dict[str, Any],
        key: str | None,
        fingerprint: str | None,
        expected: int | None,
        reserve: bool,
        guard: Callable[[], None] | None,
    ) -> None:
        super().__init__()
        self.decide = decide
        self.envelope = envelope
        self.key = key
        self.fingerprint = fingerprint
        self.expected = expected
        self.reserve = reserve
        self.guard = guard
        self.outcome: Committed | None = None
        self.payload = b""
        self.changes: dict[bytes, Any] = {}
        self.alone = True
        """Whether it was decided on what was durable, and not on other requests of its batch."""

    def begin(self, *, alone: bool) -> None:
        """Forget what was decided, to be decided anew."""
        self.outcome = self.error = None
        self.payload = b""
        self.changes = {}
        self.alone = alone

    @property
    def stands(self) -> bool:
        """Whether it has an answer that holds whatever becomes of the batch: a refusal, or nothing to do, told by what was durable."""
        return self.alone and not self.payload and (self.error is not None or self.outcome is not None)


def requests_in(batch: list[Seat]) -> list[Request]:
    """The group runs what the ledger submitted."""
    return [seat for seat in batch if isinstance(seat, Request)]


def fail(requests: list[Request], error: BaseException) -> None:
    """Hand *error* to all whose answer does not stand without what was to be written."""
    for request in requests:
        if not request.stands:
            request.error = error
