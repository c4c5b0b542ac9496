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
