"""A split store: images and read-only layers in one root, containers and writable layers in another."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.change import SPLIT_LEASE
from layerlog.decide.lending import BorrowedLayerGone
from layerlog.decide.undoing import UndoConflict
from layerlog.eventstore.errors import ImageUnknown, ImageUsedByContainer, InvalidRequest, LayerHasChildren, LayerUsedByImage, NotSupported
from layerlog.split_store import SplitStore
from tests.layerlog.builders import BASE, TOP, Layout, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SplitStore]:
    """An empty split store on vfs; both halves are clean at the end, together and apart."""
    made = Store(tmp_path / "root", tmp_path / "run", "vfs", image_store=tmp_path / "images")
    assert isinstance(made, SplitStore)
    with made:
        yield made
        assert list(made.check(unreferenced_seconds=1e9)) == []
    with Store(tmp_path / "images") as alone:
        assert alone.recovered == []


def in_root(store: SplitStore) -> list[str]:
    """IDs of the layers whose record the root has."""
    with store.reading() as rows:
        return sorted(one.id for one in store.layers() if one.row.get("borrowed") is None and rows.own is not rows)


def in_images(store: SplitStore) -> list[str]:
    return sorted(one.id for one in store.images_half.layers() if "borrowed" not in one.row)


def test_images_and_read_only_layers_are_kept_in_the_image_root_and_the_rest_in_the_root(store: SplitStore, tmp_path: Path) -> None:
    store.import_layer(io.BytesIO(tar(BASE)), id="base", read_only=True)
    store.create_layer("base", id="own")
    store.create_image("base", id="im", names=["img"], big_data={"k": b"v"})
    container = store.create_container("img")
    assert (in_root(store), in_images(store)) == (sorted(["own", container.layer]), ["base"])
    assert [one.id for one in store.layers()] == ["own", container.layer, "base"]
    assert [(one.id, one.read_only) for one in store.images()] == [("im", False)]
    assert store.big_data("image", "img", "k") == b"v"
    with Store(tmp_path / "images") as alone:
        assert (alone.image("img").top_layer, alone.containers()) == ("base", [])
    with Store(tmp_path / "root", tmp_path / "run") as alone:
        assert (alone.images(), [one.id for one in alone.containers()]) == ([], [container.id])


def test_a_container_is_used_and_committed_across_the_halves(store: SplitStore, tmp_path: Path) -> None:
    store.load(Layout().write(tmp_path / "layout"), name="app")
    with store.sandbox("app") as box:
        with open(os.path.join(box.root, "made"), "w") as file:
            file.write("x")
        made = box.commit(name="app:2")
    assert in_root(store) == []
    assert store.chain(made.top_layer)[0] == store.image("app").top_layer
    assert store.delete_image("app:2") == [made.top_layer]
    assert len(store.delete_image("app")) == 2


def test_an_image_deletes_its_layers_in_both_halves_top_first(store: SplitStore) -> None:
    store.create_layer(id="a")
    store.create_layer("a", id="b", read_only=True)
    store.create_layer("b", id="c")
    store.create_image("c", id="im", names=["img"])
    assert store.delete_image("img", test=True) == ["c", "b", "a"]
    assert store.delete_image("img") == ["c", "b", "a"]
    assert store.layers() == []


def test_a_delete_that_is_killed_between_the_halves_leaves_something_unused_and_nothing_dangling(store: SplitStore) -> None:
    store.create_layer(id="low")
    store.create_layer("low", id="top", read_only=True)
    store.create_image("top", id="im")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_delete_unused", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.delete_image("im")
    assert [one.message for one in store.check(unreferenced_seconds=0)] == ["layer low: layer not referenced by any images or containers"]
    store.delete_layer("low")


def test_what_one_half_needs_the_other_does_not_delete(store: SplitStore) -> None:
    store.create_layer(id="low")
    store.create_layer("low", id="high", read_only=True)
    store.create_image("low", id="im")
    container = store.create_container("im")
    with pytest.raises(LayerHasChildren):
        store.delete_layer("low")
    with pytest.raises(ImageUsedByContainer):
        store.delete_image("im")
    with pytest.raises(ImageUsedByContainer):
        store.images_half.delete_image("im")
    store.delete_layer("high")
    store.delete_container(container.id)
    with pytest.raises(LayerUsedByImage):
        store.delete_layer("low")
    assert store.delete_image("im") == ["low"]


def test_an_image_that_the_root_had_before_is_listed_after_and_deleted_from_it(tmp_path: Path) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as before:
        before.create_layer(id="old")
        before.create_image("old", id="im", names=["old"])
        before.create_image(id="other", names=["other"])
    with Store(tmp_path / "root", tmp_path / "run", image_store=tmp_path / "images") as store:
        store.create_image(id="new")
        assert [(one.id, one.read_only) for one in store.images()] == [("new", False), ("im", True), ("other", True)]
        assert store.add_names("other", ["more"]) == ["more", "other"]
        assert store.image("more").read_only is False
        assert store.delete_image("old") == ["old"]
        with pytest.raises(ImageUnknown):
            store.image("old")


def test_layers_and_names_are_changed_in_the_half_that_has_them(store: SplitStore, tmp_path: Path) -> None:
    store.create_layer(id="ro", names=["x"], read_only=True)
    store.apply_diff("ro", io.BytesIO(tar(BASE)))
    store.set_names("ro", ["y"])
    store.set_metadata("ro", "m")
    store.set_big_data("layer", "ro", "k", b"v")
    assert (store.layer("y").metadata, store.big_data("layer", "ro", "k")) == ("m", b"v")
    path = store.mount("ro")
    assert path.startswith(str(tmp_path / "images"))
    assert store.mounts() == [("ro", path, 1)]
    store.shutdown(force=True)
    assert store.mounts() == []
    store.apply_diff("ro", io.BytesIO(tar(TOP)))
    store.delete("ro")
    assert [one.id for one in store.trash()] == ["ro"]
    assert store.restore("ro").id == "ro"
    assert [one.id for one in store.images_half.layers()] == ["ro"]


def test_wipe_leaves_nothing_in_either_half(store: SplitStore, tmp_path: Path) -> None:
    store.load(Layout().write(tmp_path / "layout"), name="app")
    store.create_container("app")
    store.create_layer(store.image("app").top_layer)
    store.wipe()
    assert (store.layers(), store.images(), store.containers()) == ([], [], [])


def test_a_transaction_over_both_halves_is_refused_and_one_over_images_is_not(store: SplitStore) -> None:
    with pytest.raises(NotSupported):
        store.transaction()
    with store.images_half.transaction() as tx:
        tx.create_image(names=["a"])
    assert store.image("a").names == ["a"]


def test_no_container_is_made_on_an_image_while_it_is_being_deleted(store: SplitStore) -> None:
    """Both decide under one lease: whichever is second sees what the first did."""
    store.create_layer(id="base", read_only=True)
    store.create_image("base", id="im")
    failed: list[type[BaseException]] = []

    def make() -> None:
        try:
            store.create_container("im", id="late")
        except ImageUnknown as error:
            failed.append(type(error))

    maker = threading.Thread(target=make)
    with store.images_half.lease(SPLIT_LEASE, "a delete that has decided", wait=True):
        maker.start()
        maker.join(0.2)
        assert not store.exists("late", "container")
        store.images_half.ledger.commit(lambda rows: [{"type": "ImageDeleted", "id": "im", "kept": False}], envelope=store.terms.envelope)
    maker.join()
    assert failed == [ImageUnknown]


def test_one_root_cannot_be_both_halves(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "root")
    with pytest.raises(InvalidRequest, match="must either be not set or be a different than graphroot"):
        Store(tmp_path / "root", image_store=tmp_path / "link")
    assert not (tmp_path / "root").exists()


def test_nothing_comes_back_without_what_the_other_half_lent_it(store: SplitStore) -> None:
    store.import_layer(io.BytesIO(tar(BASE)), id="base", read_only=True)
    store.create_image("base", id="im", names=["img"])
    store.create_layer("base", id="own")
    store.create_container("img", id="box")
    store.wipe()
    with pytest.raises(UndoConflict, match="base, which own borrows"):
        store.undo(last=1)
    with pytest.raises(BorrowedLayerGone, match="base, which own borrows"):
        store.restore("own")
    store.restore("img")
    store.undo(last=1)
    store.restore("box")
    assert [one.id for one in store.layers() if one.id in ("own", "base")] == ["own", "base"]


def test_who_held_a_name_and_why_an_image_is_gone_is_known_to_both_halves_together(store: SplitStore) -> None:
    image = store.create_image(names=["img"])
    store.create_container("img", id="box", names=["img"])
    store.delete_container("box")
    store.delete_image(image.id)
    assert store.why_gone("box").kind == "container"
    assert (store.why_gone(image.id).id, store.why_gone(image.id).can_return) == (image.id, True)
    assert [(one.kind, one.ended_by) for one in store.blame("img")] == [("image", "deleted"), ("container", "deleted")]
