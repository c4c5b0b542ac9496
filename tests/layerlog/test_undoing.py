from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.decide.restoring import LayerReplaced
from layerlog.decide.undoing import UndoConflict
from layerlog.eventstore.errors import CommitUnknown, InvalidRequest, InvalidWhen, StoreError
from tests.layerlog.builders import BASE, tar

if TYPE_CHECKING:
    from layerlog import Store
    from tests.layerlog.conftest import OpenStore


def test_undo_takes_back_every_kind_of_change(store: Store) -> None:
    layer = store.import_layer(io.BytesIO(tar(BASE)))
    image = store.create_image(layer.id, names=["a"], big_data={"k": b"1"})
    seen = store.image("a")
    changes = [
        lambda: store.set_names(image.id, ["b"]),
        lambda: store.set_metadata(image.id, "x"),
        lambda: store.set_big_data("image", image.id, "k", b"2"),
        lambda: store.remove_big_data("image", image.id, "k"),
        lambda: store.pin(image.id),
        lambda: store.delete_image(image.id),
        lambda: store.create_layer(layer.id),
        store.wipe,
    ]
    for change in changes:
        change()
        store.undo(last=1)
        now = store.image("a")
        assert (now.names, now.metadata, now.big_data, now.pins) == (seen.names, seen.metadata, seen.big_data, seen.pins)
    assert b"".join(store.diff(layer.id)) == tar(BASE)
    assert [one.id for one in store.layers()] == [layer.id]


def test_last_counts_what_is_not_undone_yet(store: Store) -> None:
    image = store.create_image(names=["0"])
    for name in "123":
        store.set_names(image.id, [name])
    for expected in "210":
        store.undo(last=1)
        assert store.names(image.id) == [expected]
    store.undo(last=1)
    assert store.images() == []
    with pytest.raises(CommitUnknown):
        store.undo(last=1)


def test_an_undo_that_would_destroy_later_work_is_refused_whole(store: Store) -> None:
    image = store.create_image(names=["a"])
    store.set_metadata(image.id, "one")
    at = store.sequence
    store.set_metadata(image.id, "two")
    with pytest.raises(UndoConflict):
        store.undo(at)
    assert store.metadata(image.id) == "two"
    assert store.plan_undo(at).conflicts


def test_an_undo_can_be_undone(store: Store) -> None:
    store.create_image(names=["a"])
    done = store.undo(last=1)
    assert store.images() == []
    store.undo(done.sequence)
    assert store.image("a").names == ["a"]


def test_all_changes_of_one_actor_are_undone_together(store: Store) -> None:
    mine = store.create_image(names=["mine"])
    other = store.given(actor="bot")
    other.create_image(names=["bot"])
    other.set_metadata(mine.id, "by bot")
    store.undo(by="bot")
    assert ([one.names for one in store.images()], store.metadata(mine.id)) == ([["mine"]], "")


def test_an_undo_brings_back_no_more_than_the_commit_took(store: Store) -> None:
    """An image on a container's own layer dangles once the container is deleted; deleted too and brought back, it dangles again."""
    image = store.create_image(store.create_layer().id)
    box = store.create_container(image.id)
    dangling = store.create_image(box.layer, names=["dangling"])
    store.delete_container(box.id)
    store.delete_image(dangling.id)
    store.undo(last=1)
    assert store.image("dangling").layer == box.layer
    assert not store.exists(box.layer)
    store.delete_image(dangling.id)
    store.empty_trash()
    store.wipe()
    store.undo(last=1)
    assert [one.id for one in store.images()] == [image.id]


def test_what_an_undo_throws_away_is_not_pinned_there(store: Store) -> None:
    """Nothing would ever free it, and brought back it could not be taken away again."""
    layer = store.create_layer()
    store.pin(layer.id)
    store.undo(last=2)
    assert [one.record.pins for one in store.trash()] == [[]]


def test_many_commits_undone_at_once_pass_names_from_hand_to_hand(store: Store) -> None:
    one, two = store.create_image(names=["a"]), store.create_image(names=["b"])
    store.delete_image(one.id)
    store.set_names(two.id, ["a"])
    store.set_names(two.id, ["b"])
    store.restore(one.id)
    store.set_names(two.id, ["a", "b"])
    store.undo(last=5)
    assert (store.image("a").id, store.image("b").id) == (one.id, two.id)


def test_housekeeping_is_none_of_the_last_changes(store: Store) -> None:
    layer = store.create_layer(names=["kept"])
    other = store.create_layer()
    store.delete_layer(other.id)
    store.set_metadata(layer.id, "x")
    store.empty_trash()
    store.undo(last=1)
    assert store.metadata(layer.id) == ""


