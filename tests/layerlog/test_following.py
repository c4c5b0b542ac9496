"""Followers and hooks: every commit, once, in order."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.eventstore.errors import DuplicateID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerlog.history import Commit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as opened:
        yield opened


WRITER = """
import sys
from layerlog import Store
from layerlog.eventstore.errors import DuplicateID
with Store(sys.argv[1], sys.argv[2], "vfs") as store:
    for number in range(int(sys.argv[3])):
        store.create_layer()
"""


def test_a_follower_sees_what_came_since_and_nothing_twice(store: Store) -> None:
    with store.follow() as following:
        assert following.new(0.0) == []
        layer = store.create_layer()
        store.set_metadata(layer.id, "x")
        assert [one.sequence for one in following.new(5.0)] == [2, 3]
        assert following.new(0.0) == []
        assert following.after == 3


def test_a_follower_may_begin_in_the_past_and_in_the_middle_of_segments(store: Store) -> None:
    layer = store.create_layer()
    for number in range(600):
        store.set_metadata(layer.id, "x" * 400 + str(number))
    for after in (0, 1, 7, 300, store.sequence):
        with store.follow(after) as following:
            assert [one.sequence for one in following.new(0.0)] == list(range(after + 1, store.sequence + 1))


def test_a_follower_sees_every_commit_of_other_processes_once_and_in_order(store: Store) -> None:
    command = [sys.executable, "-c", WRITER, store.root, store.run_root, "150"]
    writers = [subprocess.Popen(command) for _ in range(2)]
    seen: list[int] = []
    with store.follow() as following:
        while len(seen) < 300 and (came := following.new(30.0)):
            seen += [one.sequence for one in came]
    assert [one.wait() for one in writers] == [0, 0]
    assert seen == list(range(2, 302))


def test_a_waiting_follower_is_woken_by_a_commit_and_ended_by_stop(store: Store) -> None:
    seen: list[Commit] = []
    following = store.follow()

    def read() -> None:
        seen.extend(following)

    reader = threading.Thread(target=read)
    reader.start()
    store.create_layer()
    with store.follow(1) as other:
        assert other.new(5.0)
    for _ in range(200):
        if seen:
            break
        threading.Event().wait(0.02)
    following.stop()
    reader.join(5)
    following.close()
    assert [one.sequence for one in seen] == [2]
    assert not reader.is_alive()


def test_without_watches_a_follower_looks_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog.eventstore.follow import LOOK_SECONDS, Follower

    monkeypatch.setattr(Follower, "_watch", lambda self: LOOK_SECONDS)
    with store.follow() as following:
        timer = threading.Timer(0.2, store.create_layer)
        timer.start()
        assert [one.sequence for one in following.new(5.0)] == [2]
        timer.join()


def test_a_hook_runs_for_each_commit_made_here_until_it_is_ended(store: Store) -> None:
    seen: list[tuple[int, list[str], str]] = []
    end = store.on_commit(lambda commit: seen.append((commit.sequence, [event["type"] for event in commit.events], commit.by)))
    layer = store.given(actor="anna").create_layer()
    with pytest.raises(DuplicateID):
        store.create_layer(id=layer.id)
    store.delete_layer(layer.id)
    end()
    store.create_layer()
    assert [(number, types) for number, types, _ in seen] == [(2, ["LayerCreated"]), (3, ["LayerDeleted"])]
    assert seen[0][2] == "anna"


def test_a_hook_that_fails_does_not_make_the_change_look_failed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    def fails(commit: Commit) -> None:
        raise ValueError("hook")

    store.on_commit(fails)
    layer = store.create_layer()
    assert store.exists(layer.id)
    assert [str(one.exc_value) for one in told] == ["hook"]
