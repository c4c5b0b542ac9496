from __future__ import annotations

import bz2
import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore.errors import DigestMismatch, DuplicateID, InvalidImage, InvalidRequest, StoreError
from tests.drivers import tars
from tests.layerlog.builders import BASE, LAYER, TOP, Layout, digest, docker_archive, image_of, tar
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

ROOT = Path(__file__).resolve().parents[2]


def as_tar(folder: str) -> bytes:
    """An OCI layout folder as an oci-archive."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return tar({f"./{path.relative_to(folder)}": path.read_bytes() for path in paths})


def holds(store: Store, image: str) -> None:
    """The image is the one that BASE and TOP make."""
    root = store.mount(image, read_only=True)
    assert sorted(os.listdir(root)) == ["bin", "etc", "new"]
    assert os.listdir(os.path.join(root, "etc")) == ["motd"]
    assert Path(root, "etc/motd").read_bytes() == b"good bye\n"
    store.unmount(image)


# --- the formats


@pytest.mark.parametrize("packed", [True, False])
def test_a_layout_gives_image_layers_and_names_in_one_commit(store: Store, tmp_path: Path, packed: bool) -> None:
    layout = Layout(packed=packed)
    before = store.sequence
    image = store.load(layout.write(tmp_path / "layout"))
    assert (store.sequence, image.id, image.names) == (before + 1, image_of(layout), ["built:1"])
    assert [one.contents.diff_digest for one in store.layers() if one.contents] == layout.diff_ids
    holds(store, image.id)


def test_ids_and_keys_are_those_of_skopeo(store: Store, tmp_path: Path) -> None:
    """Base: its diffID; above: SHA-256 of ``PARENT+DIFFID`` (compared with skopeo copying into containers-storage)."""
    layout = Layout()
    image = store.load(layout.write(tmp_path / "layout"))
    first, second = (one.partition(":")[2] for one in layout.diff_ids)
    assert [one.id for one in store.layers()] == [first, digest(f"{first}+{second}".encode()).partition(":")[2]]
    assert list(image.big_data) == [f"sha256:{image.id}", f"manifest-{image.digest}", "manifest"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_archives_load_compressed_or_not(store: Store, tmp_path: Path, pack: Any) -> None:
    layout = Layout()
    oci, docker = tmp_path / "oci.tar", tmp_path / "docker.tar"
    oci.write_bytes(pack(as_tar(layout.write(tmp_path / "layout"))))
    docker.write_bytes(pack(tar(docker_archive(layout, "app:1", "app:2"))))
    assert store.load(str(oci)).id == image_of(layout)
    again = store.load(str(docker))
    assert again.names == ["app:1", "app:2", "built:1"]
    assert len(again.digests) == 2, "it is found by both manifests"
    assert (len(store.images()), len(store.layers())) == (1, 2)
    holds(store, "app:2")


def test_given_names_replace_the_archives_own(store: Store, tmp_path: Path) -> None:
    path = Layout().write(tmp_path / "layout")
    assert store.load(path, ["a", "b"], name="first").names == ["first", "a", "b"]
    store.untag("first")
    assert store.load(path, "one-word").names == ["one-word", "a", "b"]


def test_a_repeated_layer_may_be_a_link_in_a_docker_archive(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE, TOP, TOP)
    path = tmp_path / "docker.tar"
    members = docker_archive(layout)
    assert isinstance(members["2/layer.tar"], str)
    path.write_bytes(tar(members))
    assert store.load(str(path)).id == image_of(layout)
    assert len(store.layers()) == 3


def test_the_layers_of_a_docker_archive_may_be_compressed(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    members = docker_archive(layout)
    members["0/layer.tar"] = gzip.compress(tar(BASE))
    path = tmp_path / "docker.tar"
    path.write_bytes(tar(members))
    image = store.load(str(path))
    sizes = [one["size"] for one in json.loads(store.big_data("image", image.id, "manifest"))["layers"]]
    assert sizes == [len(tar(BASE)), len(tar(TOP))]


@pytest.mark.parametrize("size", [1, 511, 512, 1000, 6000])
def test_an_archive_may_have_global_headers(store: Store, tmp_path: Path, size: int) -> None:
    """As git and GNU tar write them for a comment; their size is no whole block."""
    layout = Layout()
    comment = tars.pax({b"comment": b"c" * size}, b"g")
    path = tmp_path / "docker.tar"
    path.write_bytes(comment + tar(docker_archive(layout)))
    assert store.load(str(path)).id == image_of(layout)


def test_an_index_gives_the_image_of_the_asked_platform(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE)
    manifests = []
    for architecture in ("amd64", "arm64"):
        layout.config["architecture"] = architecture
        manifests.append({**layout.manifest(), "platform": {"os": "linux", "architecture": architecture}})
    nested = layout.add(json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(), "application/vnd.oci.image.index.v1+json")
    path = layout.write(tmp_path / "nested", json.dumps({"schemaVersion": 2, "manifests": [nested]}).encode())
    arm = store.load(path, platform="linux/arm64")
    assert json.loads(store.big_data("image", arm.id, f"sha256:{arm.id}"))["architecture"] == "arm64"
    flat = layout.write(tmp_path / "flat", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    assert store.load(flat, platform="linux/arm64").id == arm.id
    with pytest.raises(InvalidImage, match="no image for linux/s390x; it has linux/amd64, linux/arm64"):
        store.load(path, platform="linux/s390x")


def test_an_archive_of_several_images_is_loaded_with_load_all(store: Store, tmp_path: Path) -> None:
    one, two = Layout(BASE, name="one"), Layout(BASE, TOP, name="two")
    two.blobs |= one.blobs
    manifests = [*one.index()["manifests"], *two.index()["manifests"]]
    two.blobs |= one.blobs
    path = two.write(tmp_path / "both", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    with pytest.raises(InvalidImage, match=r"2 images \(one, two\)"):
        store.load(path)
    assert [image.names for image in store.load_all(path)] == [["one"], ["two"]]
    assert len(store.layers()) == 2, "the base is shared"


def test_one_image_with_two_names_is_one_image(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    (entry,) = layout.index()["manifests"]
    other = {**entry, "annotations": {"org.opencontainers.image.ref.name": "other"}}
    path = layout.write(tmp_path / "layout", json.dumps({"schemaVersion": 2, "manifests": [entry, other]}).encode())
    assert store.load(path).names == ["built:1", "other"]


def test_loading_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    path = Layout().write(tmp_path / "layout")
    store.load(path)
    before = store.sequence
    store.load(path)
    assert store.sequence == before


# --- hostile and damaged ones


def manifests_of(document: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": document}).encode()


HOSTILE_INDEXES = {
    "no JSON": b"{",
    "another shape": b'["x"]',
    "nesting": b"[" * 100_000,
    "no images": manifests_of([]),
    "a path as digest": manifests_of([{"digest": "sha256:../../../../etc/passwd", "size": 3}]),
    "an upper-case digest": manifests_of([{"digest": "sha256:" + "A" * 64, "size": 3}]),
    "a short digest": manifests_of([{"digest": "sha256:abc", "size": 3}]),
    "a missing blob": manifests_of([{"digest": "sha256:" + "0" * 64, "size": 3}]),
    "a negative size": manifests_of([{"digest": "sha256:" + "0" * 64, "size": -1}]),
    "a huge size": manifests_of([{"digest": "sha256:" + "0" * 64, "size": 10**30}]),
    "an endless number": b'{"manifests": [{"digest": "sha256:' + b"0" * 64 + b'", "size": ' + b"9" * 10_000 + b"}]}",
    "a size that is text": manifests_of([{"digest": "sha256:" + "0" * 64, "size": "3"}]),
    "a size that is true": manifests_of([{"digest": "sha256:" + "0" * 64, "size": True}]),
    "null": b"null",
    "no UTF-8": b'{"manifests": "\xff\xfe"}',
}


@pytest.mark.parametrize("what", HOSTILE_INDEXES)
def test_a_hostile_index_is_refused(store: Store, tmp_path: Path, what: str) -> None:
    path = Layout().write(tmp_path / "layout", HOSTILE_INDEXES[what])
    refused(store, path)


def refused(store: Store, path: str, error: type[StoreError] = InvalidImage) -> StoreError:
    """Loading raises; afterwards the store is as before and nothing lies about."""
    before = store.sequence
    with pytest.raises(error) as found:
        store.load(path)
    assert (store.sequence, store.layers(), store.images()) == (before, [], [])
    assert left_behind(store) == []
    assert len(str(found.value)) < 500
    return found.value


def layer_other_bytes(layout: Layout) -> None:
    name = layout.layers[1]["digest"]
    layout.blobs[name] = gzip.compress(tar(BASE), mtime=0)
    layout.layers[1]["size"] = len(layout.blobs[name])


def layer_flipped_bit(layout: Layout) -> None:
    name = layout.layers[1]["digest"]
    data = bytearray(layout.blobs[name])
    data[len(data) // 2] ^= 1
    layout.blobs[name] = bytes(data)


def layer_cut(layout: Layout) -> None:
    name = layout.layers[1]["digest"]
    layout.blobs[name] = layout.blobs[name][:-20]


def layer_size_lies(layout: Layout) -> None:
    layout.layers[1]["size"] += 1


def layer_missing(layout: Layout) -> None:
    del layout.blobs[layout.layers[1]["digest"]]


def diff_ids_swapped(layout: Layout) -> None:
    layout.config["rootfs"]["diff_ids"] = layout.diff_ids[::-1]


def diff_id_too_few(layout: Layout) -> None:
    layout.config["rootfs"]["diff_ids"] = layout.diff_ids[:1]


def diff_id_too_many(layout: Layout) -> None:
    layout.config["rootfs"]["diff_ids"] = [*layout.diff_ids, layout.diff_ids[0]]


def diff_id_no_digest(layout: Layout) -> None:
    layout.config["rootfs"]["diff_ids"] = [layout.diff_ids[0], "../x"]


def config_no_rootfs(layout: Layout) -> None:
    layout.config = {"architecture": "amd64"}


def layer_no_tar(layout: Layout) -> None:
    data = b"this is no archive" * 100
    layout.layers[1] = layout.add(data, LAYER)
    layout.config["rootfs"]["diff_ids"] = [layout.diff_ids[0], digest(data)]


SPOILS = [
    layer_other_bytes, layer_flipped_bit, layer_cut, layer_size_lies, layer_missing, diff_ids_swapped, diff_id_too_few,
    diff_id_too_many, diff_id_no_digest, config_no_rootfs, layer_no_tar,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoiled_image_is_refused_and_leaves_nothing(store: Store, tmp_path: Path, spoil: Any) -> None:
    layout = Layout()
    spoil(layout)
    refused(store, layout.write(tmp_path / "layout"), InvalidRequest)


def test_a_manifest_that_is_not_its_digest_is_refused(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    index = layout.index()
    name = index["manifests"][0]["digest"]
    layout.blobs[name] = layout.blobs[name].replace(b'"schemaVersion": 2', b'"schemaVersion": 3')
    refused(store, layout.write(tmp_path / "layout", json.dumps(index).encode()), DigestMismatch)


def test_a_blob_that_is_a_fifo_does_not_hold_us_up(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    path = layout.write(tmp_path / "layout")
    blob = Path(path, "blobs/sha256", layout.layers[0]["digest"].partition(":")[2])
    blob.unlink()
    os.mkfifo(blob)
    refused(store, path)


def test_a_layer_that_holds_something_else_under_the_same_id_is_not_adopted(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    store.create_layer(id=layout.diff_ids[0].partition(":")[2])
    with pytest.raises(DuplicateID):
        store.load(layout.write(tmp_path / "layout"))
    assert store.images() == []


ESCAPES: dict[str, dict[str, bytes | str | None]] = {
    "a layer that links out": {"0/layer.tar": "../../../../../../etc/passwd"},
    "a layer that links to an absolute path": {"0/layer.tar": "/etc/passwd"},
    "a layer that links to itself": {"0/layer.tar": "layer.tar"},
    "a config that links out": {"config.json": "../etc/passwd"},
    "a folder as layer": {"0/layer.tar": None},
    "an empty layer": {"0/layer.tar": b""},
    "no config": {"manifest.json": b'[{"Config": "none.json", "RepoTags": null, "Layers": []}]'},
    "a config by path": {"manifest.json": b'[{"Config": "../../../etc/passwd", "RepoTags": null, "Layers": []}]'},
    "too few layers": {"manifest.json": b'[{"Config": "config.json", "RepoTags": null, "Layers": ["0/layer.tar"]}]'},
    "no images": {"manifest.json": b"[]"},
    "no list": {"manifest.json": b"{}"},
    "a huge document": {"manifest.json": b" " * (17 << 20)},
    "a tag with a line break": {
        "manifest.json": b'[{"Config": "config.json", "RepoTags": ["a\\nb"], "Layers": ["0/layer.tar", "1/layer.tar"]}]'
    },
}


@pytest.mark.parametrize("what", ESCAPES)
def test_a_hostile_docker_archive_is_refused(store: Store, tmp_path: Path, what: str) -> None:
    path = tmp_path / "docker.tar"
    path.write_bytes(tar({**docker_archive(Layout()), **ESCAPES[what]}))
    refused(store, str(path), InvalidRequest)


def test_a_document_that_is_there_twice_is_refused(store: Store, tmp_path: Path) -> None:
    members = docker_archive(Layout())
    path = tmp_path / "docker.tar"
    path.write_bytes(tar({**members, "./manifest.json": members["manifest.json"]}))
    assert "more than once" in str(refused(store, str(path)))


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 3000, bytes(2048), tar({"other": b"x"}), gzip.compress(b"x" * 9000), b"\x1f\x8b\x08cut"],
    ids=["empty", "text", "zeros", "another tar", "gzip of text", "cut gzip"],
)
def test_what_is_no_image_archive_is_refused(store: Store, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    refused(store, str(path), InvalidRequest)


def test_an_archive_cut_anywhere_is_refused(store: Store, tmp_path: Path) -> None:
    whole = tar(docker_archive(Layout()))
    path = tmp_path / "docker.tar"
    for end in range(0, len(whole) - 12_000, 1777):
        path.write_bytes(whole[:end])
        refused(store, str(path), InvalidRequest)


def test_a_compressed_archive_leaves_no_file_behind(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "docker.tar.gz"
    path.write_bytes(gzip.compress(tar(docker_archive(Layout()))))
    before = sorted(os.listdir(store.folder()))
    store.load(str(path), name="x")
    assert sorted(set(os.listdir(store.folder())) - set(before)) in ([], ["blobs"], ["blobs", "leases"])


# --- killed in the middle


LOADER = textwrap.dedent(
    """
    import sys
    from layerlog import Store
    class Slow:
        def layer(self, place, count, digest, size, present): print(place, flush=True)
        def advance(self, count): pass
        def left_out(self, items): pass
    with Store(sys.argv[1], sys.argv[2], "vfs") as store:
        print("open", flush=True)
        store.load(sys.argv[3], progress=Slow())
    """
)


@pytest.mark.parametrize("wait_seconds", [0, 0.002, 0.01, 0.03])
def test_a_load_that_is_killed_leaves_nothing_after_the_next_open(open_store: OpenStore, tmp_path: Path, wait_seconds: float) -> None:
    layout = Layout(*({f"d{place}/f{n}": os.urandom(3000) for n in range(60)} for place in range(8)))
    path = layout.write(tmp_path / "layout")
    open_store().close()
    arguments = [sys.executable, "-c", LOADER, str(tmp_path / "root"), str(tmp_path / "root-run"), path]
    child = subprocess.Popen(
        arguments, env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line == "4\n":
            break
    time.sleep(wait_seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    store = open_store()
    assert left_behind(store) == []
    assert (store.images(), store.layers()) == ([], []) or len(store.images()) == 1
    assert store.load(path).id == image_of(layout)


# --- real ones


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "debian-min", "python-app"])
@pytest.mark.parametrize("kind", ["oci", "oci-zstd", "oci-archive.tar", "docker-archive.tar"])
def test_a_real_image_has_the_root_file_system_it_should_have(
    open_store: OpenStore, tmp_path: Path, real_images: Path, name: str, kind: str
) -> None:
    if kind == "oci-zstd":
        pytest.importorskip("zstandard")
    truth = Path(os.environ.get("LAYERLOG_TEST_TRUTH", ROOT.parent / "shared" / "images" / "truth.py"))
    if not truth.is_file():
        pytest.skip("no real images here: truth.py, which lists a root file system, does not lie beside this checkout")
    store = open_store(retention=0)
    store.load(str(real_images / name / kind), name="x")
    for layer in store.layers():
        assert layer.contents is not None
        assert digest(b"".join(store.diff(layer.id, compression=0))) == layer.contents.diff_digest
    seen = tmp_path / "seen"
    with seen.open("wb") as out:
        subprocess.run([sys.executable, truth, store.mount("x", read_only=True)], stdout=out, check=True)
    compare = [sys.executable, str(truth), "--diff", "--loose", str(seen), str(real_images / name / "truth")]
    done = subprocess.run(compare, capture_output=True, text=True)
    assert (done.stdout, done.stderr.strip()) == ("", "0 paths differ")
    store.unmount("x")
    store.delete_image("x")
