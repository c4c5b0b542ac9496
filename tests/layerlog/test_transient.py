"""Transient stores: containers that are recorded in the run root and end with the boot; and volatile containers."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.errors import (
    ContainerUnknown,
    DuplicateContainerName,
    DuplicateID,
    ImageUsedByContainer,
    LayerUsedByContainer,
    ParentIsContainer,
)
from layerlog.transient import TransientStore
from tests.layerlog.builders import BASE, tar
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TransientStore]:
    """A transient store with an image; clean at its end."""
    made = Store(tmp_path / "root", tmp_path / "run", "vfs", transient=True)
    assert isinstance(made, TransientStore)
    with made:
        made.import_layer(io.BytesIO(tar(BASE)), id="base")
        made.create_image("base", id="im", names=["img"])
        yield made
        if not made.lazy.closed:
            assert list(made.check(unreferenced_seconds=1e9)) == []
    with Store(tmp_path / "root", tmp_path / "run") as plain:
        assert left_behind(plain) == []


def after_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody take it for another boot."""
    other = bytes(16)
    for module in ("position", "volatile"):
        monkeypatch.setattr(f"layerlog.eventstore.{module}.boot_id", lambda: other)
    for module in ("volatile_layers", "recovery", "opened"):
        monkeypatch.setattr(f"layerlog.{module}.boot_id", lambda: other)


def test_a_container_is_used_like_any_other_and_nothing_of_it_is_in_the_root_s_journal(store: TransientStore) -> None:
    before = store.ledger.sequence
    made = store.create_container("img", id="c", names=["box"], metadata="m", big_data={"k": b"v"})
    assert made.flags["Volatile"] is True
    path = store.mount("box")
    with open(os.path.join(path, "new"), "w"):
        pass
    assert [change.path for change in store.changes(made.layer)] == [b"/new"]
    store.unmount("box")
    assert store.add_names("box", ["more"]) == ["more", "box"]
    store.set_metadata("more", "n")
    store.set_big_data("container", "c", "k2", b"w")
    found = store.container("more")
    assert (found.metadata, store.big_data("container", "c", "k"), store.big_data("container", "c", "k2")) == ("n", b"v", b"w")
    assert [one.id for one in store.containers()] == ["c"]
    assert [one.id for one in store.layers()] == [made.layer, "base"] or [one.id for one in store.layers()] == ["base", made.layer]
    assert store.container_size("c") >= 0
    assert store.ledger.sequence == before
    store.delete_container("box")
    assert (store.containers(), [one.id for one in store.layers()]) == ([], ["base"])
    assert os.listdir(store.folder("volatile")) == []


def test_another_process_on_the_same_run_root_sees_it_and_one_without_the_flag_only_respects_it(
    store: TransientStore, tmp_path: Path
) -> None:
    made = store.create_container("img", id="c", names=["box"])
    with Store(store.root, store.run_root, transient=True) as other:
        assert [one.names for one in other.containers()] == [["box"]]
        with pytest.raises(DuplicateID):
            other.create_container("img", id="c")
        with pytest.raises(DuplicateContainerName):
            other.create_container("img", names=["box"])
    with Store(store.root, store.run_root) as plain:
        assert plain.containers() == []
        for refused in (lambda: plain.delete_image("img"), lambda: plain.delete_layer("base")):
            with pytest.raises((ImageUsedByContainer, LayerUsedByContainer, Exception)) as told:
                refused()
            assert "in use" in str(told.value) or "children" in str(told.value)
        plain.gc()
    store.mount("c")
    with Store(store.root, tmp_path / "elsewhere") as elsewhere:
        elsewhere.gc()
    assert store.driver.exists(made.layer)
    with pytest.raises(ParentIsContainer):
        store.create_layer(made.layer)
    store.delete_container("c")
    store.delete_image("img")


def test_a_boot_ends_every_container_and_what_is_left_of_it_on_disk(
    store: TransientStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store.create_container("img", id="c")
    store.mount("c")
    folder = store.container_dir("c")
    store.close()
    with monkeypatch.context() as patch:
        after_a_boot(patch)
        with Store(store.root, store.run_root, transient=True) as later:
            assert later.containers() == []
            assert not later.driver.exists(made.layer)
            assert not os.path.exists(folder)
            assert [one.id for one in later.images()] == ["im"]
            assert later.delete_image("img") == ["base"]


def test_a_volatile_container_of_an_ordinary_store_ends_with_the_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        store.create_container(id="stays")
        store.create_container(id="goes", volatile=True)
        store.mount("goes")
    with monkeypatch.context() as patch:
        after_a_boot(patch)
        with Store(tmp_path / "root", tmp_path / "run") as later:
            assert [one.id for one in later.containers()] == ["stays"]


def test_commit_snapshot_and_sandbox_work_in_a_transient_store(store: TransientStore) -> None:
    with store.sandbox("img") as box:
        with open(os.path.join(box.root, "made"), "w") as file:
            file.write("x")
        image = box.commit(name="img:2")
    assert store.containers() == []
    assert store.chain(image.top_layer) == ["base"]
    store.delete_image("img:2")


def test_a_split_store_may_be_transient(tmp_path: Path) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "vfs", image_store=tmp_path / "images", transient=True) as store:
        store.create_layer(id="ro", read_only=True)
        store.create_image("ro", names=["img"])
        store.create_container("img", id="c")
        with pytest.raises(ImageUsedByContainer):
            store.delete_image("img")
        store.delete_container("c")
        assert store.delete_image("img") == ["ro"]
        with pytest.raises(ContainerUnknown):
            store.container("c")


def test_wipe_takes_the_containers_of_this_boot_too(store: TransientStore) -> None:
    store.create_container("img")
    store.wipe()
    assert (store.containers(), store.images(), store.layers()) == ([], [], [])


def test_a_container_that_comes_while_a_delete_waits_for_the_lock_keeps_its_image(
    store: TransientStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first container of a boot: until then nobody had a reason to look into the run journal."""
    with Store(tmp_path / "root", tmp_path / "run") as plain:
        real = plain.ledger._open_writer

        def begin_late() -> object:
            monkeypatch.setattr(plain.ledger, "_open_writer", real)
            store.create_container("img", id="c")
            return real()

        monkeypatch.setattr(plain.ledger, "_open_writer", begin_late)
        with pytest.raises(ImageUsedByContainer):
            plain.delete_image("img")
        assert plain.exists("img")
    store.delete_container("c")
