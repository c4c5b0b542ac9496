"""What the original's Store offers, under our names: for each row of docs/parity.md a test that fails without the method.

``tools/parity.py`` replaces each method by a stub and runs its test, which must fail then.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.errors import (
    ContainerUnknown,
    InvalidRequest,
    ItemUnknown,
    LayerHasChildren,
    LayerUnknown,
    StoreClosed,
)
from tests.layerlog.builders import digest, tar

if TYPE_CHECKING:
    from tests.layerlog.conftest import OpenStore

TAR = tar({"d/": None, "d/f": b"hi\n", "g": b"x" * 5000})


@pytest.fixture
def full(store: Store) -> Store:
    """base (from a tar) <- top; image app on top; container box on app."""
    store.import_layer(io.BytesIO(TAR), id="base", names=["base-name"])
    store.create_layer("base", id="top")
    store.create_image("top", id="app", names=["app:1"])
    store.create_container("app", id="box", names=["web"])
    return store


# --- the store


def test_a_store_knows_its_roots_driver_and_options(tmp_path: Path) -> None:
    with Store(tmp_path / "g", tmp_path / "r", "vfs", options=["vfs.ignore_chown_errors=false"]) as store:
        assert (store.root, store.run_root, store.driver_name) == (str(tmp_path / "g"), str(tmp_path / "r"), "vfs")
        assert store.driver_options == ("vfs.ignore_chown_errors=false",)
        assert ("Driver Name", "vfs") in store.status()


def test_the_driver_is_at_hand(full: Store) -> None:
    assert full.driver.name == "vfs"
    assert full.driver.exists("base")


def test_the_version_is_told_as_pairs(store: Store) -> None:
    ((key, value),) = store.version()
    assert key == "Version"
    assert value[0].isdigit()


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreClosed):
        store.create_layer()


def test_wipe_leaves_nothing(full: Store) -> None:
    full.wipe()
    assert full.lists() == ([], [], [])


def test_shutdown_unmounts_with_force_only(full: Store) -> None:
    path = full.mount("top")
    with pytest.raises(Exception, match="a layer is mounted"):
        full.shutdown()
    assert full.shutdown(force=True) == [path]
    assert full.shutdown() == []


def test_gc_moves_what_only_the_driver_knows(full: Store) -> None:
    full.driver.create("stray", [])
    Path(full.driver.path("stray"), "precious").write_bytes(b"x")
    full.gc()
    assert not full.driver.exists("stray")


def test_check_finds_a_layer_without_its_folder(full: Store) -> None:
    full.driver.remove("base")
    assert "base" in [one.id for one in full.check()]


def test_lists_are_of_one_instant(full: Store) -> None:
    layers, images, containers = full.lists()
    assert [one.id for one in layers][:2] == ["base", "top"]
    assert ([one.id for one in images], [one.id for one in containers]) == (["app"], ["box"])


def test_a_digest_lock_lets_one_in_at_a_time(store: Store, open_store: OpenStore) -> None:
    wanted, other = "sha256:" + "0" * 64, open_store()
    order: list[str] = []
    with store.digest_lock(wanted), other.digest_lock("sha256:" + "1" * 64):
        waiting = threading.Thread(target=lambda: _in_turn(other, wanted, order))
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def _in_turn(store: Store, wanted: str, order: list[str]) -> None:
    with store.digest_lock(wanted):
        order.append("second")


# --- layers


def test_a_layer_is_made_on_a_parent_with_names_and_a_label(store: Store) -> None:
    store.create_layer(id="a")
    made = store.create_layer("a", id="b", names=["x"], label="l", flags={"mine": True})
    assert (made.id, made.parent, made.names, made.mount_label, made.flags) == ("b", "a", ["x"], "l", {"mine": True})


def test_a_layer_of_a_tar_has_its_digests_and_gives_it_back(store: Store) -> None:
    made = store.import_layer(io.BytesIO(TAR), id="a")
    assert made.contents is not None
    assert (made.contents.diff_digest, made.contents.diff_size) == (digest(TAR), len(TAR))
    assert b"".join(store.diff("a")) == TAR


def test_a_diff_is_applied_over_what_is_there(store: Store) -> None:
    store.create_layer(id="a")
    store.apply_diff("a", io.BytesIO(TAR))
    assert Path(store.driver.path("a"), "g").stat().st_size == 5000


def test_changes_and_diff_size_compare_with_the_parent_or_another(full: Store) -> None:
    assert [(one.path, one.kind) for one in full.changes("base")] == [(b"/d", 1), (b"/d/f", 1), (b"/g", 1)]
    assert list(full.changes("top")) == []
    assert (full.diff_size("base"), full.diff_size("top"), full.diff_size("base", "top")) == (5003, 0, 0)


def test_layers_are_found_by_each_of_their_digests(store: Store) -> None:
    import gzip

    packed = gzip.compress(TAR, mtime=0)
    store.import_layer(io.BytesIO(packed), id="a")
    assert [one.id for one in store.layers_by_compressed_digest(digest(packed))] == ["a"]
    assert [one.id for one in store.layers_by_uncompressed_digest(digest(TAR))] == ["a"]
    assert store.layers_by_compressed_digest(digest(TAR)) == store.layers_by_toc_digest(digest(TAR)) == []


def test_the_size_of_a_layer_is_the_recorded_one_or_unknown(full: Store) -> None:
    assert (full.layer_size("base-name"), full.layer_size("top")) == (len(TAR), -1)
    with pytest.raises(LayerUnknown):
        full.layer_size("nope")


def test_layers_are_listed_and_looked_up(full: Store) -> None:
    assert [one.id for one in full.layers()][:2] == ["base", "top"]
    assert full.layer("base-name").id == full.layer("bas").id == "base"
    with pytest.raises(LayerUnknown):
        full.layer("nope")


def test_a_layer_with_children_is_not_deleted(full: Store) -> None:
    with pytest.raises(LayerHasChildren):
        full.delete_layer("base")
    full.create_layer(id="free")
    full.delete_layer("free")
    assert not full.exists("free")


def test_a_delete_without_safety_checks_takes_what_is_used(full: Store) -> None:
    full.delete("base")
    assert not full.exists("base")
    full.create_layer(id="base")  # for the check at the end


def test_data_beside_a_layer_comes_back(full: Store) -> None:
    full.set_big_data("layer", "top", "k", b"data")
    assert full.big_data_keys("layer", "top") == ["k"]
    with full.open_big_data("layer", "top", "k") as file:
        assert file.read() == b"data"
    full.remove_big_data("layer", "top", "k")
    assert full.big_data_keys("layer", "top") == []


@pytest.mark.root
def test_owners_above_an_unmapped_layer_are_none_of_its_concern(full: Store) -> None:
    full.mount("top")
    assert full.parent_owners("top") == ([], [])
    full.create_layer(id="mapped", uid_map=[{"container_id": 0, "host_id": 70000, "size": 10}])
    full.mount("mapped")
    assert os.geteuid() in full.parent_owners("mapped")[0]
    full.shutdown(force=True)


# --- images


def test_an_image_is_made_with_its_data_names_and_flags(full: Store) -> None:
    made = full.create_image("top", id="i", names=["n"], metadata="m", digest=digest(b"x"), big_data={"k": b"v"}, flags={"f": 1})
    assert (made.id, made.layer, made.names, made.metadata, made.digest) == ("i", "top", ["n"], "m", digest(b"x"))
    assert (made.flags, full.big_data("image", "n", "k")) == ({"f": 1}, b"v")


def test_images_are_listed_and_found(full: Store) -> None:
    full.set_big_data("image", "app", "manifest", b"{}")
    assert [one.id for one in full.images()] == ["app"]
    assert full.image("app:1").id == "app"
    assert [one.id for one in full.images_by_top_layer("top")] == ["app"]
    assert full.images_by_top_layer("base") == []
    assert [one.id for one in full.images_by_digest(digest(b"{}"))] == ["app"]


def test_the_size_of_an_image_is_that_of_its_layers_and_data(full: Store) -> None:
    full.set_big_data("image", "app", "k", b"x" * 10)
    assert full.image_size("app") == len(TAR) + 10
    assert (full.big_data_size("image", "app", "k"), full.big_data_keys("image", "app")) == (10, ["k"])
    assert full.big_data_digest("image", "app", "k") == digest(b"x" * 10)


def test_an_image_goes_with_the_layers_that_only_it_needs(full: Store) -> None:
    full.delete_container("box")
    assert full.delete_image("app", test=True) == ["top", "base"]
    assert full.delete_image("app") == ["top", "base"]
    assert full.lists() == ([], [], [])


def test_folders_of_an_image_lie_below_both_roots(full: Store) -> None:
    assert full.image_dir("app:1").startswith(full.root)
    assert full.image_run_dir("app:1").startswith(full.run_root)
    assert Path(full.image_dir("app")).is_dir()


def test_an_image_can_be_mounted_and_unmounted_by_its_own_name(full: Store) -> None:
    path = full.mount("app:1", read_only=True)
    assert Path(path, "g").exists()
    assert full.unmount("app:1") is True


# --- containers


def test_a_container_is_made_with_its_data_names_and_flags(full: Store) -> None:
    made = full.create_container("app", id="c", names=["n"], metadata="m", volatile=True, big_data={"k": b"v"})
    assert (made.id, made.image, made.names, made.metadata, made.flags["Volatile"]) == ("c", "app", ["n"], "m", True)
    assert full.layer(made.layer).parent == "top"
    assert full.big_data("container", "c", "k") == b"v"


def test_containers_are_listed_and_found_by_their_layer(full: Store) -> None:
    assert [one.id for one in full.containers()] == ["box"]
    assert full.container("web").id == full.container_by_layer(full.container("box").layer).id == "box"
    with pytest.raises(ContainerUnknown):
        full.container_by_layer("top")


def test_the_size_of_a_container_counts_its_layer_data_and_folders(full: Store) -> None:
    Path(full.mount("box"), "new").write_bytes(b"x" * 100)
    full.unmount("box")
    full.set_big_data("container", "box", "k", b"y" * 10)
    full.set_container_directory_file("box", "f", b"z" * 5)
    assert full.container_size("box") == 115


def test_a_container_goes_with_its_layer(full: Store) -> None:
    layer = full.container("box").layer
    full.delete_container("box")
    assert not full.exists("box")
    assert not full.exists(layer)


def test_files_beside_a_container_come_back_and_go_with_it(full: Store) -> None:
    full.set_container_directory_file("web", "deep/file", b"kept")
    full.set_container_run_directory_file("web", "file", b"boot")
    assert full.from_container_directory("box", "deep/file") == b"kept"
    assert full.from_container_run_directory("box", "file") == b"boot"
    folders = full.container_dir("box"), full.container_run_dir("box")
    assert folders[0].startswith(full.root)
    assert folders[1].startswith(full.run_root)
    for name in ("", "..", "../x", "a/../b", "/etc/passwd", "a\0b"):
        with pytest.raises(InvalidRequest):
            full.set_container_directory_file("web", name, b"")
    full.delete_container("box")
    assert not any(map(os.path.exists, folders))


# --- anything


def test_mounts_are_counted(full: Store) -> None:
    path = full.mount("box")
    assert (full.mount("web"), full.mount_count("box"), full.mounted("box")) == (path, 2, True)
    assert (full.unmount("box"), full.mount_count("box")) == (False, 1)
    assert (full.unmount("box", force=True), full.mounted("box")) == (True, False)


def test_anything_is_looked_up_by_id_name_or_prefix(full: Store) -> None:
    assert (full.lookup("base-name"), full.lookup("app:1"), full.lookup("web"), full.lookup("bo")) == ("base", "app", "box", "box")
    assert full.exists("web")
    assert not full.exists("nope")
    with pytest.raises(ItemUnknown):
        full.lookup("nope")


def test_names_are_set_added_removed_and_remembered(full: Store) -> None:
    assert full.add_names("app", ["new", "app:1"]) == ["new", "app:1"]
    assert full.names("app") == ["new", "app:1"]
    assert full.remove_names("app", ["app:1"]) == ["new"]
    assert full.set_names("app", ["last"]) == ["last"]
    assert full.image("app").names_history == ["last", "new", "app:1"]


def test_metadata_is_replaced(full: Store) -> None:
    full.set_metadata("web", "text")
    assert (full.metadata("box"), full.metadata("app")) == ("text", "")


def test_the_status_names_what_the_store_stands_on(full: Store) -> None:
    assert dict(full.status())["Root"] == full.root


def test_hashes_say_which_files_may_be_equal_and_the_kernel_decides(full: Store) -> None:
    full.import_layer(io.BytesIO(TAR), "top", id="again")
    full.create_image("again", id="second")
    assert full.dedup("sha256") == full.dedup("size") == full.dedup("crc")
    with pytest.raises(InvalidRequest):
        full.dedup("md5")
    assert hashlib.sha256(Path(full.driver.path("again"), "g").read_bytes()).digest() == hashlib.sha256(b"x" * 5000).digest()
