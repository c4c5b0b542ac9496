from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.drivers import durable
from layerlog.eventstore.errors import (
    BigDataUnknown,
    ContainerUnknown,
    DuplicateContainerName,
    DuplicateID,
    DuplicateImageID,
    DuplicateImageName,
    DuplicateName,
    ForeignStore,
    ImageUsedByContainer,
    InvalidID,
    ItemUnknown,
    LayerHasChildren,
    LayerUnknown,
    LayerUsedByContainer,
    LayerUsedByImage,
    NotInTrash,
    ParentUnknown,
    Pinned,
    ReadOnlyStore,
    RetryMismatch,
    StaleVersion,
    StoreClosed,
    StoreError,
)
from tests.layerlog.builders import BASE, TOP, tar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.layerlog.conftest import OpenStore


# --- creating, finding, naming


def test_what_was_created_is_found_by_id_name_and_prefix(store: Store) -> None:
    base = store.create_layer(names=["base", "b"], metadata="free text")
    top = store.create_layer("base")
    image = store.create_image(top.id, names=["image:1"])
    container = store.create_container("image:1", name="box")
    assert [store.layer(word).id for word in (base.id, "base", "b", base.id[:12])] == [base.id] * 4
    assert (store.layer("base").metadata, top.parent, store.chain(top.id)) == ("free text", base.id, [base.id])
    assert (store.image("image:1").layer, store.container("box").image) == (top.id, image.id)
    assert store.container(container.layer).id == container.id, "a container is also found by its layer"
    assert [one.id for one in store.layers()] == [base.id, top.id, container.layer]
    assert (len(store.images()), len(store.containers())) == (1, 1)


def test_everything_is_there_after_closing_and_opening(open_store: OpenStore) -> None:
    first = open_store()
    layer = first.create_layer(names=["base"])
    first.set_big_data("layer", "base", "k", b"bytes")
    first.close()
    again = open_store()
    assert (again.layers(), again.big_data("layer", "base", "k")) == ([again.layer(layer.id)], b"bytes")


def test_another_open_store_sees_a_change_at_once(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    layer = one.create_layer(names=["base"])
    assert other.layer("base").id == layer.id
    other.delete_layer("base")
    assert not one.exists("base")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda store: store.create_layer(id="taken"), DuplicateID),
        (lambda store: store.create_layer(names=["name"]), DuplicateName),
        (lambda store: store.create_layer("nobody"), ParentUnknown),
        (lambda store: store.create_layer(id="../x"), InvalidID),
        (lambda store: store.create_layer(id=".hidden"), InvalidID),
        (lambda store: store.create_image("nobody"), LayerUnknown),
        (lambda store: store.create_image(id="image"), DuplicateImageID),
        (lambda store: store.create_image(names=["image-name"]), DuplicateImageName),
        (lambda store: store.create_container(name="box"), DuplicateContainerName),
        (lambda store: store.layer("nobody"), LayerUnknown),
        (lambda store: store.container("nobody"), ContainerUnknown),
        (lambda store: store.set_metadata("nobody", "x"), ItemUnknown),
        (lambda store: store.delete_layer("taken"), LayerHasChildren),
        (lambda store: store.delete_layer("other"), LayerUsedByImage),
        (lambda store: store.delete_layer(store.container("box").layer), LayerUsedByContainer),
        (lambda store: store.delete_image("image"), ImageUsedByContainer),
        (lambda store: store.big_data("image", "image", "none"), BigDataUnknown),
        (lambda store: store.restore("taken"), NotInTrash),
        (lambda store: store.apply_diff("nobody", io.BytesIO()), LayerUnknown),
    ],
)
def test_a_refused_change_changes_nothing(store: Store, wrong: object, error: type[StoreError]) -> None:
    store.create_layer(id="taken", names=["name"])
    store.create_layer("taken", id="top")
    store.create_image("top", id="image", names=["image-name"])
    store.create_image(store.create_layer(id="other").id)
    store.create_container("image", name="box")
    before = store.sequence
    with pytest.raises(error):
        wrong(store)  # type: ignore[operator]
    assert store.sequence == before


def test_a_name_moves_to_whoever_is_given_it(store: Store) -> None:
    one, two = store.create_image(names=["w", "x"]), store.create_image()
    assert store.set_names(two.id, ["x", "y", "x"]) == ["x", "y"]
    assert (store.names(one.id), store.image("x").id) == (["w"], two.id)
    assert store.add_names(two.id, ["z"]) == ["z", "x", "y"]
    assert store.remove_names(two.id, ["x", "unknown"]) == ["z", "y"]
    store.tag(one, "z")
    assert store.image("z").id == one.id
    store.untag("z")
    assert not store.exists("z")


def test_metadata_and_big_data_are_replaced_and_removed(store: Store) -> None:
    image = store.create_image(big_data={"Weird/Key": b"1"})
    store.set_metadata(image.id, "new")
    store.set_big_data("image", image.id, "Weird/Key", io.BytesIO(b"22"))
    store.set_big_data("image", image.id, "other", b"")
    assert (store.metadata(image.id), store.big_data("image", image.id, "Weird/Key")) == ("new", b"22")
    assert (store.big_data_keys("image", image.id), store.big_data_size("image", image.id, "other")) == (["Weird/Key", "other"], 0)
    store.remove_big_data("image", image.id, "other")
    with pytest.raises(BigDataUnknown):
        store.big_data("image", image.id, "other")


