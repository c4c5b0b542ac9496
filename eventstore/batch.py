"""One batch: requests decided one after another, each on the state that those before it leave, none of them written yet.

What a request is told holds only if what it was decided on is written: ``Request.stands`` says which answers hold regardless.
"""

from __future__ import annotations

import time

from layerlog.eventstore.errors import RecordTooLarge, RetryMismatch, StaleVersion
from layerlog.eventstore.frame import PAYLOAD_BYTES_MAX
from layerlog.eventstore.requests import Committed
from layerlog.eventstore.rows import Overlay
from layerlog.eventstore.state import Meta, fold_commit, key_row, legible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.codec import Encoder
    from layerlog.eventstore.history import History
    from layerlog.eventstore.position import Position
    from layerlog.eventstore.requests import Request
    from layerlog.eventstore.rows import Rows
    from layerlog.eventstore.state import State


class Batch:
    """Decides requests on top of *state*, which stands at *before*. Under the writer lock."""

    __slots__ = ("accepted", "reserve", "_state", "_encoder", "_past", "_durable", "_sequence", "_time_ns", "_rows")

    def __init__(self, state: State, encoder: Encoder, past: History, before: Position) -> None:
        self.accepted: list[Request] = []
        """Those to be written, in order."""
        self.reserve = True
        """Whether each of them may use the room kept for deletes."""
        self._state = state
        self._encoder = encoder
        self._past = past
        self._durable = self._sequence = before.sequence
        self._time_ns = before.time_ns
        self._rows: Rows = state.rows

    def decide(self, requests: list[Request]) -> None:
        """Give each of them its outcome or its error, and accept those that have something to write."""
        own = Overlay(self._state.rows) if len(requests) > 1 else None
        if own is not None:
            self._rows = own
        for request in requests:
            request.begin(alone=not self.accepted)
            self._time_ns = max(time.time_ns(), self._time_ns + 1)
            try:
                if not self._decided(request):
                    continue
            except Exception as error:  # noqa: BLE001 - handed to its caller, who raises it
                request.error = error
                continue
            self.accepted.append(request)
            self.reserve = self.reserve and request.reserve
            self._sequence += 1
            if own is not None:
                own.update(request.changes.items())

    def _decided(self, request: Request) -> bool:
        """Decide one request and fold it; False when there is nothing to write."""
        rows, sequence = self._rows, self._sequence + 1
        if request.key is not None:
            known = rows.get(key_row(request.key))
            if known is not None:
                request.outcome = self._repeated(request, known)
                return False
        events = request.decide(rows)
        if not events:
            request.outcome = Committed(self._sequence, self._time_ns, [])
            return False
        if request.guard is not None:
            request.guard()
        payload = self._encoder.encode(events, request.envelope, request.key, request.fingerprint)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise RecordTooLarge(size=len(payload), allowed=PAYLOAD_BYTES_MAX)
        meta = Meta(sequence, self._time_ns, request.envelope.get("actor", ""))
        request.changes = fold_commit(self._state.fold, rows, meta, events, request.key, request.fingerprint)
        if request.expected is not None and request.expected < self._sequence:
            self._check_expected(request.changes, request.expected)
        request.payload = payload
        request.outcome = Committed(sequence, self._time_ns, events, changes=request.changes)
        return True

    def _check_expected(self, changes: dict[bytes, Any], expected: int) -> None:
        state = self._state
        touched, base = state.touched, state.base_sequence  # in this order: a checkpoint may be settled on meanwhile, which takes from both
        past = self._past.at(expected) if expected < base else None
        for key in changes:
            found = self._last_change(key, touched)
            if found <= expected and past is not None and past.get(key) != state.recent.get(key):
                found = base
            if found > expected:
                raise StaleVersion(expected=expected, found=found, what=legible(key))

    def _last_change(self, key: bytes, touched: dict[bytes, int]) -> int:
        """The last commit since the state's base that changed this row, 0 when none did."""
        for place in range(len(self.accepted), 0, -1):
            if key in self.accepted[place - 1].changes:
                return self._durable + place
        return touched.get(key, 0)

    def _repeated(self, request: Request, known: dict[str, Any]) -> Committed:
        sequence: int = known["s"]
        if known["f"] != request.fingerprint:
            raise RetryMismatch(key=request.key, sequence=sequence)
        if sequence > self._durable:
            first = self.accepted[sequence - self._durable - 1].outcome
            assert first is not None
            return Committed(sequence, first.time_ns, first.events, repeated=True)
        commit = self._past.commit_at(sequence)
        return Committed(sequence, commit.time_ns, commit.events, repeated=True)
