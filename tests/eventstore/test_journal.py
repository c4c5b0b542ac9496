"""The journal on disk: made, opened, appended to, in segments, published."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore import disk, segments
from layerlog.eventstore.errors import DiskError, NoSpace, OutcomeUnknown, ReadOnlyStore
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import ENVELOPE, deleted, first_segment, fold, make, named, put, rows_of

if TYPE_CHECKING:
    from pathlib import Path


class Counting(disk.Seam):
    """A seam that counts and can fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.fail_fdatasync = 0

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self.calls.append(("pwrite", len(data)))
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        self.calls.append(("fdatasync", 0))
        if self.fail_fdatasync:
            self.fail_fdatasync -= 1
            raise OSError(5, "made to fail")
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self.calls.append(("fsync", 0))
        os.fsync(fd)

    def rename(self, old: str, new: str) -> None:
        self.calls.append(("rename", 0))
        os.rename(old, new)


@pytest.fixture
def seam(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()
    monkeypatch.setattr(disk, "seam", counting)
    return counting


def test_an_empty_store_is_small_and_made_with_few_flushes(tmp_path: Path, seam: Counting) -> None:
    """3 to 8 ms where flushes are quick (benchmarks/journal.py measures it); on a busy btrfs each of them takes ten times that."""
    make(tmp_path / "store").close()
    used = sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(tmp_path / "store") for name in names)
    assert used <= 300 << 10
    assert sum(name in ("fsync", "fdatasync") for name, _ in seam.calls) <= 9
    assert sum(size for _, size in seam.calls) < 140_000


def test_change_costs_one_fdatasync_and_less_than_1500_bytes_whatever_the_size(tmp_path: Path, seam: Counting) -> None:
    with make(tmp_path / "s") as ledger:
        for size in (1, 100):
            for number in range(size):
                put(ledger, f"{number:064x}", f"docker.io/library/name-{number}:latest")
            seam.calls.clear()
            put(ledger, "f" * 64, f"docker.io/library/alpine:{size}")
            assert [call for call, _ in seam.calls] == ["pwrite", "fdatasync", "pwrite"], "frame, sync, position"
            assert seam.calls[0][1] < 1500


def test_batch_of_threads_shares_one_fdatasync(tmp_path: Path, seam: Counting) -> None:
    with make(tmp_path / "s") as ledger:
        journal = Journal.open(ledger.folder)
        seam.calls.clear()
        journal.begin()
        journal.append([b'{"envelope":{},"events":[]}'] * 8, [time.time_ns()] * 8)
        journal.end()
        journal.close()
        assert [call for call, _ in seam.calls] == ["pwrite", "fdatasync", "pwrite"]
        assert ledger.sequence == 9


def test_segments_grow_and_chain(tmp_path: Path) -> None:
    with make(tmp_path / "s") as ledger:
        text = "x" * 1000
        for number in range(400):
            put(ledger, f"item-{number}", text)
        listing = segments.listing(os.path.join(ledger.folder, "journal"))
        assert [number for number, _, _ in listing] == [1, 2, 3][: len(listing)]
        assert len(listing) >= 2
        assert [commit.sequence for commit in ledger.history()] == list(range(1, 402))
        assert [commit.sequence for commit in ledger.history(reverse=True)] == list(range(401, 0, -1))
        assert list(ledger.verify()) == []


def test_history_reads_any_range_in_both_directions(tmp_path: Path) -> None:
    with make(tmp_path / "s", 600) as ledger:
        for after, until in ((0, None), (0, 1), (100, 103), (599, None), (601, None), (255, 300)):
            expected = list(range(after + 1, (until or 601) + 1))
            assert [commit.sequence for commit in ledger.history(after, until)] == expected
            assert [commit.sequence for commit in ledger.history(after, until, reverse=True)] == expected[::-1]


def test_time_leads_to_the_last_commit_before_it(tmp_path: Path) -> None:
    with make(tmp_path / "s", 500) as ledger:
        commits = list(ledger.history())
        for commit in commits[::37]:
            assert ledger.sequence_at(commit.time_ns) == commit.sequence
            assert ledger.sequence_at(commit.time_ns - 1) == commit.sequence - 1
        assert ledger.sequence_at(time.time_ns()) == 501
        assert ledger.sequence_at(0) == 0


