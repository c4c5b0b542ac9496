"""What fails beside a change, or beside a look, is not told as its failure, and leaves nobody with an old or a doubled state."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore import batch, disk, reading, state
from layerlog.eventstore.checkpoints import FANOUT, UNIT, Checkpoints
from layerlog.eventstore.errors import StaleVersion, UnknownFormat
from layerlog.eventstore.follow import Follower
from layerlog.eventstore.ledger import Ledger
from layerlog.eventstore.locks import FileLock
from layerlog.eventstore.position import BYTES
from layerlog.eventstore.runs import RunSet
from layerlog.eventstore.state import State
from tests.eventstore.ledgers import ENVELOPE, GENESIS, fold, make, put, rows_of
from tests.eventstore.test_interruptions import counting
from tests.eventstore.test_interruptions import put as count

if TYPE_CHECKING:
    from pathlib import Path

LEVEL = UNIT * FANOUT


def up_to(ledger: Ledger, sequence: int) -> None:
    while ledger.sequence < sequence:
        put(ledger, "filling", f"name-{ledger.sequence}")


def refuse(*_: object, **__: object) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_look_after_one_that_failed_sees_what_that_one_should_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make(tmp_path / "s") as mine, Ledger.open(str(tmp_path / "s"), fold) as other:
        put(other, "a", "x")
        with monkeypatch.context() as failing:
            failing.setattr(reading.Reader, "frames", refuse)
            with pytest.raises(OSError, match="files"):
                _ = mine.rows
        assert rows_of(mine) == rows_of(other)
        assert mine.sequence == 2


@pytest.mark.parametrize("failing_at", [1, 2, 3])
def test_a_look_that_failed_half_way_folds_no_commit_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_at: int) -> None:
    seen: list[object] = []

    def folding(rows: Any, event: Any, meta: Any) -> Any:
        seen.append(event)
        if len(seen) == failing_at:
            raise MemoryError
        return counting(rows, event, meta)

    with Ledger.create(str(tmp_path / "s"), GENESIS, fold=counting, envelope=ENVELOPE) as mine, Ledger.open(mine.folder, counting) as other:
        for name in "xyz":
            count(other, "a", name)
        monkeypatch.setattr(mine._state, "fold", folding)
        with pytest.raises(MemoryError):
            _ = mine.rows
        assert rows_of(mine) == rows_of(other)
        count(mine, "a", "w")
        assert rows_of(mine)[b"layer\0a"]["times"] == 4


def test_a_change_that_is_durable_is_told_so_whatever_happens_to_the_state_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.create(str(tmp_path / "s"), GENESIS, fold=counting, envelope=ENVELOPE) as mine:
        with monkeypatch.context() as failing:
            failing.setattr(State, "stand_at", lambda *_: (_ for _ in ()).throw(MemoryError()))
            assert count(mine, "a", "x") == 2
        assert rows_of(mine)[b"layer\0a"]["times"] == 1
        assert count(mine, "a", "y") == 3
        assert rows_of(mine)[b"layer\0a"]["times"] == 2


def test_too_many_open_files_at_a_checkpoint_fail_no_change_and_no_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make(tmp_path / "s") as mine, Ledger.open(str(tmp_path / "s"), fold) as other:
        up_to(mine, LEVEL - 1)
        with monkeypatch.context() as failing:
            failing.setattr(Checkpoints, "_is_of_journal", refuse)
            assert put(mine, "a", "x") == LEVEL
            assert other.sequence == LEVEL
            assert mine._state.base_sequence == 0
        up_to(mine, 2 * LEVEL)
        assert mine._state.base_sequence == 2 * LEVEL, "made later"
        assert rows_of(mine) == rows_of(other)


def test_an_old_plan_is_refused_also_while_a_checkpoint_is_settled_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread does that; the two may meet at any point."""
    checked = batch.Batch._check_expected

    def settled(state: State) -> None:
        assert state.base_sequence < LEVEL
        state.flush(None)
        assert state.base_sequence == LEVEL

    class AtRead:
        """Rows, base or touched rows of a state, with the settling before the look number *left* at any of them."""

        def __init__(self, state: State, left: int) -> None:
            self.state, self.left = state, left

        def __getattr__(self, name: str) -> Any:
            self.left -= 1
            if self.left == 0:
                settled(self.state)
            return getattr(self.state, name)

    def check(self: Any, changes: Any, expected: int) -> None:
        real, self._state = self._state, AtRead(self._state, look)
        try:
            checked(self, changes, expected)
        finally:
            self._state = real

    for look in (1, 2, 3, 4):
        with make(tmp_path / str(look), 3) as mine:
            planned = mine.sequence
            put(mine, "item-1", "changed")
            up_to(mine, LEVEL - 1)
            with monkeypatch.context() as patch:
                patch.setattr(State, "flush", lambda *_, **__: None)
                up_to(mine, LEVEL)
            with monkeypatch.context() as patch:
                patch.setattr(batch.Batch, "_check_expected", check)
                with pytest.raises(StaleVersion):
                    put(mine, "item-1", "stale", expected=planned)
            put(mine, "item-2", "as planned", expected=planned)


