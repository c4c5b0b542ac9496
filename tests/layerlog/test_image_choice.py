"""Which image of an archive is meant, and what is refused because two readers would not agree on it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore.errors import DigestMismatch, InvalidImage, InvalidRequest
from layerlog.image_refs import Asked, means, parse
from layerlog.oci import MANIFEST_TYPES
from tests.layerlog.builders import BASE, CONFIG, LAYER, MANIFEST, TOP, Layout, docker_archive, image_of, tar
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

INDEX = "application/vnd.oci.image.index.v1+json"
NAME = "org.opencontainers.image.ref.name"


def named(descriptor: dict[str, Any], name: str, **more: str) -> dict[str, Any]:
    return {**descriptor, "annotations": {NAME: name, **more}}


def index_of(*manifests: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()


def refused(store: Store, path: str, why: str, **options: Any) -> None:
    before = store.sequence
    with pytest.raises(InvalidImage, match=why):
        store.load(path, **options)
    assert (store.sequence, store.layers(), store.images(), left_behind(store)) == (before, [], [], [])


# --- names


@pytest.mark.parametrize(
    ("text", "path", "image"),
    [
        ("a.tar", "a.tar", ""),
        ("a.tar:v1", "a.tar", "v1"),
        ("a.tar:host:5000/x:v1", "a.tar", "host:5000/x:v1"),
        ("a.tar:@2", "a.tar", "@2"),
        ("oci-archive:a.tar:v1", "a.tar", "v1"),
        ("docker-archive:a.tar", "a.tar", ""),
        ("with:colon", "with:colon", ""),
        ("with:colon:v1", "with:colon", "v1"),
        ("none.tar:v1", "none.tar:v1", ""),
    ],
)
def test_a_path_is_split_where_something_is(text: str, path: str, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.tar", "with:colon"):
        (tmp_path / name).touch()
    assert parse(text) == Asked(path, image)


def test_names_may_be_written_as_docker_and_podman_shorten_them() -> None:
    for asked, name in (
        ("app", "docker.io/library/app:latest"),
        ("app:1", "localhost/app:1"),
        ("me/app", "docker.io/me/app:latest"),
        ("host:5000/x", "host:5000/x:latest"),
    ):
        assert means(asked, name)
    for asked, name in (("app", "app:1"), ("app", "example.com/app:latest"), ("x@sha256:00", "x:latest")):
        assert not means(asked, name)


def test_one_of_several_is_chosen_by_name_or_place(store: Store, tmp_path: Path) -> None:
    one, two = Layout(BASE), Layout(BASE, TOP)
    first, second = one.manifest(), two.manifest()
    two.blobs |= one.blobs
    path = two.write(tmp_path / "both", index_of(named(first, "one"), named(second, "docker.io/library/two:latest")))
    assert store.load(path, image="one").names == ["one"]
    assert store.load(path, image="two").id == image_of(two)
    assert store.load(path, image="@1").id == image_of(two)
    for wrong in ("three", "@2", "@x", "@-1", "@99999999999999999999"):
        with pytest.raises(InvalidImage, match=r"it has one, docker.io/library/two:latest"):
            store.load(path, image=wrong)


def test_a_tag_of_a_docker_archive_is_chosen_alone(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "docker.tar"
    path.write_bytes(tar(docker_archive(Layout(), "docker.io/library/app:1", "app:2")))
    assert store.load(str(path), image="app:1").names == ["docker.io/library/app:1"]


def test_what_a_newer_docker_saves_is_read_by_its_layout(store: Store, tmp_path: Path) -> None:
    """Docker since 25: an OCI layout with the whole name in an annotation of containerd's, and manifest.json beside it."""
    layout = Layout(packed=False)
    entry = named(layout.manifest(), "1", **{"io.containerd.image.name": "docker.io/library/app:1"})
    folder = layout.write(tmp_path / "layout", index_of(entry))
    config = f"blobs/sha256/{image_of(layout)}"
    layers = ["blobs/sha256/" + one["digest"].partition(":")[2] for one in layout.layers]
    entries = [{"Config": config, "RepoTags": ["app:1"], "Layers": layers}]
    members: dict[str, bytes | str | None] = {"manifest.json": json.dumps(entries).encode()}
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                members[os.path.relpath(os.path.join(place, name), folder)] = file.read()
    path = tmp_path / "docker.tar"
    path.write_bytes(tar(members))
    assert store.load(str(path)).names == ["docker.io/library/app:1"]