# --- contents


def test_a_layer_gives_back_the_tar_it_came_from(store: Store) -> None:
    base = store.import_layer(io.BytesIO(tar(BASE)), names=["base"])
    top = store.import_layer(io.BytesIO(tar(TOP)), "base")
    assert b"".join(store.diff("base")) == tar(BASE)
    assert b"".join(store.diff(top.id)) == tar(TOP)
    root = store.mount(top.id, read_only=True)
    assert sorted(os.listdir(root)) == ["bin", "etc", "new"]
    assert sorted(os.listdir(os.path.join(root, "etc"))) == ["motd"]
    assert {(change.kind, change.path) for change in store.changes(top.id)} >= {(1, b"/new"), (2, b"/etc/old"), (0, b"/etc/motd")}
    store.unmount(top.id)
    assert base.contents is not None
    assert store.layers_by_digest(base.contents.diff_digest)[0].id == base.id


def test_a_damaged_archive_leaves_no_layer(store: Store) -> None:
    with pytest.raises(StoreError):
        store.import_layer(io.BytesIO(tar(BASE)[:700]), names=["base"])
    assert store.layers() == []


def test_a_diff_applied_to_a_layer_is_its_next_generation(store: Store) -> None:
    layer = store.import_layer(io.BytesIO(tar(BASE)))
    store.apply_diff(layer.id, io.BytesIO(tar(TOP)))
    root = store.mount(layer.id, read_only=True)
    assert sorted(os.listdir(os.path.join(root, "etc"))) == ["motd"]
    with pytest.raises(StoreError):
        store.apply_diff(layer.id, io.BytesIO(b"no tar at all" * 100))
    assert b"".join(store.diff(layer.id)) == tar(TOP)


