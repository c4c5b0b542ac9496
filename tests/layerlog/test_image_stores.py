"""Additional image stores: other layerlog roots whose layers and images can be used and are never written."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.decide.lending import BorrowedLayerGone
from layerlog.eventstore.errors import (
    BlobMissing,
    DuplicateID,
    ImageUnknown,
    ImageUsedByContainer,
    ItemUnknown,
    LayerUnknown,
    ParentIsContainer,
    ReadOnlyStore,
)
from tests.layerlog.builders import BASE, TOP, Layout, tar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.layerlog.conftest import OpenStore


@pytest.fixture
def lender(open_store: OpenStore) -> Store:
    """A store with a layer of contents, an empty one on it, an image of both, and a container."""
    store = open_store("lender")
    store.import_layer(io.BytesIO(tar(BASE)), id="base", names=["base"])
    store.create_layer("base", id="hollow", names=["hollow"])
    store.create_image("hollow", id="im", names=["img", "img:1"], metadata="meta", big_data={"manifest": b"{}", "other": b"bytes"})
    store.create_container("im", id="theirs", names=["theirs"])
    return store


@pytest.fixture
def store(open_store: OpenStore, lender: Store) -> Store:
    """A store that looks into the lender's."""
    return open_store("root", image_stores=[lender.root])


def everything_below(root: str) -> dict[str, tuple[int, int, str]]:
    """Every path below *root* with size, time of change and contents."""
    found = {}
    for where, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            seen = os.lstat(path)
            data = ""
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = hashlib.sha256(file.read()).hexdigest()
            found[path] = (seen.st_size, seen.st_ctime_ns, data)
    return found


def test_layers_and_images_of_another_store_are_listed_after_ones_own_and_flagged_and_its_containers_are_not(store: Store) -> None:
    own = store.create_layer(names=["own"])
    assert [(one.id, one.read_only) for one in store.layers()][:3] == [(own.id, False), ("base", True), ("hollow", True)]
    assert [(one.id, one.read_only) for one in store.images()] == [("im", True)]
    assert store.containers() == []
    assert not store.exists("theirs")
    assert store.layer("base").read_only
    assert store.image("img").top_layer == "hollow"
    assert store.children("base") == ["hollow"]
    assert [one.id for one in store.images_by_digest(store.image("im").digest)] == ["im"]


def test_nothing_is_written_in_the_other_store_whatever_is_done_here(lender: Store, store: Store) -> None:
    before = everything_below(lender.root)
    container = store.create_container("img", names=["mine"])
    path = store.mount("mine")
    with open(os.path.join(path, "etc/motd"), "a") as file:
        file.write("more\n")
    store.unmount("mine")
    assert [change.path for change in store.changes(container.layer)] == [b"/etc", b"/etc/motd"]
    assert b"".join(store.diff("base", compression=0)) == tar(BASE)
    assert b"".join(store.diff("hollow")) == bytes(1024)
    assert list(store.changes("hollow")) == []
    assert store.diff_size("hollow") == 0
    store.add_names("img", ["copied"])
    store.commit_container(store.create_container(layer="base"), name="committed")
    assert list(store.check(unreferenced_seconds=1e9)) == []
    for refused in (
        lambda: store.apply_diff("base", io.BytesIO(tar(TOP))),
        lambda: store.mount("base"),
        lambda: store.delete_layer("base"),
        lambda: store.add_names("base", ["x"]),
        lambda: store.set_big_data("layer", "base", "k", b"v"),
        lambda: store.delete("base"),
    ):
        with pytest.raises((LayerUnknown, ItemUnknown)):
            refused()
    with pytest.raises(ItemUnknown):
        store.set_metadata("base", "x")
    store.delete_container("mine")
    store.gc()
    store.wipe()
    assert everything_below(lender.root) == before


def test_an_image_of_another_store_that_is_mounted_read_only_is_refused(store: Store) -> None:
    with pytest.raises(ReadOnlyStore):
        store.mount("img", read_only=True)


def test_what_the_owner_commits_meanwhile_is_seen_at_the_next_look(lender: Store, store: Store) -> None:
    assert not store.exists("late")
    lender.create_layer("base", id="late")
    assert store.exists("late")
    lender.delete_layer("late")
    assert not store.exists("late")


def test_ones_own_name_hides_the_same_name_over_there(store: Store) -> None:
    own = store.create_image(names=["img"])
    assert store.image("img") == own
    assert store.image("im").read_only


def test_an_id_that_a_layer_over_there_has_is_taken(store: Store) -> None:
    with pytest.raises(DuplicateID):
        store.create_layer(id="base")


def test_a_store_over_there_that_another_thread_has_just_found_replaced_is_opened_anew_by_this_one(lender: Store, store: Store) -> None:
    """It closed what both looked into; this one was told that its own store was closed."""
    assert store.exists("img")
    opened = store.lenders.all[0]._ledger
    assert opened is not None
    opened.close()
    assert store.exists("img")
    assert store.lenders.all[0]._ledger is not opened


def test_a_container_s_layer_over_there_is_no_parent(lender: Store, store: Store) -> None:
    with pytest.raises(ParentIsContainer):
        store.create_layer(lender.container("theirs").layer)


def test_renaming_an_image_over_there_copies_it_up_and_dropped_names_do_not_fall_through(lender: Store, store: Store) -> None:
    made_at = lender.image("im").created_ns
    assert store.set_names("img", ["only"]) == ["only"]
    copy = store.image("im")
    assert (copy.read_only, copy.metadata, copy.created_ns, copy.names_history) == (False, "meta", made_at, ["only"])
    assert store.big_data("image", "only", "other") == b"bytes"
    assert [(one.names, one.read_only) for one in store.images()] == [(["only"], False), (["img", "img:1"], True)]
    with pytest.raises(ImageUnknown):
        store.image("img:1")
    assert lender.image("img").names == ["img", "img:1"]
    store.undo(last=1)
    assert store.image("img:1").read_only