def test_what_stands_in_the_way_of_an_undo_is_named(store: Store) -> None:
    """The name given away since, the thing freed since, the parent freed since."""
    image = store.create_image(names=["a"])
    store.delete_image(image.id)
    other = store.create_image(names=["a"])
    with pytest.raises(UndoConflict, match=f'(?s)"a".*{other.id}'):
        store.undo(store.sequence - 1)
    store.empty_trash()
    with pytest.raises(UndoConflict, match=f"image {image.id[:12]} was freed"):
        store.undo(store.sequence - 2)
    base = store.create_layer()
    child = store.create_layer(base.id)
    store.delete_layer(child.id)
    at = store.sequence
    store.retention_seconds = 0
    store.delete_layer(base.id)
    store.retention_seconds = 3600
    with pytest.raises(UndoConflict, match=f"stands on layer {base.id}"):
        store.undo(at)
    assert store.plan_undo(at).conflicts[0][0] == at


def _stacked(store: Store, base: bytes = tar({"below": b"old"})) -> None:
    """An image of two layers whose IDs somebody chose."""
    store.import_layer(io.BytesIO(base), id="base")
    store.import_layer(io.BytesIO(tar({"above": b"x"})), "base", id="top")
    store.create_image("top", id="img", names=["app"])


def test_nothing_comes_back_onto_another_layer_that_got_the_id_of_its_own(store: Store) -> None:
    _stacked(store)
    store.delete_image("img")
    deleted = store.sequence
    store.import_layer(io.BytesIO(tar({"below": b"new"})), id="base")
    before = store.sequence
    for attempt in (lambda: store.restore("app"), lambda: store.restore("top", "layer"), lambda: store.undo(deleted)):
        with pytest.raises((LayerReplaced, UndoConflict)):
            attempt()
    assert not store.why_gone("app").can_return
    assert store.sequence == before
    store.delete_layer("base")
    assert store.why_gone("app").can_return
    store.restore("app")
    assert b"".join(store.diff("base")) == tar({"below": b"old"})
    assert store.layer("top").parent == "base"


def test_an_undo_brings_back_the_layer_of_that_time_where_several_had_its_id(store: Store) -> None:
    _stacked(store)
    store.delete("img")
    store.delete_layer("top")
    deleted = store.sequence
    store.delete_layer("base")
    store.import_layer(io.BytesIO(tar({"below": b"new"})), id="base")
    store.delete_layer("base")
    undo = store.undo(deleted).sequence
    assert b"".join(store.diff("base")) == tar({"below": b"old"})
    assert store.exists("top")
    back = store.undo(undo).sequence
    store.undo(back)
    assert b"".join(store.diff("base")) == tar({"below": b"old"})


def test_it_comes_back_onto_its_own_layer_or_not_at_all(store: Store) -> None:
    _stacked(store)
    store.delete_image("img")
    store.empty_trash()
    store.create_layer(id="base")
    store.create_layer("base", id="top")
    store.delete_layer("top")
    store.delete_layer("base")
    store.create_layer(id="base")
    store.delete_layer("base")
    store.restore("top", "layer")
    assert store.layer("base").created_ns < store.layer("top").created_ns


def test_undoing_the_deletion_of_what_stood_on_it_does_not_either(store: Store) -> None:
    _stacked(store)
    store.delete_image("img")
    store.undo(last=1)
    store.delete("img")
    store.delete_layer("top")
    deleted = store.sequence
    store.delete_layer("base")
    store.create_layer(id="base")
    assert store.plan_undo(deleted).conflicts
    with pytest.raises(UndoConflict):
        store.undo(deleted)


def test_a_layer_that_was_pulled_again_meanwhile_is_as_good(store: Store) -> None:
    old = tar({"below": b"old"})
    _stacked(store)
    store.delete_image("img")
    store.import_layer(io.BytesIO(old), id="base")
    assert store.restore("app").id == "img"
    store.delete_image("img")
    loaded = "sha256:" + hashlib.sha256(old).hexdigest()
    chosen = loaded.partition(":")[2]
    store.import_layer(io.BytesIO(old), id=chosen)
    store.create_layer(chosen, id="own")
    store.delete_layer("own")
    store.delete_layer(chosen)
    store.import_layer(io.BytesIO(old), id=chosen)
    assert store.restore("own", "layer").id == "own"


def test_an_undo_on_terms_undoes_what_was_planned_and_nothing_that_came_later(store: Store) -> None:
    image = store.create_image(names=["a"])
    other = store.create_image(names=["b"])
    store.set_metadata(image.id, "mine")
    planned = store.plan_undo(last=1)
    store.delete_image(other.id)  # somebody else's
    store.given(expected=planned.planned_on).undo(last=1)
    assert store.metadata(image.id) == ""
    assert not store.exists(other.id)


def test_a_thing_that_came_back_is_not_said_to_be_freed(store: Store) -> None:
    image = store.create_image(names=["a"])
    store.delete_image(image.id)
    store.restore("a")
    assert store.why_gone("a").why_not == "it came back, and is here"
    assert store.why_gone("a").command == ""