def test_mounts_are_counted_over_all_stores(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    layer = one.create_layer()
    path = one.mount(layer.id)
    assert other.mount(layer.id) == path
    assert (one.mount_count(layer.id), one.mounts()) == (2, [(layer.id, path, 2)])
    assert one.unmount(layer.id) is False
    other.unmount(layer.id)
    assert (one.mounted(layer.id), other.mounts()) == (False, [])
    assert one.layer(layer.id).opened


# --- deleting and coming back


def test_a_deleted_image_comes_back_with_names_layers_and_contents(store: Store) -> None:
    base = store.import_layer(io.BytesIO(tar(BASE)))
    top = store.import_layer(io.BytesIO(tar(TOP)), base.id)
    image = store.create_image(top.id, names=["app:1"], big_data={"k": b"v"})
    before = (store.images(), [one.id for one in store.layers()])
    assert store.delete_image("app:1", test=True) == [top.id, base.id]
    assert store.delete_image("app:1") == [top.id, base.id]
    assert (store.images(), store.layers(), store.driver.list()) == ([], [], [])
    gone = store.why_gone("app:1")
    assert (gone.id, gone.can_return, sorted(gone.with_it)) == (image.id, True, sorted([("layer", base.id), ("layer", top.id)]))
    store.restore("app:1")
    assert ([one.id for one in store.images()], [one.id for one in store.layers()]) == ([image.id], before[1])
    assert (store.big_data("image", "app:1", "k"), b"".join(store.diff(top.id))) == (b"v", tar(TOP))


def test_a_container_goes_with_its_layer_and_folders(store: Store) -> None:
    container = store.create_container(name="box")
    folder = store.container_dir("box")
    store.mount("box")
    store.delete_container("box")
    assert (store.layers(), store.containers(), os.path.exists(folder), store.mounts()) == ([], [], False, [])
    store.restore(container.id)
    assert store.container("box").layer == container.layer


def test_layers_that_something_else_needs_stay(store: Store) -> None:
    base = store.create_layer()
    kept, gone = store.create_image(base.id), store.create_image(store.create_layer(base.id).id)
    store.delete_image(gone.id)
    assert ([one.id for one in store.layers()], [one.id for one in store.images()]) == ([base.id], [kept.id])


def test_with_retention_0_nothing_stays(open_store: OpenStore) -> None:
    store = open_store(retention=0)
    layer = store.import_layer(io.BytesIO(tar(BASE)), names=["base"])
    store.delete_layer("base")
    assert (store.trash(), store.driver.trash(), store.driver.list()) == ([], [], [])
    with pytest.raises(NotInTrash):
        store.restore(layer.id)
    assert not store.why_gone("base").can_return


def test_a_delete_that_the_disk_has_no_room_to_keep_says_so_and_promises_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = store.import_layer(io.BytesIO(tar(BASE)))
    store.create_image(layer.id, id="image", names=["app:1"])
    store.create_image(id="other", names=["other:1"])
    store.delete_image("other")

    def no_room(old: str, new: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "rename", no_room)
    store.delete_image("image")
    monkeypatch.undo()
    assert store.unkept == [layer.id]
    assert [one.id for one in store.trash()] == ["other"], "what stood on the layer cannot come back either"
    assert (store.driver.list(), store.driver.trash()) == ([], [])
    for gone in (layer.id, "app:1"):
        with pytest.raises(NotInTrash):
            store.restore(gone)


def test_emptying_the_trash_is_for_good(store: Store) -> None:
    layer = store.import_layer(io.BytesIO(tar(BASE)))
    store.delete_layer(layer.id)
    assert [one.id for one in store.trash()] == [layer.id]
    assert store.empty_trash(older_than_seconds=3600) == []
    assert [one.id for one in store.empty_trash()] == [layer.id]
    assert (store.trash(), store.driver.trash()) == ([], [])
    with pytest.raises(NotInTrash):
        store.restore(layer.id)


def test_a_pinned_thing_cannot_be_deleted(store: Store) -> None:
    image = store.create_image(store.create_layer().id)
    store.pin(image.id, "release")
    with pytest.raises(Pinned):
        store.delete_image(image.id)
    store.unpin(image.id, "release")
    store.delete_image(image.id)


def test_wipe_deletes_everything_and_undo_brings_it_back(store: Store) -> None:
    layer = store.import_layer(io.BytesIO(tar(BASE)))
    image = store.create_image(layer.id, names=["app"])
    container = store.create_container(image.id)
    store.wipe()
    assert (store.layers(), store.images(), store.containers(), store.driver.list()) == ([], [], [], [])
    for item in (image.id, container.id):
        store.restore(item)
    assert (store.image("app").id, b"".join(store.diff(layer.id))) == (image.id, tar(BASE))


# --- terms


def test_a_retry_with_the_same_key_happens_once(store: Store) -> None:
    once = store.given(key="job-7")
    first, again = once.create_layer(names=["made"]), once.create_layer(names=["made"])
    assert (first.id, len(store.layers())) == (again.id, 1)
    with pytest.raises(RetryMismatch):
        once.create_layer(names=["another"])


def test_a_plan_on_an_older_state_is_refused(store: Store) -> None:
    image = store.create_image(names=["a"])
    planned_on = store.sequence
    store.set_metadata(image.id, "changed since")
    with pytest.raises(StaleVersion):
        store.given(expected=planned_on).delete_image(image.id)
    store.given(expected=store.sequence).delete_image(image.id)


def test_history_says_who_and_why(open_store: OpenStore) -> None:
    store = open_store(actor="ci/4711", reason="nightly")
    store.create_layer()
    store.given(reason="by hand").create_layer()
    *_, one, two = store.history()
    assert (one.actor, one.reason, two.actor, two.reason) == ("ci/4711", "nightly", "ci/4711", "by hand")
    assert (one.envelope["uid"], one.envelope["pid"]) == (os.getuid(), os.getpid())


# --- what may not be touched


def test_a_read_only_store_reads_and_refuses_to_write(open_store: OpenStore, tmp_path: Path) -> None:
    layer = open_store().import_layer(io.BytesIO(tar(BASE)), names=["base"])
    seen = everything_below(tmp_path / "root")
    reader = open_store(read_only=True)
    assert b"".join(reader.diff("base")) == tar(BASE)
    for write in (
        reader.create_layer,
        lambda: reader.delete_layer(layer.id),
        lambda: reader.set_names(layer.id, []),
        lambda: reader.mount(layer.id),
        reader.wipe,
        lambda: reader.load("nowhere"),
        lambda: reader.import_dir("."),
        lambda: reader.import_layer(io.BytesIO(tar(BASE))),
    ):
        with pytest.raises(ReadOnlyStore):
            write()
    reader.close()
    assert everything_below(tmp_path / "root") == seen


@pytest.mark.parametrize("foreign", ["vfs-layers/layers.json", "overlay/l/X", "storage.lock", "libpod/bolt_state.db", "vfs/dir/abc/file"])
def test_a_root_that_somebody_else_made_is_not_touched(tmp_path: Path, foreign: str) -> None:
    root = tmp_path / "root"
    (root / foreign).parent.mkdir(parents=True)
    (root / foreign).write_bytes(b"[]")
    seen = everything_below(root)
    with pytest.raises(StoreError) as refused:
        Store(root, tmp_path / "run", "vfs")
    assert isinstance(refused.value, ForeignStore) or "journal" in str(refused.value)
    assert everything_below(root) == seen
    assert not (tmp_path / "run").exists()


def everything_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every path with its mode, its time and its bytes."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(where, name)
            status = os.lstat(path)
            with open(path, "rb") if name in files else io.BytesIO() as file:
                found[path] = (status.st_mtime_ns, file.read())
    return found


def test_a_forked_child_cannot_use_its_parents_store(store: Store) -> None:
    store.create_layer()
    child = os.fork()
    if child == 0:
        try:
            store.create_layer()
        except StoreClosed:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.create_layer()
    assert len(store.layers()) == 2


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.create_layer()
    with pytest.raises(StoreClosed):
        store.layers()
