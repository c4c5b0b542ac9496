"""Deciding and committing: once, in order, on the newest state, or not at all."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore.errors import CommitUnknown, ReadOnlyStore, RetryMismatch, StaleVersion, StoreClosed, UnknownFormat
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import ENVELOPE, deleted, fold, make, named, put, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.eventstore.rows import Rows


def test_commit_returns_its_sequence_time_and_events(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        done = ledger.commit(lambda rows: [named("a", "x"), named("b", "y")], envelope=ENVELOPE)
        assert (done.sequence, done.repeated, [event["id"] for event in done.events]) == (2, False, ["a", "b"])
        found = ledger.commit_at(2)
        assert (found.time_ns, found.events, found.envelope) == (done.time_ns, done.events, ENVELOPE)


def test_no_events_commit_nothing(tmp_path: Path) -> None:
    with make(tmp_path / "s", 3) as ledger:
        assert ledger.commit(lambda rows: [], envelope=ENVELOPE).sequence == 4
        assert ledger.sequence == 4


def test_decision_that_raises_fails_only_its_caller(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:

        def refuse(rows: Rows) -> list[Any]:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            ledger.commit(refuse, envelope=ENVELOPE)
        assert put(ledger, "a", "x") == 2


def test_guard_stops_a_commit_before_anything_is_written(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:

        def guard() -> None:
            raise LookupError("blob")

        with pytest.raises(LookupError):
            put(ledger, "a", "x", guard=guard)
        assert ledger.sequence == 1


def test_events_of_one_commit_see_each_other(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        ledger.commit(lambda rows: [named("a", "x"), deleted("a"), named("a", "y")], envelope=ENVELOPE)
        assert set(rows_of(ledger)) == {b"layer\0a", b"name\0y"}


def test_times_never_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make(tmp_path / "s", 2) as ledger:
        last = ledger.commit_at(3).time_ns
        monkeypatch.setattr("time.time_ns", lambda: 5)
        assert ledger.commit(lambda rows: [named("a", "b")], envelope=ENVELOPE).time_ns == last + 1


def test_retried_commit_happens_once(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        first = ledger.commit(lambda rows: [named("a", "x")], envelope=ENVELOPE, key="k", fingerprint="f")
        again = ledger.commit(lambda rows: [named("b", "y")], envelope=ENVELOPE, key="k", fingerprint="f")
        assert again.repeated
        assert (again.sequence, again.events) == (first.sequence, first.events)
        with pytest.raises(RetryMismatch):
            ledger.commit(lambda rows: [named("b", "y")], envelope=ENVELOPE, key="k", fingerprint="other")
    with make(tmp_path / "s", 200) as ledger:
        assert ledger.commit(lambda rows: [], envelope=ENVELOPE, key="k", fingerprint="f").sequence == first.sequence


def test_stale_plan_is_refused_when_what_it_touches_has_changed(tmp_path: Path) -> None:
    with make(tmp_path / "s", 300) as ledger:
        planned = ledger.sequence
        put(ledger, "other", "o")
        put(ledger, "item-7", "name-7", expected=planned)
        with pytest.raises(StaleVersion):
            put(ledger, "item-7", "again", expected=planned)
        with pytest.raises(StaleVersion):
            put(ledger, "item-290", "again", expected=200)  # long ago, when it was not there


def test_stale_plan_is_judged_from_checkpoints_too(tmp_path: Path) -> None:
    make(tmp_path / "s", 300).close()
    with make(tmp_path / "s") as ledger:
        with pytest.raises(StaleVersion):
            put(ledger, "item-100", "again", expected=50)
        put(ledger, "item-100", "again", expected=150)


def test_other_ledger_sees_a_commit_at_once(tmp_path: Path) -> None:
    with make(tmp_path / "s") as one, make(tmp_path / "s") as two:
        for number in range(200):
            put((one, two)[number % 2], f"i{number}", f"n{number}")
            assert (two, one)[number % 2].rows.get(f"name\0n{number}".encode()) == f"i{number}"
        assert rows_of(one) == rows_of(two)


def test_reading_stands_still(tmp_path: Path) -> None:
    with make(tmp_path / "s", 5) as ledger, make(tmp_path / "s") as other:
        with ledger.reading() as rows:
            before = list(rows.scan(b""))
            put(other, "new", "n")
            with ledger.reading() as inner:
                assert list(inner.scan(b"")) == before, "a reading within a reading does not move it either"
            assert ledger.sequence == other.sequence - 1
            assert list(ledger.rows.scan(b"")) == before
        assert ledger.rows.get(b"name\0n") == "new"


def test_exclusive_holder_sees_the_newest_and_keeps_others_out(tmp_path: Path) -> None:
    with make(tmp_path / "s") as one, make(tmp_path / "s") as two:
        put(two, "a", "x")
        waiting = threading.Thread(target=put, args=(two, "b", "y"))
        same = threading.Thread(target=put, args=(one, "c", "z"))
        with one.exclusively() as rows:
            assert rows.get(b"name\0x") == "a"
            waiting.start()
            same.start()
            waiting.join(0.1)
            assert waiting.is_alive()
            assert same.is_alive()
            assert rows.get(b"name\0y") is None
        waiting.join(10)
        same.join(10)
        assert one.sequence == 4


def test_threads_lose_nothing_and_share_batches(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        sequences: list[int] = []

        def work(worker: int) -> None:
            for number in range(100):
                done = put(ledger, f"w{worker}", f"w{worker}-{number}")
                assert ledger.rows.get(f"name\0w{worker}-{number}".encode()) == f"w{worker}"
                sequences.append(done)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(sequences) == list(range(2, 802))
        assert max(commit.frame.batch_place for commit in ledger.history()) > 0
        assert list(ledger.verify()) == []


def test_failing_decisions_in_a_batch_hurt_nobody_else(tmp_path: Path) -> None:
    """Each thread adds to a counter; every third attempt raises. The sum is what was acknowledged."""

    def fold_count(rows: Rows, event: Any, meta: Any) -> Any:
        if event["type"] == "NamesSet":
            yield b"count", (rows.get(b"count") or 0) + 1

    Ledger.create(str(tmp_path / "s"), {"type": "StoreCreated"}, fold=fold_count, envelope={}).close()
    with Ledger(str(tmp_path / "s"), fold=fold_count) as ledger:
        done = []

        def work() -> None:
            for number in range(60):

                def decide(rows: Rows, number: int = number) -> list[Any]:
                    if number % 3 == 0:
                        raise KeyError(number)
                    return [named("x", str(rows.get(b"count")))]

                try:
                    done.append(ledger.commit(decide, envelope={}).sequence)
                except KeyError:
                    pass

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.rows.get(b"count") == len(done) == 6 * 40
        seen = [event["names"] for commit in ledger.history(1) for event in commit.events]
        assert seen == [[str(number or None)] for number in range(240)], "each decision saw every commit before it"


def test_forked_child_must_open_anew_and_drops_no_lock(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        put(ledger, "a", "x")
        with ledger.exclusively():
            pid = os.fork()
            if not pid:
                try:
                    ledger.sequence  # noqa: B018
                except StoreClosed:
                    os._exit(7)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            other = make(tmp_path / "s")
            assert not other._open_writer()._lock.acquire(wait=False)  # type: ignore[union-attr]
            other.close()
        assert put(ledger, "b", "y") == 3


def test_closed_and_read_only_ledgers_say_so(tmp_path: Path) -> None:
    ledger = make(tmp_path / "s")
    ledger.close()
    with pytest.raises(StoreClosed):
        put(ledger, "a", "x")
    with pytest.raises(StoreClosed):
        list(ledger.history())
    with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as reader, pytest.raises(ReadOnlyStore):
        put(reader, "a", "x")


def test_unknown_points_of_history_are_refused(tmp_path: Path) -> None:
    with make(tmp_path / "s", 2) as ledger:
        for asked in (-1, 4):
            with pytest.raises(CommitUnknown):
                ledger.at(asked)
        with pytest.raises(CommitUnknown):
            ledger.commit_at(9)


def test_unknown_event_is_neither_written_nor_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog.eventstore import codec

    with make(tmp_path / "s", 2) as ledger:
        with pytest.raises(UnknownFormat):
            ledger.commit(lambda rows: [{"type": "Nonsense"}], envelope=ENVELOPE)
        monkeypatch.setitem(codec.VERSIONS, "Future", 1)
        ledger.commit(lambda rows: [{"type": "Future"}], envelope=ENVELOPE)
    monkeypatch.undo()
    with pytest.raises(UnknownFormat):
        Ledger(str(tmp_path / "s"), fold=fold)


def test_a_commit_that_a_reader_of_the_same_process_folds_first_is_folded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between "published" and "folded by who wrote it" another thread may look; checkpoints count what was folded."""
    with make(tmp_path / "s") as ledger:
        writer = ledger._open_writer()
        real = writer.append

        def append_and_look(*arguments: Any, **options: Any) -> Any:
            points = real(*arguments, **options)
            ledger.catch_up()
            return points

        monkeypatch.setattr(writer, "append", append_and_look)
        for number in range(140):
            put(ledger, f"l{number}", f"n{number}")
        expected = rows_of(ledger)
    with make(tmp_path / "s") as ledger:
        assert rows_of(ledger) == expected
        assert not ledger.has_damage()


def test_others_commit_before_the_last_writer_has_folded_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is given up as soon as the commit is durable; whoever folds it first, everybody folds all of it, in order and once."""
    with make(tmp_path / "s") as ledger, make(tmp_path / "s") as other:
        real = ledger._take_in

        def take_in_late(*arguments: Any) -> None:
            put(other, "other", f"other-{other.sequence}")
            if other.sequence % 3:
                ledger.catch_up()
            real(*arguments)

        monkeypatch.setattr(ledger, "_take_in", take_in_late)
        for number in range(140):
            done = put(ledger, f"l{number}", f"n{number}")
            assert ledger.sequence == done + 1
        assert rows_of(ledger) == rows_of(other)
        expected = rows_of(other)
    with make(tmp_path / "s") as ledger:
        assert rows_of(ledger) == expected
        assert len(list(ledger.history())) == ledger.sequence == 281
        assert not ledger.has_damage()
