"""A split store whose image half is damaged: the commands that are told to run next know of both halves."""

from __future__ import annotations

import io
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.eventstore.errors import StoreError
from tests.layerlog.builders import BASE, TOP, Layout, tar
from tests.rescue import world
from tests.rescue.test_damage import following

if TYPE_CHECKING:
    from collections.abc import Callable

DRIVER = "overlay" if os.geteuid() == 0 else "vfs"
STEPS_MAX = 8


class Half(world.Broken):
    """The image half, in the words of world.py."""

    def __init__(self, folder: Path) -> None:
        self.root, self.driver = folder / "images", DRIVER
        self.own, self.home = self.root / f"{DRIVER}-layerlog", self.root / DRIVER
        with Store(self.root, read_only=True) as store:
            self.image = store.images()[0]
            self.top = store.layer(self.image.layer)
            self.base = store.layer(self.top.parent)


def journal_of_the_root_gone(half: Half) -> None:
    shutil.rmtree(half.root.parent / "root" / f"{DRIVER}-layerlog" / "journal")


DAMAGES: list[Callable[[Half], None]] = [
    world.file_gone, world.top_gone, world.config_gone, world.trash_strange,
    world.genesis_copy, world.record_header, world.segment_cut, world.journal_gone, journal_of_the_root_gone,
    *([world.short_name_gone, world.lower_rotten] if DRIVER == "overlay" else []),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_whoever_follows_the_commands_ends_with_two_clean_halves(
    tmp_path: Path, damage: Callable[[Half], None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "oci").mkdir()
    Layout(BASE, TOP).write(tmp_path / "oci")
    with Store(tmp_path / "root", driver=DRIVER, image_store=tmp_path / "images") as store:
        image = store.load(str(tmp_path / "oci"))
        box = store.create_container(image.id, names=["box"])
        Path(store.mount(box.id), "written").write_text("by a program")
        store.unmount(box.id)
        for number in range(66):
            store.set_metadata(image.id, f"metadata {number}", "image")
    Store(tmp_path / "root", image_store=tmp_path / "images").close()
    damage(Half(tmp_path))
    command, talk = "recover", []
    for _ in range(STEPS_MAX):
        words = shlex.split(command)
        main(["layerlog", "--graph", str(tmp_path / "root"), "--image-store", str(tmp_path / "images"), *words])
        said = capsys.readouterr()
        talk.append(f"$ layerlog {command}\n{said.out}{said.err}")
        if words == ["check"] and "nothing is wrong" in said.out:
            break
        command = following(words, said.out + said.err, [tmp_path / "oci"])
    else:
        raise AssertionError("it never ends:\n" + "\n".join(talk))
    with Store(tmp_path / "root", image_store=tmp_path / "images") as store:
        assert [one.id for one in store.images()] == [image.id]
        assert b"".join(store.diff(image.layer, compression=0))
        if damage is not journal_of_the_root_gone:  # it has too few commits for a checkpoint
            assert (Path(store.mount(box.id)) / "written").read_text() == "by a program"
            store.unmount(box.id)


def test_names_are_taken_from_images_of_a_split_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``untag`` and ``rmi NAME`` are changes of the image half alone."""
    with Store(tmp_path / "root", driver="vfs", image_store=tmp_path / "images") as store:
        image = store.create_image(names=["app:1", "app:2", "app:3"])
        where = ["layerlog", "--graph", str(tmp_path / "root"), "--image-store", str(tmp_path / "images")]
        assert main([*where, "untag", "app:1"]) == 0
        assert main([*where, "rmi", "app:2"]) == 0
        assert store.image(image.id).names == ["app:3"]
    capsys.readouterr()


def test_a_mount_that_is_refused_does_not_make_a_layer_one_that_was_written_to(tmp_path: Path) -> None:
    with Store(tmp_path / "root", driver=DRIVER, image_store=tmp_path / "images") as store:
        base = store.import_layer(io.BytesIO(tar(BASE)), read_only=True)
        top = store.import_layer(io.BytesIO(tar({"own": b"x"})), base.id)
    shutil.rmtree(tmp_path / "images")
    with Store(tmp_path / "root", image_store=tmp_path / "images") as store:
        before = store.sequence
        with pytest.raises(StoreError, match="is no longer there"):
            store.mount(top.id)
        assert store.sequence == before