def test_readers_stop_at_the_published_position(tmp_path: Path) -> None:
    """A commit that is not durable, or not said to be, is seen by nobody."""
    with make(tmp_path / "s", 3) as ledger:
        journal = Journal.open(ledger.folder)
        journal.begin()
        journal._publish = lambda position: None  # type: ignore[method-assign]
        journal.append([b'{"envelope":{},"events":[]}'], [time.time_ns()])
        assert ledger.sequence == 4
        assert Journal.open(ledger.folder, read_only=True).position.sequence == 4
        journal.end()
        journal.close()
        put(ledger, "next", "n")  # the next writer settles what it finds beyond the position, then goes on
        assert ledger.sequence == 6


def test_missing_position_file_costs_nothing_but_time(tmp_path: Path) -> None:
    with make(tmp_path / "s", 20) as ledger:
        before = rows_of(ledger)
    os.unlink(tmp_path / "s" / "position")
    with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as ledger:
        assert rows_of(ledger) == before
    assert not (tmp_path / "s" / "position").exists(), "a read-only open writes nothing"
    with Ledger(str(tmp_path / "s"), fold=fold) as ledger:
        assert rows_of(ledger) == before
        assert put(ledger, "more", "m") == 22


def test_position_of_another_boot_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog.eventstore import position

    with make(tmp_path / "s", 5) as ledger:
        before = rows_of(ledger)
    monkeypatch.setattr(position, "_boot_id", bytes(range(16)))
    assert not Journal.open(str(tmp_path / "s"), read_only=True).trusted
    with Ledger(str(tmp_path / "s"), fold=fold) as ledger:
        assert rows_of(ledger) == before
        assert put(ledger, "more", "m") == 7


def test_failed_fsync_is_unknown_and_the_next_writer_leaves_the_segment(tmp_path: Path, seam: Counting) -> None:
    with make(tmp_path / "s", 3) as ledger, make(tmp_path / "s") as other:
        assert other.sequence == 4
        seam.fail_fdatasync = 1
        with pytest.raises(OutcomeUnknown) as raised:
            put(ledger, "doubtful", "d", key="once", fingerprint="f")
        assert raised.value.sequence == 5  # type: ignore[attr-defined]
        assert ledger.sequence == other.sequence == 4, "nobody sees it"
        assert put(other, "after", "a") == 5, "another process goes on from the last durable commit"
        assert put(ledger, "doubtful", "d", key="once", fingerprint="f") == 6, "the client key settles it"
        assert len(segments.listing(os.path.join(ledger.folder, "journal"))) == 2
        assert [commit.sequence for commit in ledger.history()] == [1, 2, 3, 4, 5, 6]
        assert list(ledger.verify()) == []
        expected = rows_of(ledger)
    with make(tmp_path / "s") as ledger:
        assert rows_of(ledger) == expected


def test_failed_fsync_after_which_the_machine_restarts(tmp_path: Path, seam: Counting) -> None:
    """Without a next writer the bytes may be on the disk or not: both are a whole store."""
    with make(tmp_path / "s", 3) as ledger:
        seam.fail_fdatasync = 1
        with pytest.raises(OutcomeUnknown):
            put(ledger, "doubtful", "d")
    os.unlink(tmp_path / "s" / "position")
    with make(tmp_path / "s") as ledger:
        assert ledger.sequence in (4, 5)
        assert put(ledger, "after", "a") in (5, 6)


def _fill_up(ledger: Ledger) -> int:
    """Commit until there is no space; how often that went well."""
    for number in range(10000):
        try:
            put(ledger, f"item-{number}", "n" * 500)
        except NoSpace:
            return number
    raise AssertionError("never full")


