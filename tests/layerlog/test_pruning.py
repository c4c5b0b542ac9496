"""``prune`` in the words of podman and docker: what nobody needs goes, by a plan that is carried out exactly or refused."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore.errors import InvalidRequest, StaleVersion
from layerlog.pruning import InvalidPlan, PrunePlan
from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog import Store
    from tests.layerlog.conftest import OpenStore


def fill(store: Store) -> None:
    """base <- named top of image app; base <- loose top of an image without names; a container on app; layers of nobody."""
    store.import_layer(io.BytesIO(tar({"b": b"base"})), id="base")
    store.create_layer("base", id="app-top")
    store.create_image("app-top", id="app-image", names=["app"])
    store.import_layer(io.BytesIO(tar({"l": b"loose"})), "base", id="loose-top")
    store.create_image("loose-top", id="loose-image")
    store.create_container("app-image", id="box")
    store.create_layer(id="left-1")
    store.create_layer("left-1", id="left-2")
    store.create_layer(id="cache", names=["cache"])


def gone(plan: PrunePlan) -> list[str]:
    return [one.id for one in plan.going if not one.id.startswith("box-")]


def test_a_prune_takes_stopped_containers_nameless_images_and_layers_of_nobody(store: Store) -> None:
    fill(store)
    assert gone(store.prune()) == ["box", "loose-image", "loose-top", "left-2", "left-1"]
    assert [one.id for one in store.images()] == ["app-image"]
    assert [one.id for one in store.layers()] == ["base", "app-top", "cache"]
    assert store.containers() == []
    assert store.prune().going == []


def test_everything_takes_named_things_that_nobody_uses(store: Store) -> None:
    fill(store)
    assert set(gone(store.plan_prune(["image"], everything=True))) == {"loose-image", "loose-top"}  # a container holds app
    store.prune(everything=True)
    assert (store.layers(), store.images(), store.containers()) == ([], [], [])


def test_what_is_mounted_or_pinned_stays(store: Store) -> None:
    fill(store)
    store.mount("box")
    store.mount("left-2")
    store.pin("loose-image")
    assert gone(store.plan_prune()) == []
    store.unmount("box")
    store.unmount("left-2")
    store.unpin("loose-image")
    assert "left-1" in gone(store.plan_prune())


def test_only_what_is_old_enough_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    assert store.plan_prune(older_than=3600).going == []
    later = time.time_ns() + 2 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert len(store.plan_prune(older_than=3600).going) > 4


def test_a_plan_changes_nothing_and_survives_being_written_down(store: Store) -> None:
    fill(store)
    before = store.sequence
    plan = store.plan_prune()
    assert store.sequence == before
    again = PrunePlan.parse(plan.dump())
    assert (gone(again), again.size, again.planned_on) == (gone(plan), plan.size, before)
    assert store.apply_plan(again) == [before + 1]
    store.undo(last=1)
    assert [one.id for one in store.containers()] == ["box"]


@pytest.mark.parametrize(
    "since",
    [
        lambda store: store.create_container("loose-image", id="new"),
        lambda store: store.create_image("left-2", id="new"),
        lambda store: store.create_layer("loose-top", id="new"),
        lambda store: store.tag("loose-image", "wanted"),
        lambda store: store.mount("box"),
        lambda store: store.set_metadata("left-1", "mine"),
        lambda store: store.delete_container("box"),
        lambda store: store.pin("loose-image"),
    ],
)
def test_a_plan_is_refused_when_something_of_it_came_into_use_since(store: Store, since: Callable[[Store], object]) -> None:
    fill(store)
    plan = store.plan_prune()
    since(store)
    before = store.sequence
    with pytest.raises(StaleVersion):
        store.apply_plan(plan)
    assert store.sequence == before
    store.shutdown(force=True)


def test_a_plan_does_not_mind_what_it_does_not_touch(store: Store) -> None:
    fill(store)
    plan = store.plan_prune(["layer"])
    store.create_layer(id="other")
    store.apply_plan(plan)
    assert not store.exists("left-1")


def test_a_plan_of_another_store_is_refused(store: Store, open_store: OpenStore) -> None:
    fill(store)
    other = open_store("other")
    fill(other)
    with pytest.raises(InvalidPlan):
        other.apply_plan(store.plan_prune())
    assert other.exists("box")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"layerlog_plan": 2}',
        '{"layerlog_plan": 1, "head": "x", "delete": []}',
        '{"layerlog_plan": 1, "head": "1:00", "delete": [{}]}',
    ],
)
def test_a_document_that_is_no_plan_is_refused(store: Store, text: str) -> None:
    with pytest.raises(InvalidPlan):
        store.apply_plan(PrunePlan.parse(text))


def test_an_entry_that_was_added_to_a_plan_by_hand_is_refused_when_something_needs_it(store: Store) -> None:
    fill(store)
    document = json.loads(store.plan_prune().dump())
    document["delete"].append({"kind": "layer", "id": "base", "names": [], "why": "", "size": 0, "with_image": ""})
    with pytest.raises(StaleVersion):
        store.apply_plan(PrunePlan.parse(json.dumps(document)))
    assert store.exists("box")


def test_a_long_prune_commits_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlog.pruning.PIECE", 3)
    fill(store)
    commits = store.apply_plan(store.plan_prune())
    assert len(commits) == 2
    assert not store.exists("left-1")


def test_a_kind_that_there_is_not_is_refused(store: Store) -> None:
    fill(store)
    with pytest.raises(InvalidRequest, match="container, image, layer"):
        store.prune(("containers",))
    assert store.prune(("container",)).going
