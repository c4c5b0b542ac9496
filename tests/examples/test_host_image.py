"""The demo's image is what it says: every digest and size right, the same each time, and told apart from others."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from examples.demo.host_image import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("made") / "image", "latest")


def blob(image: Path, descriptor: dict[str, Any]) -> bytes:
    """The blob a descriptor names, its size and digest verified."""
    data: bytes = (image / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert len(data) == descriptor["size"]
    assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    return data


def manifest_of(image: Path) -> dict[str, Any]:
    (descriptor,) = json.loads((image / "index.json").read_text())["manifests"]
    manifest: dict[str, Any] = json.loads(blob(image, descriptor))
    return manifest


def test_every_descriptor_names_its_bytes(image: Path) -> None:
    manifest = manifest_of(image)
    config = json.loads(blob(image, manifest["config"]))
    layers = [gzip.decompress(blob(image, layer)) for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert len(config["history"]) == len(layers) == 4


def test_its_layers_replace_remove_and_hide(image: Path) -> None:
    """Whiteouts, an opaque folder, a replaced file, both kinds of links and an owner: what real images have."""
    names: list[str] = []
    kinds: set[bytes] = set()
    owners: set[int] = set()
    for layer in manifest_of(image)["layers"]:
        with tarfile.open(image / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")) as tar:
            for member in tar:
                names.append(member.name)
                kinds.add(member.type)
                owners.add(member.uid)
    assert names.count("etc/motd") == 2
    assert any(name.endswith("/.wh.turtle.py") for name in names)
    assert any(name.endswith("/.wh..wh..opq") for name in names)
    assert {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE} <= kinds
    assert owners == {0, 1000}


def test_it_is_the_same_each_time(image: Path, tmp_path: Path) -> None:
    assert (build(tmp_path / "again", "latest") / "index.json").read_bytes() == (image / "index.json").read_bytes()


def test_more_makes_another_image_with_no_layer_in_common(image: Path, tmp_path: Path) -> None:
    other = manifest_of(build(tmp_path / "other", "latest", more=b"x"))
    assert not {layer["digest"] for layer in other["layers"]} & {layer["digest"] for layer in manifest_of(image)["layers"]}
