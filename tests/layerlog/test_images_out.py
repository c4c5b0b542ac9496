from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import image_targets
from layerlog.drivers import tarstream
from layerlog.eventstore.errors import ContentsDamaged, ImageUnknown, InvalidRequest, NotSupported, StoreError
from layerlog.images_in import Quiet
from tests.layerlog.builders import BASE, LAYER, TOP, Layout, image_of, tar

if TYPE_CHECKING:
    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

FORMATS = ["oci-archive", "oci", "docker-archive"]


def bytes_of(path: Path) -> dict[str, bytes]:
    """An archive, or every file of a layout."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("packed", [True, False])
def test_in_out_in_keeps_config_digest_and_diff_ids(open_store: OpenStore, tmp_path: Path, format: str, packed: bool) -> None:
    layout = Layout(packed=packed)
    store, other = open_store(), open_store("other")
    image = store.load(layout.write(tmp_path / "layout"))
    store.save(str(tmp_path / "out"), [image], format=format)
    again = other.load(str(tmp_path / "out"))
    assert (again.id, again.names) == (image_of(layout), ["built:1"])
    assert [one.contents.diff_digest for one in other.layers() if one.contents] == layout.diff_ids


@pytest.mark.parametrize("format", FORMATS)
def test_saving_is_reproducible_even_from_another_store(open_store: OpenStore, tmp_path: Path, format: str) -> None:
    store, other = open_store(), open_store("other")
    store.load(Layout().write(tmp_path / "layout"))
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    store.save(str(one), ["built:1"], format=format)
    store.save(str(two), ["built:1"], format=format)
    other.load(str(one))
    other.save(str(three), ["built:1"], format=format)
    assert bytes_of(one) == bytes_of(two) == bytes_of(three)


def test_plain_layers_go_out_under_the_very_manifest_they_came_with(store: Store, tmp_path: Path) -> None:
    image = store.load(Layout(packed=False).write(tmp_path / "layout"))
    store.save(str(tmp_path / "out"), [image], format="oci")
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    assert index["manifests"][0]["digest"] == image.digest


@pytest.mark.parametrize(("compression", "kind"), [("none", "tar"), ("gzip", "tar+gzip"), ("zstd", "tar+zstd")])
def test_layers_are_compressed_as_asked(store: Store, tmp_path: Path, compression: str, kind: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard")
    image = store.load(Layout().write(tmp_path / "layout"))
    out = tmp_path / "out"
    store.save(str(out), [image], format="oci", compression=compression)
    entry = json.loads((out / "index.json").read_bytes())["manifests"][0]
    manifest = json.loads((out / "blobs/sha256" / entry["digest"].partition(":")[2]).read_bytes())
    assert {one["mediaType"] for one in manifest["layers"]} == {f"application/vnd.oci.image.layer.v1.{kind}"}
    assert store.load(str(out)).id == image.id


@pytest.mark.parametrize("format", FORMATS)
def test_several_images_share_their_layers_in_one_archive(open_store: OpenStore, tmp_path: Path, format: str) -> None:
    store, other = open_store(), open_store("other")
    one = store.load(Layout(BASE).write(tmp_path / "one"), name="one:1")
    two = store.load(Layout(BASE, TOP).write(tmp_path / "two"), name="two:1")
    store.tag(two, "three:3")
    store.save(str(tmp_path / "both"), [one, two], format=format)
    loaded = other.load_all(str(tmp_path / "both"))
    assert [(image.id, sorted(image.names)) for image in loaded] == [(one.id, ["one:1"]), (two.id, ["three:3", "two:1"])]
    assert len(other.layers()) == 2


class Told(Quiet):
    """Progress that remembers: of each layer the bytes that were announced, and those that came."""

    def __init__(self) -> None:
        self.layers: list[tuple[str, int, bool]] = []
        self.came: list[int] = []

    def layer(self, place: int, count: int, digest: str, size: int, present: bool) -> None:
        self.layers.append((f"{place + 1}/{count}", size, present))
        self.came.append(0)

    def advance(self, count: int) -> None:
        self.came[-1] += count


@pytest.mark.parametrize("format", FORMATS)
def test_a_save_tells_how_far_it_is_and_which_layers_are_shared(store: Store, tmp_path: Path, format: str) -> None:
    one = store.load(Layout(BASE).write(tmp_path / "one"), name="one:1")
    two = store.load(Layout(BASE, TOP).write(tmp_path / "two"), name="two:1")
    told = Told()
    store.save(str(tmp_path / "both"), [one, two], format=format, progress=told)
    sizes = [layer.contents.diff_size for layer in store.layers() if layer.contents]
    assert told.layers == [("1/1", sizes[0], False), ("1/2", sizes[0], True), ("2/2", sizes[1], False)]
    assert told.came == [sizes[0], 0, sizes[1]]


def test_asked_for_by_a_name_an_image_goes_out_under_that_name_alone(open_store: OpenStore, tmp_path: Path) -> None:
    store, other = open_store(), open_store("other")
    store.load(Layout().write(tmp_path / "layout"), ["a:1", "b:2"])
    store.save(str(tmp_path / "out"), "b:2")
    assert other.load(str(tmp_path / "out")).names == ["b:2"]


def test_docker_names_have_a_tag(store: Store, tmp_path: Path) -> None:
    image = store.load(Layout().write(tmp_path / "layout"), ["plain", "host:5000/x", "tagged:1", "by@sha256:" + "0" * 64])
    store.save(str(tmp_path / "out"), image, format="docker-archive")
    with tarfile.open(tmp_path / "out") as archive:
        member = archive.extractfile("manifest.json")
        assert member is not None
        assert json.loads(member.read())[0]["RepoTags"] == ["host:5000/x:latest", "plain:latest", "tagged:1"]


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 20 << 30])
def test_a_blob_of_any_size_has_a_header_of_one_block_that_readers_know(tmp_path: Path, size: int) -> None:
    header = image_targets._file_header("blobs/sha256/" + "0" * 64, size)
    assert len(header) == 512
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size
    archive = tmp_path / "big.tar"
    with open(archive, "wb") as file:
        file.write(header)
        file.truncate(512 + size + -size % 512 + 1024)  # a hole
    listed = subprocess.run(["tar", "-tvf", str(archive)], capture_output=True, text=True, check=True).stdout
    assert str(size) in listed.split()
    member = tarstream.TarReader(tarstream.Feed(iter([header]))).next()
    assert member is not None
    assert member.size == size


@pytest.mark.parametrize("compression", [None, "gzip", "none"])
def test_annotations_about_the_bytes_of_a_layer_go_where_these_are_others(store: Store, tmp_path: Path, compression: str | None) -> None:
    """Who believes a table of contents at a place where it is not cannot read the layer. What else is annotated stays."""
    layout = Layout(BASE)
    chunked = {"io.github.containers.zstd-chunked.manifest-position": "1:2:3:1", "containerd.io/snapshot/stargz/toc.digest": "sha256:0"}
    layout.blobs = {}
    layout.layers = [
        layout.add(gzip.compress(tar(BASE), 1, mtime=9), LAYER + "+gzip", annotations={**chunked, "my.own": "word"}),
    ]
    image = store.load(layout.write(tmp_path / "layout"))
    store.save(str(tmp_path / "out"), [image], format="oci", compression=compression)
    entry = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"][0]
    manifest = json.loads((tmp_path / "out/blobs/sha256" / entry["digest"].partition(":")[2]).read_bytes())
    assert [one["annotations"] for one in manifest["layers"]] == [{"my.own": "word"}]


def test_annotations_of_bytes_that_stay_the_same_stay(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE, packed=False)
    layout.layers[0]["annotations"] = {"io.github.containers.zstd-chunked.manifest-position": "1:2:3:1"}
    layout.config["config"] = {}
    image = store.load(layout.write(tmp_path / "layout"))
    store.save(str(tmp_path / "out"), [image], format="oci")
    entry = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"][0]
    assert entry["digest"] == image.digest


def test_members_have_no_owner_and_no_time(store: Store, tmp_path: Path) -> None:
    image = store.load(Layout().write(tmp_path / "layout"))
    store.save(str(tmp_path / "out"), image)
    with tarfile.open(tmp_path / "out") as archive:
        assert {(one.uid, one.gid, one.mtime, one.mode, one.uname) for one in archive if one.isfile()} == {(0, 0, 0, 0o644, "")}


def test_an_image_made_by_hand_can_be_saved(open_store: OpenStore, tmp_path: Path) -> None:
    store, other = open_store(), open_store("other")
    base = store.create_layer()
    store.create_image(base.id, names=["hand:1"])
    store.create_image(names=["empty:1"])
    store.save(str(tmp_path / "out"), ["hand:1", "empty:1"])
    assert [(one.names, bool(one.layer)) for one in other.load_all(str(tmp_path / "out"))] == [(["hand:1"], True), (["empty:1"], False)]


def test_a_committed_container_can_be_saved(open_store: OpenStore, tmp_path: Path) -> None:
    store, other = open_store(), open_store("other")
    store.load(Layout().write(tmp_path / "layout"))
    container = store.create_container("built:1")
    Path(store.mount(container.id), "made").write_text("here")
    store.unmount(container.id)
    image = store.commit_container(container.id, name="made:1")
    store.save(str(tmp_path / "out"), image)
    assert other.load(str(tmp_path / "out")).id == image.id
    assert Path(other.mount("made:1", read_only=True), "made").read_text() == "here"
    other.unmount("made:1")


@pytest.mark.parametrize("name", ["etc/.wh.motd", ".wh..wh..opq"])
def test_a_file_whose_name_deletes_others_in_an_image_is_not_committed_but_named(store: Store, tmp_path: Path, name: str) -> None:
    store.load(Layout(BASE).write(tmp_path / "layout"))
    container = store.create_container("built:1")
    root = store.mount(container.id)
    Path(root, name).write_text("by a program of the container")
    before = store.sequence, len(store.layers())
    with pytest.raises(NotSupported, match=re.escape(name)):
        store.commit_container(container.id, name="made:1")
    assert (store.sequence, len(store.layers())) == before
    os.unlink(os.path.join(root, name))
    image = store.commit_container(container.id, name="made:1")
    assert Path(store.mount(image.id, read_only=True), "etc/motd").read_bytes() == b"hello\n"
    store.unmount(image.id)
    store.unmount(container.id)


def test_a_read_only_store_can_save(open_store: OpenStore, tmp_path: Path) -> None:
    image = open_store().load(Layout().write(tmp_path / "layout"))
    open_store(read_only=True).save(str(tmp_path / "out"), image)
    assert (tmp_path / "out").is_file()


# --- what may go wrong


def test_a_damaged_layer_is_noticed_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    image = store.load(Layout().write(tmp_path / "layout"))
    motd = Path(store.driver.path(image.layer), "etc/motd")
    motd.write_bytes(b"bad bye!\n")
    with pytest.raises(ContentsDamaged):
        store.save(str(tmp_path / "out"), image)
    assert sorted(os.listdir(tmp_path)) == ["layout", "root"]


def test_an_older_archive_stays_when_saving_fails(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("older")
    with pytest.raises(ImageUnknown):
        store.save(str(out), ["nobody"])
    assert out.read_text() == "older"
    store.save(str(out), store.create_image())
    assert out.stat().st_size > 1024


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"format": "zip"}, InvalidRequest),
        ({"compression": "lzw"}, InvalidRequest),
        ({"format": "docker-archive", "compression": "gzip"}, InvalidRequest),
    ],
)
def test_unknown_formats_are_refused(store: Store, tmp_path: Path, options: dict[str, Any], error: type[StoreError]) -> None:
    image = store.create_image()
    with pytest.raises(error):
        store.save(str(tmp_path / "out"), image, **options)


def test_existing_folders_and_missing_parents_are_refused(store: Store, tmp_path: Path) -> None:
    image = store.create_image()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for path, kind in ((tmp_path / "full", "oci"), (tmp_path / "full", "oci-archive"), (tmp_path / "no" / "where", "oci")):
        with pytest.raises(StoreError):
            store.save(str(path), image, format=kind)
    assert os.listdir(tmp_path / "full") == ["file"]
    (tmp_path / "empty").mkdir()
    store.save(str(tmp_path / "empty"), image, format="oci")


# --- other tools


@pytest.mark.parametrize("format", FORMATS)
def test_skopeo_reads_what_was_saved(store: Store, tmp_path: Path, format: str) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    layout = Layout()
    image = store.load(layout.write(tmp_path / "layout"), name="localhost/built:1")
    store.save(str(tmp_path / "out"), image, format=format)
    command = ["skopeo", "--insecure-policy", "copy", "-q", f"{format}:{tmp_path}/out", f"dir:{tmp_path}/copied"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "copied/manifest.json").read_bytes())["config"]["digest"] == f"sha256:{image.id}"


@pytest.mark.root
def test_umoci_unpacks_what_was_saved(store: Store, tmp_path: Path) -> None:
    if shutil.which("umoci") is None:
        pytest.skip("umoci is not installed")
    image = store.load(Layout().write(tmp_path / "layout"), name="localhost/built:1")
    store.save(str(tmp_path / "out"), image, format="oci")
    command = ["umoci", "unpack", "--image", f"{tmp_path}/out:localhost/built:1", str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "bundle/rootfs/etc")) == ["motd"]
