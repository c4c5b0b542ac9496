from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore.errors import InvalidRequest

if TYPE_CHECKING:
    from layerlog import Store


def a_folder(folder: Path) -> Path:
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/motd").write_text("hello\n")
    os.link(folder / "etc/motd", folder / "same")
    (folder / "link").symlink_to("../../outside")
    for path in ("etc/motd", "etc"):
        os.utime(folder / path, ns=(1_700_000_000_999_999_999,) * 2)
    return folder


def test_a_folder_becomes_an_image_of_one_layer(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    image = store.import_folder(str(folder), name="imported:1")
    assert (store.image("imported:1").id, len(store.layers())) == (image.id, 1)
    root = Path(store.mount(image.id, read_only=True))
    assert ((root / "etc/motd").read_text(), os.readlink(root / "link")) == ("hello\n", "../../outside")
    assert (root / "same").stat().st_ino == (root / "etc/motd").stat().st_ino
    store.unmount(image.id)


def test_an_unchanged_folder_gives_the_same_image(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    image = store.import_folder(str(folder), ["a"])
    assert store.import_folder(str(folder), "b").id == image.id
    assert (len(store.images()), sorted(store.names(image.id))) == (1, ["a", "b"])
    (folder / "etc/more").touch()
    assert store.import_folder(str(folder)).id != image.id


def test_an_empty_folder_is_an_image_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert store.import_folder(str(tmp_path / "empty")).layer


def test_what_is_no_folder_or_holds_the_store_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing", tmp_path, Path(store.root)):
        with pytest.raises(InvalidRequest):
            store.import_folder(str(path))
    assert store.layers() == []
