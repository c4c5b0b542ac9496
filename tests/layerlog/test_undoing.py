from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from layerlog.decide.undoing import UndoConflict
from layerlog.eventstore.errors import CommitUnknown
from tests.layerlog.builders import BASE, tar

if TYPE_CHECKING:
    from layerlog import Store


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
    with pytest.raises(UndoConflict, match=f"(?s)\"a\".*{other.id}"):
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