def test_signatures_and_charts_beside_images_are_passed_over_but_not_loaded_alone(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    image = named(layout.manifest(), "app")
    config = layout.add(b"{}", "application/vnd.cncf.helm.config.v1+json")
    chart = layout.add(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).encode(), MANIFEST)
    path = layout.write(tmp_path / "both", index_of(named(chart, "chart"), image))
    refused(store, path, "it is no image, but a 'application/vnd.cncf.helm", image="chart")
    refused(store, layout.write(tmp_path / "alone", index_of(chart)), "it is no image")
    assert store.load(path).names == ["app"]


def test_attestations_beside_an_image_are_passed_over(store: Store, tmp_path: Path) -> None:
    """Buildkit's have the config of an image, for a platform of no name, and layers that are none."""
    layout = Layout()
    image = named(layout.manifest(), "app")
    unknown = {"architecture": "unknown", "os": "unknown"}
    config = layout.add(json.dumps({**unknown, "rootfs": {"diff_ids": [f"sha256:{'0' * 64}"]}}).encode(), CONFIG)
    statement = layout.add(b"{}", "application/vnd.in-toto+json")
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]}
    attestation = layout.add(json.dumps(document).encode(), MANIFEST, platform=unknown)
    refused(store, layout.write(tmp_path / "alone", index_of(attestation)), "is no layer that can be unpacked")
    path = layout.write(tmp_path / "layout", index_of(attestation, image))
    assert store.load(path).names == ["app"]
    assert [one.names for one in store.load_all(path)] == [["app"]]


def test_a_config_of_no_media_type_of_its_own_is_one_in_a_manifest_of_dockers(store: Store, tmp_path: Path) -> None:
    """What older registries hand out, and docker takes. In an OCI manifest it is an artifact of somebody's."""
    for kind in MANIFEST_TYPES:
        layout = Layout(name="app")
        config = layout.add(json.dumps(layout.config).encode(), "application/octet-stream")
        document = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layout.layers}
        path = layout.write(tmp_path / kind.replace("/", "-"), index_of(named(layout.add(json.dumps(document).encode(), kind), "app")))
        if kind == MANIFEST:
            refused(store, path, "it is no image")
        else:
            assert store.load(path).id == image_of(layout)


def test_an_image_of_no_layers_may_say_null_for_none(store: Store, tmp_path: Path) -> None:
    """As Go writes an empty list: ``FROM scratch`` and nothing but metadata."""
    layout = Layout({})
    layout.layers, layout.config["rootfs"]["diff_ids"] = [], None
    config = layout.add(json.dumps(layout.config).encode(), CONFIG)
    manifest = layout.add(json.dumps({"schemaVersion": 2, "config": config, "layers": None, "annotations": None}).encode(), MANIFEST)
    image = store.load(layout.write(tmp_path / "layout", index_of(named(manifest, "empty"))))
    assert (image.layer, image.names) == ("", ["empty"])
    store.save(tmp_path / "out", image)
    assert store.load(tmp_path / "out").id == image.id


# --- platforms


def test_a_variant_is_chosen_or_the_usual_one(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE)
    manifests = []
    for variant in ("v5", "v7", "v6"):
        layout.config |= {"architecture": "arm", "variant": variant}
        manifests.append({**layout.manifest(), "platform": {"os": "linux", "architecture": "arm", "variant": variant}})
    path = layout.write(tmp_path / "layout", index_of(layout.add(index_of(*manifests), INDEX)))
    for asked, variant in (("linux/arm", "v7"), ("linux/arm/v5", "v5"), ("linux/arm/v6", "v6")):
        loaded = store.load(path, platform=asked)
        assert json.loads(store.big_data("image", loaded.id, f"sha256:{loaded.id}"))["variant"] == variant
    with pytest.raises(InvalidImage, match="no image for linux/arm/v9"):
        store.load(path, platform="linux/arm/v9")


@pytest.mark.parametrize("kind", ["layout", "docker"])
def test_an_image_for_another_platform_than_asked_is_refused(store: Store, tmp_path: Path, kind: str) -> None:
    layout = Layout()
    path = layout.write(tmp_path / "layout")
    if kind == "docker":
        path = str(tmp_path / "docker.tar")
        (tmp_path / "docker.tar").write_bytes(tar(docker_archive(layout)))
    refused(store, path, "its image is for linux/amd64, not for linux/arm64", platform="linux/arm64")
    assert store.load(path, platform="linux/amd64").layer


def test_indexes_nested_without_end_are_refused(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE)
    inner = {**layout.manifest(), "platform": {"os": "linux", "architecture": "amd64"}}
    for _ in range(6):
        inner = {**layout.add(index_of(inner), INDEX), "platform": {"os": "linux", "architecture": "amd64"}}
    refused(store, layout.write(tmp_path / "layout", index_of(inner)), "nested too deeply", platform="linux/amd64")


# --- what two readers would not agree on


