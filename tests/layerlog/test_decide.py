"""Decisions, without a store: rows in, events or a typed error out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from layerlog.decide import containers, images, layers, names, restoring, undoing
from layerlog.decide.common import unchanged_since
from layerlog.eventstore import errors
from layerlog.eventstore.rows import Overlay
from tests.projections.rows import State, container, image, layer
from tests.projections.rows import names as named


def types(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def ids(events: list[Any]) -> list[str]:
    return [event["id"] for event in events]


@pytest.fixture
def state() -> State:
    """base <- mid <- top; image ``img`` on top; container ``ctr`` of it with its own layer."""
    made = State().commit([layer("base"), layer("mid", "base"), layer("top", "mid", names=["t"])])
    return made.commit([image("img", "top", names=["app"])]).commit([layer("own", "top"), container("ctr", "own", "img", names=["web"])])


def test_a_new_layer_inherits_the_maps_of_its_parent() -> None:
    maps = [{"container_id": 0, "host_id": 1000, "size": 10}]
    rows = State().commit([layer("base", uid_map=maps)]).rows
    (event,) = layers.create(rows, "new", "base")
    assert (event["parent"], event["uid_map"]) == ("base", maps)


@pytest.mark.parametrize(
    ("parent", "new", "wanted", "error"),
    [
        ("nobody", "x", [], errors.ParentUnknown),
        ("own", "x", [], errors.ParentIsContainer),
        ("", "base", [], errors.DuplicateID),
        ("", "x", ["t"], errors.DuplicateName),
    ],
)
def test_creating_a_layer_refuses(state: State, parent: str, new: str, wanted: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        layers.create(state.rows, new, parent, wanted)


def test_a_duplicate_name_says_who_holds_it(state: State) -> None:
    with pytest.raises(errors.DuplicateImageName) as refused:
        images.create(state.rows, "x", "top", ["app"])
    assert refused.value.data["holder_id"] == "img"


@pytest.mark.parametrize(
    ("asked", "error", "holder"),
    [("mid", errors.LayerHasChildren, "top"), ("own", errors.LayerUsedByContainer, "ctr"), ("t", errors.LayerHasChildren, "own")],
)
def test_deleting_a_used_layer_is_refused_by_id_and_by_name(state: State, asked: str, error: type[errors.StoreError], holder: str) -> None:
    """The original checks only when it is given an ID (its defect 1)."""
    with pytest.raises(error) as refused:
        layers.delete(state.rows, asked, kept=True)
    assert refused.value.data["holder_id"] == holder


def test_an_image_keeps_its_top_layer() -> None:
    rows = State().commit([layer("l"), image("i", "l")]).rows
    with pytest.raises(errors.LayerUsedByImage):
        layers.delete(rows, "l", kept=True)


def test_a_mapped_copy_is_dropped_from_its_image_instead() -> None:
    made = State().commit([layer("l"), layer("copy"), image("i", "l")])
    made.commit([{"type": "ImageMappedLayersSet", "id": "i", "mapped_layers": ["copy"]}])
    assert types(layers.delete(made.rows, "copy", kept=True)) == ["ImageMappedLayersSet", "LayerDeleted"]


def test_deleting_an_image_takes_the_layers_that_only_it_needed(state: State) -> None:
    with pytest.raises(errors.ImageUsedByContainer):
        images.delete(state.rows, "img", kept=True)
    state.commit(containers.delete(state.rows, "ctr", kept=True))
    assert ids(images.delete(state.rows, "app", kept=True)) == ["img", "top", "mid", "base"]
    assert ids(images.delete(state.rows, "app", kept=True, busy={"mid"})) == ["img", "top"]
    state.commit([layer("other", "mid")])
    assert ids(images.delete(state.rows, "app", kept=True)) == ["img", "top"]


def test_a_layer_shared_by_two_images_stays_until_the_second_goes() -> None:
    made = State().commit([layer("l"), image("a", "l"), image("b", "l")])
    assert ids(images.delete(made.rows, "a", kept=True)) == ["a"]
    made.commit(images.delete(made.rows, "a", kept=True))
    assert ids(images.delete(made.rows, "b", kept=True)) == ["b", "l"]


def test_a_pin_refuses_deletion_until_it_is_taken_away(state: State) -> None:
    state.commit(names.pin(state.rows, "ctr", None, "audit"))
    with pytest.raises(errors.Pinned):
        containers.delete(state.rows, "ctr", kept=True)
    state.commit(names.unpin(state.rows, "ctr", None, "audit"))
    assert ids(containers.delete(state.rows, "web", kept=True)) == ["ctr", "own"]


def test_what_a_pinned_thing_stands_on_cannot_be_taken_from_under_it(state: State) -> None:
    state.commit(names.pin(state.rows, "img", "image", "keep"))
    for asked in ("top", "base"):
        with pytest.raises(errors.Pinned):
            containers.delete_any(state.rows, asked, kept=True)
    with pytest.raises(errors.Pinned):
        containers.wipe(state.rows, kept=True)


def test_delete_any_prefers_a_container_then_an_image_then_a_layer() -> None:
    made = State().commit([layer("l1", names=["x"]), image("i1", "l1", names=["x"]), layer("l2"), container("c1", "l2", names=["x"])])
    assert ids(containers.delete_any(made.rows, "x", kept=True)) == ["c1", "l2"]
    made.commit(containers.delete_any(made.rows, "x", kept=True))
    assert ids(containers.delete_any(made.rows, "x", kept=True)) == ["i1"]
    made.commit(containers.delete_any(made.rows, "x", kept=True))
    assert ids(containers.delete_any(made.rows, "x", kept=True)) == ["l1"]


def test_names_go_in_front_and_move_from_their_holder(state: State) -> None:
    state.commit([image("two", names=["old"])])
    events = names.rename(state.rows, "two", "image", "add", ["app", "new", "app"])
    assert [(event["id"], event["names"]) for event in events] == [("img", []), ("two", ["app", "new", "old"])]


def test_the_same_big_data_again_is_no_event(state: State) -> None:
    state.commit(names.set_big_data(state.rows, "image", "img", "k", "sha256:b", 3))
    assert names.set_big_data(state.rows, "image", "img", "k", "sha256:b", 3) == []


def test_a_plan_is_refused_when_what_it_touches_moved_on(state: State) -> None:
    planned_on = state.sequence
    state.commit([named("image", "img", "other")])
    with pytest.raises(errors.StaleVersion):
        unchanged_since(state.rows, [named("image", "img", "mine")], planned_on)
    unchanged_since(state.rows, [named("layer", "top", "mine")], planned_on)


def test_a_restored_image_brings_the_layers_it_needs(state: State) -> None:
    state.commit(containers.delete(state.rows, "ctr", kept=True))
    state.commit(images.delete(state.rows, "img", kept=True))
    assert ids(restoring.restore(state.rows, "app")) == ["base", "mid", "top", "img"]


def test_a_restore_says_who_took_the_name_since(state: State) -> None:
    state.commit(containers.delete(state.rows, "ctr", kept=True)).commit([layer("l3"), container("c3", "l3", names=["web"])])
    with pytest.raises(errors.DuplicateContainerName) as refused:
        restoring.restore(state.rows, "ctr")
    assert refused.value.data["holder_id"] == "c3"


def test_what_was_freed_does_not_come_back(state: State) -> None:
    state.commit(containers.delete(state.rows, "ctr", kept=False))
    with pytest.raises(errors.NotInTrash):
        restoring.restore(state.rows, "web")


def undo(state: State, before: dict[bytes, Any], sequence: int, events: list[Any]) -> list[Any]:
    from layerlog.eventstore.rows import Table

    seen = Overlay(state.rows)
    return [turned for event in reversed(events) for turned in undoing.inverse(Table(before.items()), seen, event, sequence, True, bool)]


@pytest.mark.parametrize(
    "events",
    [
        [named("image", "img", "a", "b")],
        [{"type": "MetadataSet", "kind": "layer", "id": "top", "metadata": "m"}],
        [{"type": "BigDataSet", "kind": "image", "id": "img", "key": "k", "blob": "sha256:b", "size": 1}],
        [{"type": "FlagsSet", "kind": "container", "id": "ctr", "flags": {"x": 1}}],
        [{"type": "Pinned", "kind": "image", "id": "img", "pin": "p"}],
        [layer("fresh", "top")],
        [image("fresh", "top", names=["n"])],
        [{"type": "ContainerDeleted", "id": "ctr", "kept": True}, {"type": "LayerDeleted", "id": "own", "kept": True}],
    ],
    ids=lambda events: events[0]["type"],
)
def test_an_undone_commit_leaves_the_things_as_they_were(state: State, events: list[Any]) -> None:
    def things() -> dict[bytes, Any]:
        rows = {key: value for key, value in state.dump().items() if not key.startswith((b"gone", b"trash", b"blob"))}
        ignored = ("changed", "names_history", "digest")
        for key, value in rows.items():
            if isinstance(value, dict):
                rows[key] = {name: field for name, field in value.items() if name not in ignored}
        return rows

    before, was = state.dump(), things()
    state.commit(events)
    state.commit(undo(state, before, state.sequence, events))
    assert things() == was


def test_an_undo_names_the_change_it_would_destroy(state: State) -> None:
    before = state.dump()
    events = [{"type": "MetadataSet", "kind": "layer", "id": "top", "metadata": "one"}]
    state.commit(events).commit([{"type": "MetadataSet", "kind": "layer", "id": "top", "metadata": "two"}])
    with pytest.raises(undoing.UndoConflict, match="changed again"):
        undo(state, before, 4, events)


def test_of_several_that_stand_in_the_way_the_oldest_is_named() -> None:
    """As the original does, which goes through its records in order; IDs are no order."""
    state = State().commit([layer("base")]).commit([layer("z", "base")]).commit([layer("a", "base")])
    with pytest.raises(errors.LayerHasChildren) as caught:
        layers.delete(state.rows, "base", True)
    assert caught.value.data["holder_id"] == "z"
    state = State().commit([layer("base")]).commit([image("y", "base")]).commit([image("b", "base")])
    with pytest.raises(errors.LayerUsedByImage) as caught_image:
        layers.delete(state.rows, "base", True)
    assert caught_image.value.data["holder_id"] == "y"


def test_of_several_containers_on_an_image_the_newest_is_named() -> None:
    """As the original does, which notes a container for each image and the later one stays."""
    state = State().commit([image("img", "")])
    for container_id in ("m", "z", "a"):
        made = containers.create(state.rows, container_id, f"layer-{container_id}", "img", [])
        state = state.commit(made)
    with pytest.raises(errors.ImageUsedByContainer) as caught:
        images.delete(state.rows, "img", True)
    assert caught.value.data["holder_id"] == "a"


def test_an_undone_deletion_of_a_container_brings_it_back_among_those_who_stood_on_its_layer(state: State) -> None:
    """Brought back onto a layer that others came to since, it would take their ground with it when it is deleted next."""
    before = copy.deepcopy(state.commit([image("also", "own")]))
    sequence = before.sequence + 1
    gone = state.commit([{"type": "ContainerDeleted", "id": "ctr", "kept": True}])
    assert ids(restoring.restore_at(gone.rows, "container", sequence, "ctr", before.rows)) == ["ctr"]
    since = gone.commit([layer("child", "own")])
    with pytest.raises(errors.LayerHasChildren):
        restoring.restore_at(since.rows, "container", sequence, "ctr", before.rows)


def test_a_container_comes_back_with_the_image_that_was_deleted_after_it(state: State) -> None:
    """It stood under the container's protection while the container was there; its record must not point nowhere."""
    gone = state.commit(containers.delete(state.rows, "ctr", True))
    gone = gone.commit([{"type": "ImageDeleted", "id": "img", "kept": True}])
    assert ids(restoring.restore(gone.rows, "ctr")) == ["img", "own", "ctr"]
    taken = gone.commit([image("other", "top", names=["app"])])
    with pytest.raises(errors.DuplicateName):
        restoring.restore(taken.rows, "ctr")
