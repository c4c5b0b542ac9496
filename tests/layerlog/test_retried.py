"""A change that is asked for again under its client key happens once, and leaves nothing of the second try.

What a change brings with it, and what is tidied up beside it, is not the change: key and plan are not for that.
"""

from __future__ import annotations

import io
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore.errors import NotSupported, RetryMismatch, StaleVersion
from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

ONE, TWO = tar({"one": b"1"}), tar({"two": b"2"})


def holds(store: Store, asked: str) -> set[bytes]:
    return {change.path for change in store.changes(asked)}


def test_another_diff_under_the_key_of_the_first_is_refused_and_not_put_in_place(store: Store) -> None:
    layer = store.create_layer()
    once = store.given(key="job-7")
    once.apply_diff(layer.id, io.BytesIO(ONE))
    with pytest.raises(RetryMismatch):
        once.apply_diff(layer.id, io.BytesIO(TWO))
    assert b"".join(store.diff(layer.id)) == ONE
    assert holds(store, layer.id) == {b"/one"}


def test_a_diff_that_is_applied_again_later_leaves_what_came_since(store: Store) -> None:
    """What the second try unpacked stands on the newer contents, and is recorded nowhere."""
    layer = store.create_layer()
    once = store.given(key="job-7")
    once.apply_diff(layer.id, io.BytesIO(tar({"file": b"old"})))
    store.apply_diff(layer.id, io.BytesIO(tar({"file": b"newer"})))
    again = once.apply_diff(layer.id, io.BytesIO(tar({"file": b"old"})))
    assert again.id == layer.id
    assert b"".join(store.diff(layer.id)) == tar({"file": b"newer"})
    assert store.layer(layer.id).row["generation"] == 2


@pytest.mark.parametrize("given", [{}, {"id": "a" * 64}, {"names": ["made"]}], ids=["", "id", "names"])
def test_a_layer_that_is_imported_again_is_the_first_one(store: Store, given: dict[str, Any]) -> None:
    once = store.given(key="job-7")
    first = once.import_layer(io.BytesIO(ONE), **given)
    again = once.import_layer(io.BytesIO(ONE), **given)
    assert (again.id, len(store.layers())) == (first.id, 1)
    assert b"".join(store.diff(first.id)) == ONE
    with pytest.raises(RetryMismatch):
        once.import_layer(io.BytesIO(TWO), **given)


MAPS: dict[str, Any] = {field: [{"container_id": 0, "host_id": 100000, "size": 65536}] for field in ("uid_map", "gid_map")}


@pytest.mark.root
def test_a_container_with_maps_of_its_own_is_made_under_a_key_and_made_once(open_store: OpenStore) -> None:
    with open_store(idmapped_mounts=False) as store:
        image = store.create_image(store.import_layer(io.BytesIO(ONE)).id)
        once = store.given(key="job-7")
        first = once.create_container(image.id, names=["box"], **MAPS)
        again = once.create_container(image.id, names=["box"], **MAPS)
        assert (again.id, len(store.containers())) == (first.id, 1)


@pytest.mark.root
def test_a_layer_with_maps_of_its_own_is_made_once(open_store: OpenStore) -> None:
    with open_store(idmapped_mounts=False) as store:
        once = store.given(key="job-7")
        first, again = (once.create_layer(names=["made"], **MAPS) for _ in range(2))
        assert (again.id, len(store.layers())) == (first.id, 1)


DELETED: dict[str, Callable[[Store], object]] = {
    "layer": lambda store: store.delete_layer("gone"),
    "anything": lambda store: store.delete("gone"),
}


@pytest.mark.parametrize("delete", DELETED.values(), ids=DELETED)
def test_what_is_deleted_again_was_deleted(store: Store, delete: Callable[[Store], object]) -> None:
    store.create_layer(names=["gone"])
    once = store.given(key="job-7")
    delete(once)
    store.create_layer(names=["gone"])
    delete(once)
    assert store.exists("gone"), "that is another one"


def test_a_restore_under_a_key_happens_once(store: Store) -> None:
    layer = store.import_layer(io.BytesIO(ONE))
    store.delete_layer(layer.id)
    once = store.given(key="job-7")
    once.restore(layer.id)
    assert once.restore(layer.id).id == layer.id


def test_closing_frees_what_is_past_retention_whatever_the_key_stands_for(open_store: OpenStore) -> None:
    with open_store(retention=0.001) as store:
        store.create_layer(names=["a"])
        store.create_layer(names=["b"])
        store.delete_layer("a")
    time.sleep(0.01)
    with open_store(retention=0.001, key="job-7") as store:
        store.delete_layer("b")
    with open_store() as store:
        assert not store.exists("b")


def test_a_sandbox_and_what_is_built_for_a_key_need_neither_plan_nor_client_key(store: Store) -> None:
    def build(root: str) -> None:
        with open(os.path.join(root, "file"), "w") as file:
            file.write("built")

    terms = store.given(key="job-7", expected=store.sequence)
    with terms.sandbox():
        pass
    layers = {terms.layer_for(key, build=build).id for key in ("a", "b", "a")}
    assert layers == {store.layer_for(key).id for key in "ab"}


