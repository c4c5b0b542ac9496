"""What is pinned, shared or just being referred to stays, whoever deletes, frees or collects at the same time."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.blob_keeping import collect
from layerlog.decide.undoing import UndoConflict
from layerlog.eventstore.errors import Pinned, StoreError
from tests.layerlog.test_sandbox import child

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog import Store
    from tests.layerlog.conftest import OpenStore


def _in_transaction(store: Store) -> None:
    with store.transaction() as tx:
        tx.create_layer(names=["by the way"])
        tx.delete_image("app")


DELETIONS: dict[str, Callable[[Store], object]] = {
    "its image": lambda store: store.delete_image("app"),
    "by any name": lambda store: store.delete("app"),
    "all of it": lambda store: store.wipe(),
    "the undo of its making": lambda store: store.undo(store.image("app").row["changed"] - 1),
    "in a transaction": _in_transaction,
}


@pytest.mark.parametrize("how", DELETIONS)
def test_what_is_pinned_is_not_deleted_by(store: Store, how: str) -> None:
    layer = store.create_layer()
    store.create_image(layer.id, names=["app"])
    store.pin("app", "release")
    before = store.sequence
    with pytest.raises((Pinned, UndoConflict), match="pinned"):
        DELETIONS[how](store)
    assert store.sequence == before, "nothing of it happened"
    assert store.image("app").layer == layer.id
    store.unpin("app", "release")
    store.delete_image("app")
    assert store.layers() == []


def test_a_pinned_layer_outlives_the_image_that_only_it_needed(store: Store) -> None:
    base = store.create_layer(names=["base"])
    top = store.create_layer(base.id)
    store.create_image(top.id, names=["app"])
    store.pin("base")
    store.delete_image("app")
    assert [layer.id for layer in store.layers()] == [base.id]
    with pytest.raises(Pinned):
        store.delete_layer("base")
    with pytest.raises(Pinned):
        store.delete("base")


def test_what_was_pinned_when_it_was_lost_is_not_freed_from_the_trash(open_store: OpenStore) -> None:
    """An undo of an unpin, then of the deletion: it must still be there, however full the trash is."""
    store = open_store(retention=0.0)
    store.create_layer(names=["kept"])
    store.pin("kept")
    assert store.empty_trash() == []
    assert store.free_expired() == []
    assert store.layer("kept").pins == ["pinned"]


def test_two_words_hold_until_both_are_taken_away(store: Store) -> None:
    store.create_layer(names=["a"])
    store.pin("a", "one")
    store.pin("a", "two")
    store.unpin("a", "one")
    with pytest.raises(Pinned):
        store.delete_layer("a")
    store.unpin("a", "two")
    store.delete_layer("a")


def test_a_builder_that_is_killed_is_followed_by_the_next_one_that_waits(store: Store) -> None:
    """The waiting one takes over, builds anew on a clean sandbox, and nothing of the dead one's is left."""
    stuck = child(
        """
        def build(root):
            open(os.path.join(root, "half"), "w").write("x" * 100000)
            print("building", flush=True)
            time.sleep(600)
        store.layer_for(key="lock", build=build)
        """,
        store,
    )
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "building\n"
    waiting = child(
        """
        print("waiting", flush=True)
        def build(root):
            print("built on", sorted(os.listdir(root)), flush=True)
            open(os.path.join(root, "made"), "w").write("y")
        print(store.layer_for(key="lock", build=build).id, flush=True)
        store.close()
        """,
        store,
    )
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "waiting\n"
    time.sleep(0.5)  # it is at the lease by now; were it not, it would find the dead one just the same
    stuck.send_signal(signal.SIGKILL)
    stuck.communicate()
    lines = waiting.communicate(timeout=60)[0].splitlines()
    assert (waiting.returncode, lines[0]) == (0, "built on []")
    made = store.layer_for("lock")
    assert made.id == lines[1]
    assert [(change.path, change.kind) for change in store.changes(made.id)] == [(b"/made", 1)]
    store.close()


def test_a_failing_builder_lets_each_of_the_waiting_try(store: Store) -> None:
    attempts: list[int] = []
    results: list[object] = []

    def build(root: str) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("no network")
        Path(root, "made").touch()

    def work() -> None:
        try:
            results.append(store.layer_for("k", build=build).id)
        except RuntimeError:
            results.append("failed")

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(attempts) == 3
    assert results.count("failed") == 2
    assert len({one for one in results if one != "failed"}) == 1


def test_the_collector_never_takes_what_somebody_is_about_to_refer_to(open_store: OpenStore) -> None:
    """Four threads set and remove the same bytes again and again, with no retention, while two collect."""
    store = open_store(retention=0.0)
    image = store.create_image()
    stop = threading.Event()
    failures: list[BaseException] = []

    def collecting() -> None:
        other = open_store(retention=0.0)
        try:
            while not stop.is_set():
                collect(other)
        except StoreError as error:
            failures.append(error)

    def setting(number: int) -> None:
        try:
            for turn in range(25):
                store.set_big_data("image", image.id, f"key-{number}", b"the same bytes")
                if turn % 3 == number % 3:
                    store.remove_big_data("image", image.id, f"key-{number}")
        except StoreError as error:
            failures.append(error)

    collectors = [threading.Thread(target=collecting) for _ in range(2)]
    setters = [threading.Thread(target=setting, args=(number,)) for number in range(4)]
    for thread in (*collectors, *setters):
        thread.start()
    for thread in setters:
        thread.join()
    stop.set()
    for thread in collectors:
        thread.join()
    assert failures == []
    for key in store.image(image.id).big_data:
        assert store.big_data("image", image.id, key) == b"the same bytes"
    for key in store.image(image.id).big_data:
        store.remove_big_data("image", image.id, key)
    collect(store)
    assert list(store.blobs.digests()) == []