@pytest.mark.parametrize("when", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_number_that_is_no_time_is_refused_as_such(store: Store, when: float) -> None:
    with pytest.raises(InvalidWhen):
        store.at(when)


@pytest.mark.parametrize("asked", [{}, {"last": -1}, {"last": 0}, {"by": ""}, {"last": 1, "by": "me"}, {"sequence": 2, "last": 1}])
def test_an_undo_of_nothing_in_particular_is_not_one_of_everything(store: Store, asked: dict[str, Any]) -> None:
    store.create_image(names=["a"])
    for attempt in (store.undo, store.plan_undo):
        with pytest.raises(InvalidRequest):
            attempt(**asked)
    assert store.exists("a")


def test_redacted_names_are_not_undone(store: Store) -> None:
    image = store.create_image(names=["old"])
    store.add_names(image.id, ["secret"])
    added = store.sequence
    store.remove_names(image.id, ["old"])
    store.redact(added)
    with pytest.raises(UndoConflict, match="redacted"):
        store.undo(added)
    assert store.names(image.id) == ["secret"]


def _born_again(store: Store) -> None:
    """Commits: 2 an image, 3 its metadata, 4 it is gone, 5 another one under its ID."""
    store.create_image(id="x", names=["first"])
    store.set_metadata("x", "m")
    store.delete_image("x")
    store.create_image(id="x", names=["second"], metadata="m")


@pytest.mark.parametrize("sequence", [2, 3, 4])
def test_an_undo_leaves_another_thing_alone_that_got_the_id(store: Store, sequence: int) -> None:
    _born_again(store)
    before = store.sequence
    with suppress(UndoConflict):
        assert store.undo(sequence).events == []
    assert (store.names("x"), store.metadata("x"), store.sequence) == (["second"], "m", before)
    if sequence > 2:
        assert store.plan_undo(sequence).conflicts


def test_one_undo_does_not_make_one_thing_of_another(store: Store) -> None:
    _born_again(store)
    plan = store.plan_undo(last=2)
    assert plan.conflicts
    assert not plan.events
    with pytest.raises(UndoConflict, match="another one"):
        store.undo(last=2)
    store.undo(last=1)
    store.undo(last=1)
    assert store.names("x") == ["first"]
    store.undo(last=2)
    assert store.images() == []


def test_all_of_it_is_undone_at_once_where_nothing_is_left_of_either(store: Store) -> None:
    _born_again(store)
    store.undo(last=4)
    assert store.images() == []


def test_names_that_two_things_swapped_in_one_commit_are_swapped_back(store: Store) -> None:
    one, two = store.create_image(names=["x"]), store.create_image(names=["y"])
    with store.transaction() as tx:
        tx.set_names(one, ["y"])
        tx.set_names(two, ["x"])
    swapped = store.sequence
    store.undo(swapped)
    assert (store.names(one.id), store.names(two.id)) == (["x"], ["y"])
    store.undo(last=2)
    assert store.images() == []
    store.undo(store.sequence)
    assert (store.names(one.id), store.names(two.id)) == (["x"], ["y"])


def test_what_went_again_comes_back_as_it_was(store: Store) -> None:
    store.create_image(id="a", names=["n"])
    store.set_big_data("image", "a", "k", b"v")
    store.set_metadata("a", "m")
    store.add_names("a", ["n2"])
    store.delete_image("a")
    store.undo(store.undo(last=4).sequence)
    store.restore("n2")
    assert (store.names("a"), store.metadata("a"), store.big_data_keys("image", "a")) == (["n2", "n"], "m", ["k"])


def test_a_commit_that_used_a_containers_layer_and_took_the_container_is_undone(store: Store) -> None:
    store.create_container("", id="box")
    layer = store.container("box").layer
    with store.transaction() as tx:
        tx.create_image(layer, id="img")
        tx.delete_container("box")
    store.undo(store.sequence)
    assert (store.container("box").layer, store.images()) == (layer, [])


@pytest.mark.parametrize("killed", [False, True])
def test_a_restore_that_ends_in_the_middle_gives_up_neither_of_two_that_had_the_id(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    store = open_store()
    store.import_layer(io.BytesIO(tar({"below": b"old"})), id="base", names=["first"])
    store.delete_layer("base")
    store.import_layer(io.BytesIO(tar({"below": b"new"})), id="base", names=["second"])
    store.delete_layer("base")

    def end(*_: object, **__: object) -> None:
        if killed:
            os._exit(9)
        raise StoreError("no")

    if (child := os.fork() if killed else 0) == 0:
        with monkeypatch.context() as patch:
            patch.setattr("layerlog.change.commit", end)
            with pytest.raises(StoreError):
                (open_store() if killed else store).restore("first")
    else:
        os.waitpid(child, 0)
        store = open_store()
    assert store.restore("first").names == ["first"]
    assert b"".join(store.diff("base")) == tar({"below": b"old"})
    store.delete_layer("base")
    store.restore("second")
    assert b"".join(store.diff("base")) == tar({"below": b"new"})