@pytest.mark.parametrize("terms", [{"key": "job-7"}, {"expected": 3}], ids=["key", "plan"])
def test_a_delete_on_a_full_disk_has_its_second_commit_on_no_terms(
    store: Store, monkeypatch: pytest.MonkeyPatch, terms: dict[str, Any]
) -> None:
    layer = store.import_layer(io.BytesIO(ONE))
    store.set_metadata(layer.id, "last")
    monkeypatch.setattr(type(store.driver), "put_aside", lambda *_: False)
    asked = store.given(**terms)
    asked.delete_layer(layer.id)
    assert store.unkept == [layer.id]
    assert not store.driver.exists(layer.id)


def released(store: Store, name: str, *, key: str | None = "job-7") -> list[str]:
    """What a transaction made, on which its later calls go on."""
    with store.transaction(key=key) as tx:
        layer = tx.create_layer(names=[name])
        image = tx.create_image(layer, names=[f"image-{name}"])
        box = tx.create_container(image, names=[f"box-{name}"])
        other = tx.create_layer(layer)
        tx.set_big_data("image", image, "k", b"v")
        tx.untag("old")
    return [layer, image, box, other]


def test_a_transaction_that_is_repeated_is_the_first_one(store: Store) -> None:
    """Each of its calls would be refused by now: the names are taken, and what it took away is gone."""
    store.create_image(names=["old"])
    first = released(store, "new")
    before = store.sequence
    assert released(store, "new") == first
    assert store.sequence == before
    assert len(store.layers()) == 3


def test_a_transaction_that_deletes_is_repeated(store: Store) -> None:
    store.create_layer(names=["gone"])
    for _ in range(2):
        with store.transaction(key="job-7") as tx:
            tx.delete_layer("gone")
    assert not store.exists("gone")


def test_another_transaction_under_the_key_of_the_first_is_refused(store: Store) -> None:
    """It was told that it had happened, and had not."""
    store.create_image(names=["old"])
    released(store, "new")
    store.create_image(names=["old"])
    with pytest.raises(RetryMismatch):
        released(store, "other")
    assert not store.exists("other")
    assert store.exists("old")


def test_a_plan_still_holds_for_the_change_itself(store: Store) -> None:
    layer = store.create_layer()
    planned = store.sequence
    store.set_metadata(layer.id, "since")
    with pytest.raises(StaleVersion):
        store.given(expected=planned).delete_layer(layer.id)


def test_a_wipe_that_was_planned_before_something_was_made_is_refused(store: Store) -> None:
    planned = store.sequence
    store.create_layer(names=["since"])
    with pytest.raises(StaleVersion):
        store.given(expected=planned).wipe()
    assert store.exists("since")
    store.given(expected=store.sequence).wipe()


def test_a_plan_holds_for_the_journal_it_was_made_on(open_store: OpenStore, tmp_path: Path) -> None:
    """Numbers of another journal were compared with it: what had changed since was deleted all the same, or nothing could be."""
    with open_store("split", image_store=tmp_path / "images") as split:
        for _ in range(5):
            split.create_container()
        image = split.create_image(names=["image"])
        planned = split.sequence
        split.set_metadata(image.id, "since")
        with pytest.raises(NotSupported):
            split.given(expected=planned).delete_image(image.id)
        split.given(expected=planned).delete_container(split.containers()[0].id)
        with split.given(expected=planned, key="job-7").sandbox(image) as box:
            box.commit(name="made")
    with open_store("transient", transient=True) as transient:
        transient.create_layer(names=["layer"])
        container = transient.create_container()
        with pytest.raises(NotSupported):
            transient.given(expected=transient.sequence).delete_container(container.id)
        transient.given(expected=transient.sequence).delete_layer("layer")
        transient.delete_container(container.id)


def test_a_container_of_this_boot_that_is_made_again_leaves_no_note_of_another(open_store: OpenStore) -> None:
    with open_store(transient=True) as store:
        once = store.given(key="job-7")
        first, again = (once.create_container(names=["box"]) for _ in range(2))
        assert first.id == again.id
        assert os.listdir(store.folder("volatile")) == [first.layer]
        store.delete_container(first.id)


def test_a_layer_that_is_deleted_just_as_it_is_found_is_built_or_given_as_it_was(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(root: str) -> None:
        with open(os.path.join(root, "file"), "w") as file:
            file.write("built")

    other, real = open_store(), type(store).reading
    first = store.layer_for("key", build=build)
    looks = []

    @contextmanager
    def reading(self: Store) -> Iterator[Any]:
        with real(self) as rows:
            yield rows
        looks.append(self)
        if len(looks) == 1:
            other.delete_layer(first.id)

    monkeypatch.setattr(type(store), "reading", reading)
    assert store.layer_for("key", build=build).id


def test_a_transaction_of_given_and_made_ids_that_is_repeated_tells_each_as_it_was(store: Store) -> None:
    def release() -> list[str]:
        with store.given(key="job-7").transaction() as change:
            made = [change.create_layer()]
            made += [change.create_layer(made[0], id="given")]
            made += [change.create_layer("given"), change.create_layer(id="last")]
        assert change.committed is not None
        return [*made, str(change.committed.sequence)]

    assert release() == release()