def test_a_copied_up_image_is_deleted_without_its_layers_and_what_is_over_there_appears_again(store: Store) -> None:
    store.tag("img", "more")
    container = store.create_container("more")
    with pytest.raises(ImageUsedByContainer):
        store.delete_image("more")
    store.delete_container(container.id)
    assert store.delete_image("more") == []
    assert store.image("img").read_only
    with pytest.raises(ImageUnknown):
        store.delete_image("img")


def test_an_image_made_under_the_id_of_one_over_there_starts_as_its_copy(store: Store) -> None:
    made = store.create_image("hollow", id="im", names=["new"], big_data={"extra": b"e"})
    assert (made.names, made.metadata, list(made.big_data)) == (["img", "img:1", "new"], "meta", ["manifest", "other", "extra"])
    assert store.big_data("image", "new", "manifest") == b"{}"


def test_a_transaction_may_copy_up_and_build_on_what_is_over_there(store: Store) -> None:
    with store.transaction() as tx:
        tx.tag("img", "a")
        layer = tx.create_layer("base")
        tx.create_image(layer, names=["b"])
    assert (store.image("a").id, store.layer(layer).parent) == ("im", "base")


def test_a_lent_layer_that_went_away_is_an_error_with_its_name_and_its_store(lender: Store, store: Store) -> None:
    container = store.create_container("img")
    row = store.layer(container.layer).row["loan"]
    assert (row["root"], row["sequence"]) == (lender.root, lender.sequence)
    lender.delete_container("theirs")
    lender.delete_image("im")
    with pytest.raises(BorrowedLayerGone, match=f"layer hollow, which {container.layer} borrows from the image store {lender.root}"):
        store.mount(container.id)
    with Store(store.root, store.run_root) as alone, pytest.raises(BorrowedLayerGone) as gone:
        alone.mount(container.id)
    assert lender.root in gone.value.advice()


def test_a_lent_layer_with_other_contents_is_noticed(lender: Store, store: Store) -> None:
    layer = store.create_layer("base")
    lender.apply_diff("base", io.BytesIO(tar(TOP)))
    with pytest.raises(BorrowedLayerGone, match="has other contents now"):
        store.mount(layer.id)


def test_a_load_shares_the_layers_that_another_store_has(tmp_path: Path, lender: Store, store: Store) -> None:
    layout = Layout()
    path = layout.write(tmp_path / "layout")
    there = lender.load(path, name="app")
    here = store.load(path, name="app:here")
    assert here.id == there.id
    assert [one for one in store.layers() if not one.read_only] == []
    assert not here.read_only
    assert store.delete_image("app:here") == []


def test_a_root_that_holds_no_store_yet_lends_nothing_until_it_does(tmp_path: Path, open_store: OpenStore) -> None:
    (tmp_path / "later").mkdir()
    store = open_store("root", image_stores=[tmp_path / "later"])
    assert store.layers() == []
    open_store("later").create_layer(id="new")
    assert store.layer("new").read_only


def test_a_store_made_again_in_its_place_is_read_anew(lender: Store, open_store: OpenStore, store: Store) -> None:
    assert store.exists("base")
    lender.close()
    shutil.rmtree(lender.root)
    open_store("lender").create_layer(id="other")
    with Store(store.root, store.run_root, image_stores=[lender.root]) as again:
        assert [one.id for one in again.layers()] == ["other"]


def test_several_stores_are_asked_in_their_order(open_store: OpenStore, lender: Store) -> None:
    second = open_store("second")
    second.create_image(id="other", names=["img", "second"])
    store = open_store("root", options=[f"vfs.imagestore={second.root},{lender.root}"])
    assert store.image("img").id == "other"
    assert [one.id for one in store.images()] == ["other", "im"]
    assert store.layer("base").row["borrowed"]["root"] == lender.root


def test_the_past_shows_what_was_lent_as_it_is_now(store: Store) -> None:
    before = store.sequence
    store.create_layer("base", id="mine")
    assert [one.id for one in store.at(before).layers()][:1] == ["base"]
    assert store.at("now").chain("mine") == ["base"]


def test_data_that_is_damaged_over_there_is_found_and_said_of_a_read_only_image(lender: Store, store: Store) -> None:
    os.unlink(lender.blobs.path(lender.image("im").big_data["other"][0]))
    found = list(store.check(unreferenced_seconds=1e9))
    assert [(one.kind, one.id, one.read_only) for one in found] == [("image", "im", True)]
    with pytest.raises(BlobMissing):
        store.tag("img", "copy")
    assert [one.read_only for one in store.images()] == [True]
    lender.set_big_data("image", "im", "other", b"bytes")


def test_the_owner_may_compact_its_journal_meanwhile(open_store: OpenStore) -> None:
    lender = open_store("lender", retention=0)
    for number in range(120):
        lender.create_layer(id=f"layer{number}", metadata="x" * 60_000)
    store = open_store("root", image_stores=[lender.root])
    assert store.exists("layer3")
    assert lender.compact("now", drop=True).segments > 0
    lender.delete_layer("layer4")
    assert (store.exists("layer3"), store.exists("layer4"), len(store.layers())) == (True, False, 119)
    with Store(store.root, store.run_root, image_stores=[lender.root]) as other:
        assert len(other.layers()) == 119