def test_full_disk_refuses_changes_but_not_deletes(tmp_path: Path, seam: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes stop where the reserve begins; deletes go on into it."""
    with make(tmp_path / "s") as ledger:

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(segments, "make", full)
        made = _fill_up(ledger)
        for number in range(20):
            event = deleted(f"item-{number}")
            ledger.commit(lambda rows: [event], envelope=ENVELOPE, reserve=True)  # noqa: B023 - run before the next
        with pytest.raises(NoSpace):
            put(ledger, "another", "n" * 500)
        monkeypatch.undo()
        put(ledger, "another", "n" * 500)
        assert ledger.sequence == 1 + made + 21
        assert list(ledger.verify()) == []


def test_mixed_batch_on_a_full_disk_keeps_its_deletes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog.eventstore.requests import Request

    with make(tmp_path / "s", 2) as ledger:
        writer = ledger._open_writer()
        monkeypatch.setattr(
            writer, "_make_room", lambda needed, reserve: None if reserve else (_ for _ in ()).throw(NoSpace(needed=needed))
        )
        adds = Request(lambda rows: [named("x", "y")], ENVELOPE, None, None, None, False, None)
        deletes = Request(lambda rows: [deleted("item-0")], ENVELOPE, None, None, None, True, None)
        ledger._run([adds, deletes])
        assert isinstance(adds.error, NoSpace)
        assert deletes.error is None
        assert b"layer\0item-0" not in rows_of(ledger)
        assert b"layer\0x" not in rows_of(ledger)


def test_commit_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    with make(tmp_path / "s", 2) as ledger:
        put(ledger, "big", "n" * (10 << 20))
        put(ledger, "small", "s")
        assert [commit.sequence for commit in ledger.history()] == [1, 2, 3, 4, 5]


def test_read_only_journal_cannot_write(tmp_path: Path) -> None:
    make(tmp_path / "s", 2).close()
    journal = Journal.open(str(tmp_path / "s"), read_only=True)
    with pytest.raises(ReadOnlyStore):
        journal.begin()
    journal.close()


def test_dead_writer_between_segment_and_publication(tmp_path: Path) -> None:
    """The next segment is there, the position still says "opening": it is entered, not made twice."""
    with make(tmp_path / "s", 3) as ledger:
        journal = Journal.open(ledger.folder)
        journal.begin()
        enter = journal._enter
        journal._enter = lambda segment: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            journal._open_segment(segments.WHY_FULL, 0)
        journal._enter = enter  # type: ignore[method-assign]
        journal.end()
        journal.close()
        assert put(ledger, "next", "n") == 5
        assert len(segments.listing(os.path.join(ledger.folder, "journal"))) == 2
        assert [commit.sequence for commit in ledger.history()] == [1, 2, 3, 4, 5]


class FolderNotSynced(disk.Seam):
    """The first fsync of the folder of segments fails with *number*."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fsync(self, fd: int) -> None:
        number, here = self.number, os.readlink(f"/proc/self/fd/{fd}")
        if number and here.endswith("/journal"):
            self.number = 0
            raise OSError(number, os.strerror(number))
        os.fsync(fd)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_follows_a_segment_whose_name_could_not_be_synced_is_there_after_a_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The new segment has its name and says where the one before ends: nothing may be acknowledged behind that end."""
    with make(tmp_path / "s") as ledger:
        put(ledger, "large", "n" * 60_000)
        monkeypatch.setattr(disk, "seam", FolderNotSynced(number))
        with pytest.raises(DiskError):
            put(ledger, "another", "n" * 60_000)
        assert len(segments.listing(os.path.join(ledger.folder, "journal"))) == 2
        for name in ("small", "next"):
            put(ledger, name, "s")  # has room in the segment before
        expected = rows_of(ledger)
        assert list(ledger.verify()) == []
    os.unlink(tmp_path / "s" / "position")
    with make(tmp_path / "s") as ledger:
        assert rows_of(ledger) == expected
        assert list(ledger.verify()) == []


def test_what_follows_an_interrupt_between_segment_and_publication_is_there_after_a_boot(tmp_path: Path) -> None:
    """Ctrl-C in a program that goes on with the same store."""
    with make(tmp_path / "s") as ledger:
        put(ledger, "large", "n" * 60_000)
        writer = ledger._open_writer()
        enter = writer._enter
        writer._enter = lambda segment: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            put(ledger, "another", "n" * 60_000)
        writer._enter = enter  # type: ignore[method-assign]
        put(ledger, "small", "s")
        expected = rows_of(ledger)
    os.unlink(tmp_path / "s" / "position")
    with make(tmp_path / "s") as ledger:
        assert rows_of(ledger) == expected


def test_two_creators_make_one_journal(tmp_path: Path) -> None:
    first = make(tmp_path / "s")
    second = make(tmp_path / "s")
    assert put(first, "a", "b") == 2
    assert second.sequence == 2
    first.close()
    second.close()
    assert os.path.exists(first_segment(tmp_path / "s"))