def test_a_checkpoint_that_another_thread_just_settled_on_fails_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush, told = State.flush, []

    def second(self: State, *arguments: Any, **options: Any) -> None:
        if self._units and self._units[-1].end.sequence == LEVEL:
            flush(self, *arguments, **options)  # the other thread's
        told.append(self._units)
        flush(self, *arguments, **options)

    with make(tmp_path / "s") as mine:
        up_to(mine, LEVEL - 1)
        monkeypatch.setattr(State, "flush", second)
        assert put(mine, "a", "x") == LEVEL
        assert told[-1] == []


def test_rows_that_are_cached_may_be_forgotten_by_another_thread_at_any_time(tmp_path: Path) -> None:
    class Emptied(dict[bytes, Any]):
        """A second look finds nothing any more."""

        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            self.clear()
            return found

    with make(tmp_path / "s") as mine:
        up_to(mine, LEVEL)
    with Ledger.open(str(tmp_path / "s"), fold) as mine:
        base = mine._state.recent.base
        assert isinstance(base, RunSet)
        wanted = base.get(b"layer\0filling")
        base._rows = Emptied(base._rows)
        assert base.get(b"layer\0filling") == wanted is not None


def test_who_makes_the_file_of_the_position_leaves_what_another_process_published_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find no file; the slower one gives it its room after the quicker one has written."""
    make(tmp_path / "s").close()
    path = tmp_path / "s" / "position"
    published = path.read_bytes()[:BYTES]
    path.unlink()
    real = disk.open_to_write

    def quicker(name: str, *arguments: Any) -> int:
        fd = real(name, *arguments)
        if name == str(path):
            os.pwrite(fd, published, 0)
        return fd

    monkeypatch.setattr(disk, "open_to_write", quicker)
    with FileLock(str(tmp_path / "s" / "lock")), Ledger.open(str(tmp_path / "s"), fold) as mine:
        assert mine._reader.trusted, "the quicker one is at work, and says up to where it came"
        assert path.read_bytes()[:BYTES] == published


def test_an_open_that_fails_leaves_no_file_open(tmp_path: Path) -> None:
    """A program that tries again and again would come to have too many."""

    def unknown(rows: Any, event: Any, meta: Any) -> Any:
        raise UnknownFormat(what="event", found="newer", known="older")

    make(tmp_path / "s", 2).close()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(UnknownFormat):
            Ledger.open(str(tmp_path / "s"), unknown)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_follower_whose_look_failed_leaves_no_commit_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make(tmp_path / "s") as mine, Follower(str(tmp_path / "s"), 1) as follower:
        for number in range(3):
            put(mine, "a", f"name-{number}")
        real = state.Commit.__init__
        asked: list[object] = []

        def failing(self: state.Commit, frame: Any) -> None:
            asked.append(frame)
            if len(asked) == 3:
                raise MemoryError
            real(self, frame)

        monkeypatch.setattr(state.Commit, "__init__", failing)
        with pytest.raises(MemoryError):
            follower.new()
        assert [commit.sequence for commit in follower.new()] == [2, 3, 4]


def test_a_follower_that_is_left_in_the_middle_says_what_it_gave_out(tmp_path: Path) -> None:
    with make(tmp_path / "s", 4) as mine, Follower(str(tmp_path / "s"), 1) as follower:
        for commit in follower:
            if commit.sequence == 3:
                break
        assert follower.after == 3
        assert [commit.sequence for commit in follower.new()] == [4, 5]
        put(mine, "a", "x")
        assert next(iter(follower)).sequence == follower.after == 6


def test_a_follower_whose_next_segment_is_just_carried_away_closes_its_own_files_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path / "s") as mine:
        follower = Follower(str(tmp_path / "s"), 1)
        while mine._reader.position.segment == 1:
            put(mine, "a", "x" * 9000)
        _, held = follower._held
        stand = Follower._stand

        def moved(self: Follower, segment: int) -> None:
            def gone(*_: object) -> int:
                raise FileNotFoundError(errno.ENOENT, "carried away")

            with monkeypatch.context() as moving:
                moving.setattr(disk, "open_to_read", gone)
                stand(self, segment)

        with monkeypatch.context() as moving:
            moving.setattr(Follower, "_stand", moved)
            assert follower.new()
        other = os.open(str(tmp_path / "other"), os.O_CREAT | os.O_RDWR)
        os.dup2(other, held)  # the number is somebody else's now
        follower.close()
        os.close(held)
        if other != held:
            os.close(other)