def test_a_document_that_is_manifest_and_index_at_once_is_refused(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE)
    manifest = json.loads(layout.blobs[layout.manifest()["digest"]])
    for kind in (MANIFEST, INDEX, ""):
        both = layout.add(json.dumps({**manifest, "mediaType": kind, "manifests": []}).encode(), kind)
        refused(store, layout.write(tmp_path / f"layout{len(kind)}", index_of(both)), "a manifest and an index at once")


def test_a_document_of_another_type_than_announced_is_refused(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE)
    announced = {**layout.manifest(), "mediaType": INDEX}
    refused(store, layout.write(tmp_path / "layout", index_of(announced)), "its media type is .*manifest.*, its descriptor says .*index")
    unknown = {**layout.manifest(), "mediaType": "text/plain"}
    refused(store, layout.write(tmp_path / "text", index_of(unknown)), "unknown media type 'text/plain'")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (LAYER, "its media type says none, its content is gzip"),
        (LAYER + "+zstd", "its media type says zstd, its content is gzip"),
        (LAYER + "+gzip+encrypted", "is no layer that can be unpacked"),
        ("text/plain", "is no layer that can be unpacked"),
    ],
)
def test_a_layer_that_is_not_of_its_media_type_is_refused(store: Store, tmp_path: Path, kind: str, why: str) -> None:
    layout = Layout()
    layout.layers[1]["mediaType"] = kind
    refused(store, layout.write(tmp_path / "layout"), why)


def test_blobs_named_by_another_hash_are_verified_by_it(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    path = layout.write(tmp_path / "layout")

    def renamed(descriptor: dict[str, Any], data: bytes) -> None:
        os.makedirs(f"{path}/blobs/sha512", exist_ok=True)
        descriptor["digest"] = "sha512:" + hashlib.sha512(data).hexdigest()
        with open(f"{path}/blobs/sha512/{descriptor['digest'][7:]}", "wb") as file:
            file.write(data)

    for one in layout.layers:
        renamed(one, layout.blobs[one["digest"]])
    manifest = layout.manifest()
    layout.write(tmp_path / "other", index_of(manifest))
    for place in ("index.json", f"blobs/sha256/{manifest['digest'][7:]}"):
        (tmp_path / "layout" / place).write_bytes((tmp_path / "other" / place).read_bytes())
    blob = tmp_path / "layout/blobs/sha512" / layout.layers[1]["digest"][7:]
    good = blob.read_bytes()
    blob.write_bytes(good[:9] + bytes((good[9] ^ 4,)) + good[10:])  # the operating system in gzip's header: unpacks to the same
    with pytest.raises(DigestMismatch, match="expected sha512"):
        store.load(path)
    assert (store.layers(), left_behind(store)) == ([], [])
    blob.write_bytes(good)
    assert store.load(path).id == image_of(layout)


# --- streams


def pipe_of(data: bytes) -> Any:
    """The reading end of a pipe that somebody writes *data* into."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as end:
            end.write(data)

    threading.Thread(target=write, daemon=True).start()
    return open(reading, "rb")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_archive_is_read_from_a_pipe(store: Store, pack: Any) -> None:
    layout = Layout()
    with pipe_of(pack(tar(docker_archive(layout, "app:1")))) as pipe:
        assert store.load(pipe).id == image_of(layout)
    with pipe_of(tar({"other": b""})) as pipe, pytest.raises(InvalidImage, match="the stream: neither"):
        store.load(pipe)
    assert left_behind(store) == []


def test_a_stream_that_is_a_file_is_read_as_one(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "docker.tar"
    path.write_bytes(tar(docker_archive(Layout(), "app:1")))
    with path.open("rb") as file:
        assert store.load(file).names == ["app:1"]
        file.seek(0)
        assert [one.names for one in store.load_all(file)] == [["app:1"]]


@pytest.mark.parametrize("format", ["oci-archive", "docker-archive"])
def test_the_same_bytes_go_to_a_stream_as_to_a_file(open_store: OpenStore, tmp_path: Path, format: str) -> None:
    store, other = open_store(), open_store("other")
    image = store.load(Layout(BASE, TOP, TOP).write(tmp_path / "layout"))
    out = io.BytesIO()
    store.save(out, image, format=format)
    store.save(tmp_path / "file", image, format=format)
    assert out.getvalue() == (tmp_path / "file").read_bytes()
    assert other.load(io.BytesIO(out.getvalue())).id == image.id
    with pytest.raises(InvalidRequest):
        store.save(out, image, format="oci")


def test_a_bomb_of_an_archive_is_stopped_by_the_limits(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(options=["archive_bytes_max=1m"])
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(InvalidRequest, match="exceeds bytes = 1048576"):
        store.load(str(path))
    assert left_behind(store) == []
