"""The ledger: decide, commit, fold. The journal and the state that follows from it, for threads and processes.

    ledger = Ledger.create(folder, genesis, fold=fold, envelope=who)
    done = ledger.commit(lambda rows: [event], envelope=who)
    ledger.rows.get(key)

Rows start with the ledger's own space ``k``: ``b"k\\0" + client key`` holds which commit it stands for.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager

from layerlog.eventstore import codec
from layerlog.eventstore.batch import Batch
from layerlog.eventstore.errors import JournalError, NoSpace, ReadOnlyStore, StoreClosed
from layerlog.eventstore.group import Group, Seat
from layerlog.eventstore.history import History
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.leases import GONE
from layerlog.eventstore.requests import Committed, Request, fail, requests_in
from layerlog.eventstore.state import State
from layerlog.eventstore.tail import overwrite_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from layerlog.eventstore.position import Position
    from layerlog.eventstore.rows import Rows
    from layerlog.eventstore.state import Meta

    Event = Any
    Fold = Callable[[Rows, Event, "Meta"], Iterable[tuple[bytes, Any | None]]]
    Decide = Callable[[Rows], list[Event]]


PATIENT_AFTER = 64
"""From so many commits of its own on, a process is taken to live long."""


class Ledger(History):
    """An open ledger; safe to share between threads, not across a fork (StoreClosed in the child).

    A commit is visible to others, and to this process, only once it is durable.
    """

    def __init__(self, folder: str, *, fold: Fold, read_only: bool = False, durable: bool = True, fold_version: int = 1) -> None:
        """Open the ledger in *folder*. Raises: FileNotFoundError when there is none."""
        self.folder = os.path.abspath(folder)
        self.durable = durable
        self.read_only = read_only
        self._fold = fold
        self._fold_version = fold_version
        self._encoder = codec.Encoder()
        self._closed = False
        self.tenure = 0
        """How often this ledger took the writer lock; within one nobody else commits."""
        self._own_commits = 0
        self._writer: Journal | None = None
        self._reader = Journal.open(self.folder, read_only=True, durable=durable)
        self._state_lock = threading.RLock()
        self._standing_still = 0  # readings open in the thread that holds the state lock
        self._half_way = False  # folding was cut short, by whatever was raised: the state is begun anew by who looks next
        self._group = Group(self._run)
        try:
            if not read_only and not self._reader.trusted:
                self._open_writer()
                self._reader.close()
                self._reader = Journal.open(self.folder, read_only=True, durable=durable)
            elif not read_only and self._reader.unproven():
                self._open_writer().settle_if_free()
                self._reader.refresh()
            self._state = self._new_state()
            self._state.replay(self._reader.position)
            self._state.redacted.clear()
        except BaseException:
            self._let_go()
            raise
        if self._state.has_units:
            self._state.flush(self._state_lock)
        _open_ledgers.add(self)

    @classmethod
    def open(cls, folder: str, fold: Fold, *, fold_version: int = 1, read_only: bool = False) -> Ledger:
        """Open the ledger in *folder*. Raises: FileNotFoundError when there is none."""
        return cls(folder, fold=fold, read_only=read_only, fold_version=fold_version)

    @classmethod
    def open_volatile(cls, folder: str, fold: Fold, *, fold_version: int = 1, read_only: bool = False) -> Ledger:
        """The run journal of this boot: nothing in it is synced, and one of another boot is void and replaced."""
        from layerlog.eventstore import volatile

        volatile.prepare(folder)
        return cls(folder, fold=fold, read_only=read_only, durable=False, fold_version=fold_version)

    @classmethod
    def create(
        cls,
        folder: str,
        genesis: Event,
        *,
        fold: Fold,
        envelope: dict[str, Any],
        durable: bool = True,
    ) -> Ledger:
        """Make a ledger whose first event is *genesis*, durable, and open it; opens the one that is there."""
        payload = codec.Encoder().encode([genesis], envelope)
        Journal.create(os.path.abspath(folder), payload, durable=durable).close()
        return cls(folder, fold=fold, durable=durable)

    def close(self) -> None:
        """Write what the next one who opens would have to replay, and close all files. Further calls raise StoreClosed.

        Waits for the batch that another thread writes, and for who reads: a file that is closed under them may be somebody else's by then.
        """
        if self._closed:
            return
        if self._own_commits >= PATIENT_AFTER:
            self._state.flush(self._state_lock)
        self._closed = True
        if self._group.holds_this_thread() or self._state_lock._is_owned():  # type: ignore[attr-defined] # as Condition asks it
            self._let_go()  # a signal's handler: it must not wait for what it interrupted
            return
        with self._group.alone(), self._state_lock:
            self._let_go()

    def _let_go(self) -> None:
        self._closed = True
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading ------------------------------------------------------------------------------------

    @property
    def rows(self) -> Rows:
        """The durable state, caught up. For several reads that must fit together use ``reading``."""
        self.catch_up()
        return self._state.rows

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """A context in which the state, caught up, does not move."""
        with self._state_lock:
            self.catch_up()
            self._standing_still += 1
            try:
                yield self._state.rows
            finally:
                self._standing_still -= 1

    @property
    def sequence(self) -> int:
        """The last durable commit, caught up."""
        self.catch_up()
        return self._state.position.sequence

    def catch_up(self) -> bool:
        """Fold in what others made durable; whether there was anything. About 1 us when there was not."""
        if self._closed:
            raise StoreClosed
        with self._state_lock:
            if self._closed:
                raise StoreClosed
            if self._standing_still or not (self._reader.refresh() or self._half_way):
                return False
            moved = self._replay()
        if self._state.has_units:
            self._state.flush(self._state_lock)
        return moved

    def _replay(self) -> bool:
        """Fold up to where the reader is; whether the state moved. Under the state lock.

        Whatever is raised in between: no commit is folded twice, and none is left out.
        """
        anew = self._half_way
        if anew:
            self._state = self._new_state()
        self._half_way = True
        moved = self._state.replay(self._reader.position)
        self._start_over_if_redacted()
        self._half_way = False
        return moved or anew

    def _start_over_if_redacted(self) -> None:
        """Fold anew what was folded from payloads that are others now. Under the state lock."""
        if not self._state.redacted:
            return
        self._state.checkpoints.drop_from(min(self._state.redacted))
        self._reader.damage.clear()
        self._state = self._new_state()
        self._state.replay(self._reader.position)
        self._state.redacted.clear()

    def _new_state(self) -> State:
        may_write = not self.read_only and self.durable
        return State(self.folder, self._reader, self._fold, fold_version=self._fold_version, may_write=may_write)

    # --- committing ---------------------------------------------------------------------------------

    def commit(
        self,
        decide: Decide,
        *,
        envelope: dict[str, Any],
        key: str | None = None,
        fingerprint: str | None = None,
        expected: int | None = None,
        reserve: bool = False,
        guard: Callable[[], None] | None = None,
    ) -> Committed:
        """Run *decide* on the newest state and make its events one durable commit.

        *decide* runs under the writer lock, perhaps in another thread and perhaps twice; what it raises is
        raised here and fails nobody else. No events: nothing is written. *guard* runs after it, still under
        the lock, before anything is written. *expected*: refuse when a row that the events change was changed
        after that commit. *key*: a client key; the same key with the same *fingerprint* commits once.
        *reserve*: may use the room kept for deletes on a full disk.
        Raises: StaleVersion, RetryMismatch, NoSpace, OutcomeUnknown, RecordTooLarge, StoreClosed, ReadOnlyStore.
        """
        if self._closed:
            raise StoreClosed
        request = Request(decide, envelope, key, fingerprint, expected, reserve, guard)
        self._group.submit(request)
        if self._state.has_units:
            self._state.flush(self._state_lock, patient=self._own_commits >= PATIENT_AFTER)
        assert request.outcome is not None
        return request.outcome

    def _open_writer(self) -> Journal:
        if self.read_only:
            raise ReadOnlyStore
        if self._writer is None:
            try:
                self._writer = Journal.open(self.folder, durable=self.durable)
            except FileNotFoundError as gone:
                raise JournalError(f"{self.folder} is gone: {GONE}") from gone
        return self._writer

    def _run(self, batch: list[Seat]) -> None:
        """Commit a batch; sets each request's outcome or error.

        What only the thread that leads was told (Ctrl-C, a signal's handler that raises) is raised there, and the others go on.
        """
        written: list[tuple[Request, Position]] = []
        before = after = 0
        try:
            if self._closed:
                raise StoreClosed
            writer = self._open_writer()
            with writer.held():
                before = after = writer.position.sequence
                self.tenure += 1
                try:
                    self._group.gather(batch)
                    written = self._written(writer, requests_in(batch))
                finally:
                    after = writer.position.sequence
        except Exception as error:  # noqa: BLE001 - handed to its caller, who raises it
            fail(requests_in(batch), error)
        except BaseException as interrupted:  # noqa: BLE001 - handed to its caller, who raises it
            if before == after and len(batch) > 1:  # nobody has an answer that counts
                others = batch[1:]
                self._run(others)
                batch[1:] = others
            batch[0].error = interrupted
        if written:
            self._take_in(writer, written)

    def _written(self, writer: Journal, requests: list[Request]) -> list[tuple[Request, Position]]:
        """Decide and write; the requests that were written, each with the point after it."""
        try:
            return self._write_batch(writer, requests)
        except NoSpace as error:
            return self._without_room(writer, requests, error)

    def _without_room(self, writer: Journal, requests: list[Request], error: NoSpace) -> list[tuple[Request, Position]]:
        """The disk is full: changes that free room go alone, the others fail."""
        leaving = [request for request in requests if request.reserve and not request.stands]
        if len(leaving) == len(requests):
            raise error
        fail([request for request in requests if not request.reserve], error)
        try:
            return self._write_batch(writer, leaving)
        except BaseException as again:  # noqa: BLE001 - handed to its caller, who raises it
            fail(leaving, again)
            return []

    def _write_batch(self, writer: Journal, requests: list[Request]) -> list[tuple[Request, Position]]:
        """The one way to change: catch up, decide, write. Under the writer lock."""
        self._catch_up_to(writer)
        batch = Batch(self._state, self._encoder, self, writer.position)
        batch.decide(requests)
        if not batch.accepted:
            return []
        points = writer.append(
            [request.payload for request in batch.accepted],
            [request.outcome.time_ns for request in batch.accepted if request.outcome],
            reserve=batch.reserve,
        )
        return list(zip(batch.accepted, points, strict=True))

    def _take_in(self, writer: Journal, written: list[tuple[Request, Position]]) -> None:
        """Fold what was made durable. Other writers are at work again. What fails here is no failure of a commit."""
        self._own_commits += len(written)
        with self._state_lock:
            anew = self._half_way
            self._half_way = True
            try:
                for request, point in written if not anew else ():
                    if point.sequence > self._state.position.sequence:  # else a reader of ours saw it published and folded it before us
                        self._state.apply(request.changes, point.sequence)
                        self._state.stand_at(point)
                        self._state.note_redacted(request.outcome.events if request.outcome else [])
                self._reader.follow(writer)
                self._start_over_if_redacted()
            except Exception:  # noqa: BLE001 - they are durable, and told so; who looks next folds anew, and meets it again if it lasts
                return
            self._half_way = anew

    def _catch_up_to(self, writer: Journal) -> None:
        with self._state_lock:
            if self._half_way or writer.position.sequence > self._state.position.sequence:
                self._reader.follow(writer)
                self._replay()

    @contextmanager
    def exclusively(self) -> Iterator[Rows]:
        """A context that holds the writer lock, caught up: for what must not race a commit (the blob collector). Nobody commits inside."""
        if self._closed:
            raise StoreClosed
        with self._group.alone():
            writer = self._open_writer()
            with writer.held():
                self._catch_up_to(writer)
                yield self._state.rows

    def forget_from(self, sequence: int) -> None:
        """Remove the checkpoints of what follows that commit. Only inside ``exclusively``."""
        self._state.checkpoints.drop_from(sequence)

    def overwrite_payload(self, segment: int, offset: int, payload: bytes) -> None:
        """Replace the payload of the frame there by one of equal length (FORMAT.md §4); durable. Only inside ``exclusively``."""
        overwrite_payload(self._reader, segment, offset, payload)

    def has_damage(self) -> bool:
        """Whether records are lost, met now or when checkpoints were made: what seems unclaimed may be claimed by one of them."""
        return self._state.lost > 0 or any(not found.mended for found in self._reader.damage.values())


_open_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child every ledger is closed: it shares the parent's locks and must not drop them."""
    for ledger in list(_open_ledgers):
        ledger._state_lock = threading.RLock()
        ledger._group = Group(ledger._run)
        ledger._let_go()


os.register_at_fork(after_in_child=_after_fork)
