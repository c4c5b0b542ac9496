"""Requests that share a batch: each is decided on what those before it leave, and stands or falls with them.

Chance seldom makes a batch of more than one; here threads queue up behind a ledger that is held, and then go together.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerlog.eventstore import disk
from layerlog.eventstore.errors import NoSpace, OutcomeUnknown, RecordTooLarge, RetryMismatch, StaleVersion
from layerlog.eventstore.frame import PAYLOAD_BYTES_MAX
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.requests import Committed
from tests.eventstore.ledgers import ENVELOPE, deleted, make, named, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.eventstore.ledger import Ledger

Call = dict[str, Any]
"""What one caller passes to ``commit``."""


def together(ledger: Ledger, calls: list[Call]) -> list[Committed | BaseException]:
    """Commit all of them in one batch, in that order; what each of them was told."""
    told: list[Committed | BaseException] = [RuntimeError("never answered")] * len(calls)

    def caller(place: int) -> None:
        try:
            told[place] = ledger.commit(envelope=ENVELOPE, **calls[place])
        except Exception as error:  # noqa: BLE001 - looked at by the caller
            told[place] = error

    threads = [threading.Thread(target=caller, args=(place,)) for place in range(len(calls))]
    before = ledger.tenure
    with ledger.exclusively():
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(ledger._group._queue) < number:
                time.sleep(0.0002)
    for thread in threads:
        thread.join()
    assert ledger.tenure == before + 1, "they went as one batch"
    return told


def naming(item: str, *names: str, **more: Any) -> Call:
    """A call that gives *item* those names, unless it has them."""

    def decide(rows: Any) -> list[Any]:
        old = rows.get(b"layer\0" + item.encode())
        for name in names:
            if rows.get(b"name\0" + name.encode()) not in (None, item):
                raise KeyError(name)
        return [] if old is not None and old["names"] == list(names) else [named(item, *names)]

    return {"decide": decide, **more}


def leaving(item: str, **more: Any) -> Call:
    """A call that deletes *item* if it is there, for which the reserve is."""
    return {"decide": lambda rows: [deleted(item)] if rows.get(b"layer\0" + item.encode()) else [], "reserve": True, **more}


def refuse_flushes(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    class Refusing(disk.Seam):
        def fdatasync(self, fd: int) -> None:
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(disk, "seam", Refusing())


def test_a_plan_is_old_when_an_earlier_one_of_the_batch_changed_its_row(tmp_path: Path) -> None:
    with make(tmp_path / "s", 5) as ledger:
        planned = ledger.sequence
        first, second, other = together(
            ledger,
            [
                naming("item-3", "by-1", expected=planned),
                naming("item-3", "by-2", expected=planned),
                naming("item-4", "by-3", expected=planned),
            ],
        )
        assert isinstance(first, Committed)
        assert isinstance(second, StaleVersion)
        assert second.data["found"] == first.sequence
        assert isinstance(other, Committed), "another row"
        assert rows_of(ledger)[b"layer\0item-3"]["names"] == ["by-1"]


def test_a_key_repeated_in_the_batch_is_one_change(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        first, again, other = together(
            ledger,
            [
                naming("a", "x", key="k", fingerprint="f"),
                naming("a", "x", key="k", fingerprint="f"),
                naming("b", "y", key="k", fingerprint="g"),
            ],
        )
        assert isinstance(first, Committed)
        assert isinstance(again, Committed)
        assert (again.sequence, again.repeated, again.events, again.time_ns) == (first.sequence, True, first.events, first.time_ns)
        assert isinstance(other, RetryMismatch)
        assert ledger.sequence == 2


FOLLOWING = {
    "as it is": naming("a", "x"),
    "again": naming("a", "x", key="k", fingerprint="f"),
    "refused": naming("b", "x"),
}


@pytest.mark.parametrize("following", FOLLOWING.values(), ids=FOLLOWING)
def test_who_was_decided_on_a_change_that_fails_is_told_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, following: Call
) -> None:
    """A caller must not be told "it is so already" of what the disk then refused."""
    with make(tmp_path / "s", 1) as ledger:
        refuse_flushes(monkeypatch, 5)
        first, second = together(ledger, [naming("a", "x", key="k", fingerprint="f"), following])
        assert isinstance(first, OutcomeUnknown)
        assert isinstance(second, OutcomeUnknown)


def test_who_was_decided_before_the_change_that_fails_keeps_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make(tmp_path / "s", 1) as ledger:
        refuse_flushes(monkeypatch, 5)
        there, refused, stale, failed = together(
            ledger, [naming("item-0", "name-0"), naming("b", "name-0"), naming("item-0", "new", expected=1), naming("c", "z")]
        )
        assert isinstance(there, Committed)
        assert there.sequence == 2
        assert isinstance(refused, KeyError)
        assert isinstance(stale, StaleVersion)
        assert isinstance(failed, OutcomeUnknown)


def test_one_that_is_too_large_fails_nobody_else(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        first, large, last = together(ledger, [naming("a", "x"), naming("b", "n" * (PAYLOAD_BYTES_MAX + 1)), naming("c", "y")])
        assert isinstance(first, Committed)
        assert isinstance(large, RecordTooLarge)
        assert isinstance(last, Committed)
        assert last.sequence == ledger.sequence == 3


def test_on_a_full_disk_those_that_free_room_are_decided_anew_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def append(journal: Journal, payloads: list[bytes], times_ns: list[int], *, reserve: bool = False) -> Any:
        if not reserve:
            raise NoSpace(needed=1)
        return real(journal, payloads, times_ns, reserve=reserve)

    real = Journal.append
    with make(tmp_path / "s", 2) as ledger:
        monkeypatch.setattr(Journal, "append", append)
        there, new, renamed, gone, gone_new = together(
            ledger, [naming("item-1", "name-1"), naming("a", "x"), naming("a", "y", reserve=True), leaving("item-0"), leaving("a")]
        )
        assert isinstance(there, Committed)
        assert isinstance(new, NoSpace)
        assert isinstance(renamed, Committed), "decided anew: now it makes the thing"
        assert isinstance(gone, Committed)
        assert isinstance(gone_new, Committed)
        assert ledger.sequence == 6
        assert rows_of(ledger).keys() == {b"layer\0item-1", b"name\0name-1"}


CALLS = st.lists(
    st.one_of(
        st.builds(
            naming,
            st.sampled_from(("item-0", "item-1", "b", "c")),
            st.sampled_from(("name-0", "name-1", "x", "y")),
            expected=st.sampled_from((None, None, 1, 2, 3)),
            key=st.sampled_from((None, None, "k", "l")),
            fingerprint=st.sampled_from(("f", "g")),
        ),
        st.builds(leaving, st.sampled_from(("item-0", "b")), expected=st.sampled_from((None, 2, 3))),
    ),
    min_size=1,
    max_size=7,
)


@settings(deadline=None)  # a disk that others use may take its time
@given(calls=CALLS)
def test_a_batch_is_its_requests_one_after_another(tmp_path_factory: pytest.TempPathFactory, calls: list[Call]) -> None:
    folder = tmp_path_factory.mktemp("batch")
    with make(folder / "one", 2) as one, make(folder / "two", 2) as two:
        assert [outline(told) for told in together(one, calls)] == [outline(alone(two, call)) for call in calls]
        assert rows_of(one) == rows_of(two)
        assert [commit.events for commit in one.history()] == [commit.events for commit in two.history()]


def alone(ledger: Ledger, call: Call) -> Committed | BaseException:
    try:
        return ledger.commit(envelope=ENVELOPE, **call)
    except Exception as error:  # noqa: BLE001 - compared with the other's
        return error


def outline(told: Committed | BaseException) -> tuple[Any, ...]:
    """All of an answer that does not tell the time."""
    if isinstance(told, Committed):
        return told.sequence, told.repeated, told.events
    return type(told), str(told)
