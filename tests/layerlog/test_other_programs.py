"""Archives that other programs wrote are loaded, and IDs are those that other programs derive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.layerlog.builders import BASE, TOP, Layout, image_of

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog import Store
    from tests.layerlog.conftest import OpenStore


def ran(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(source: str, target: str, *flags: str) -> None:
    ran("skopeo", "--insecure-policy", "copy", "-q", *flags, source, target)


@pytest.mark.parametrize(
    ("target", "flags", "names"),
    [
        ("docker-archive:{}:app:1", ["--additional-tag", "app:2"], ["docker.io/library/app:1", "docker.io/library/app:2"]),
        ("oci-archive:{}:app:1", [], ["app:1"]),
        ("oci:{}:app:1", ["--dest-compress", "--dest-compress-format", "zstd"], ["app:1"]),
        ("oci:{}:app:1", ["--dest-decompress"], ["app:1"]),
    ],
)
def test_what_skopeo_wrote_is_loaded(store: Store, tmp_path: Path, target: str, flags: list[str], names: list[str]) -> None:
    layout = Layout(BASE, TOP)
    path = layout.write(tmp_path / "layout")
    skopeo(f"oci:{path}:built:1", target.format(tmp_path / "out"), *flags)
    image = store.load(tmp_path / "out")
    assert image.names == names
    assert [one.contents.diff_digest for one in store.layers() if one.contents] == layout.diff_ids
    if not target.startswith("docker"):  # whose config skopeo writes anew
        assert image.id == image_of(layout)


def test_what_umoci_changed_is_loaded(store: Store, tmp_path: Path) -> None:
    path = Layout(BASE).write(tmp_path / "layout")
    ran("umoci", "tag", "--image", f"{path}:built:1", "again")
    ran("umoci", "config", "--image", f"{path}:built:1", "--tag", "changed", "--config.cmd", "/bin/tool")
    assert sorted(name for image in store.load_all(path) for name in image.names) == ["again", "built:1", "changed"]
    changed = store.image("changed")
    assert json.loads(store.big_data("image", changed.id, f"sha256:{changed.id}"))["config"]["Cmd"] == ["/bin/tool"]


@pytest.mark.root
def test_ids_of_layers_and_images_are_those_that_skopeo_gives_them(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    path = Layout(BASE, TOP, TOP).write(tmp_path / "layout")
    image = store.load(path, name="localhost/app:1")
    theirs = f"vfs@{tmp_path}/theirs+{tmp_path}/theirs-run"
    skopeo(f"oci:{path}:built:1", f"containers-storage:[{theirs}]localhost/app:1")
    listing = [tmp_path / "theirs" / "vfs-layers" / "layers.json", tmp_path / "theirs" / "vfs-images" / "images.json"]
    layers, images = (json.loads(one.read_bytes()) for one in listing)
    assert {one["id"] for one in layers} == {one.id for one in store.layers()}
    assert [(one["id"], one["layer"]) for one in images] == [(image.id, image.layer)]
