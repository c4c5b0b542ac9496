from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore.errors import ArchiveLimit, DuplicateID, InvalidRequest, LayerUnknown, ParentIsContainer
from layerlog.images_in import Quiet
from tests.layerlog.builders import BASE, TOP, Layout, tar
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog import Store
    from layerlog.records import Image
    from tests.layerlog.conftest import OpenStore


def config_of(store: Store, image: Image) -> Any:
    return json.loads(store.big_data("image", image.id, f"sha256:{image.id}"))


class Told(Quiet):
    """Progress that remembers, and does something after so many steps."""

    def __init__(self, then: Callable[[], None] = lambda: None, after: int = 1) -> None:
        self.notes: list[Any] = []
        self._then, self._after = then, after

    def advance(self, count: int) -> None:
        self._after -= 1
        if self._after == 0:
            self._then()

    def left_out(self, items: list[Any]) -> None:
        self.notes += items


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
    image = store.import_dir(str(folder), name="imported:1")
    assert (store.image("imported:1").id, len(store.layers())) == (image.id, 1)
    root = Path(store.mount(image.id, read_only=True))
    assert ((root / "etc/motd").read_text(), os.readlink(root / "link")) == ("hello\n", "../../outside")
    assert (root / "same").stat().st_ino == (root / "etc/motd").stat().st_ino
    store.unmount(image.id)


def test_an_unchanged_folder_gives_the_same_image(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    image = store.import_dir(str(folder), ["a"])
    assert store.import_dir(str(folder), "b").id == image.id
    assert (len(store.images()), sorted(store.names(image.id))) == (1, ["a", "b"])
    (folder / "etc/more").touch()
    assert store.import_dir(str(folder)).id != image.id


def test_an_empty_folder_is_an_image_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert store.import_dir(str(tmp_path / "empty")).layer


def test_what_is_no_folder_or_holds_the_store_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing", tmp_path, Path(store.root)):
        with pytest.raises(InvalidRequest):
            store.import_dir(str(path))
    assert store.layers() == []


def test_the_folder_itself_gives_the_root_its_mode_but_not_that_of_a_parent(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    folder.chmod(0o711)
    alone = store.import_dir(str(folder))
    above = store.import_dir(str(folder), parent=store.load(Layout(BASE).write(tmp_path / "layout")).id)
    modes = [os.stat(store.driver.path(image.layer)).st_mode & 0o777 for image in (alone, above)]
    assert modes[0] == 0o711
    assert modes[1] != 0o711


def test_the_layer_gives_back_the_same_tar_that_its_digest_is_of(store: Store, tmp_path: Path) -> None:
    image = store.import_dir(str(a_folder(tmp_path / "folder")))
    given = b"".join(store.diff(image.layer, compression=0))
    assert "sha256:" + hashlib.sha256(given).hexdigest() == config_of(store, image)["rootfs"]["diff_ids"][0]


def test_what_a_layer_cannot_hold_is_left_out_and_told(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    (folder / "etc/.wh.motd").touch()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "sock"))
    told = Told()
    image = store.import_dir(str(folder), progress=told)
    assert sorted(told.notes)[:2] == [(b"etc/.wh.motd", "name that means a deletion in an image"), (b"sock", "socket")]
    assert sorted(os.listdir(Path(store.driver.path(image.layer), "etc"))) == ["motd"]


def test_a_sparse_file_keeps_its_holes_and_its_time(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    with (folder / "sparse").open("wb") as file:
        file.truncate(8 << 20)
        os.pwrite(file.fileno(), b"middle", 5_000_000)
    os.utime(folder / "sparse", (77, 77))
    image = store.import_dir(str(folder))
    arrived = Path(store.driver.path(image.layer), "sparse")
    assert arrived.read_bytes() == (folder / "sparse").read_bytes()
    assert arrived.stat().st_mtime == 77
    assert arrived.stat().st_blocks <= (folder / "sparse").stat().st_blocks + 16


@pytest.mark.parametrize("what", ["grows", "shrinks", "is replaced by a link", "goes", "is joined by another"])
def test_a_folder_that_changes_while_it_is_read_is_refused(store: Store, tmp_path: Path, what: str) -> None:
    """In the middle of the first reading, and between the two."""
    for after in (1, 4):
        folder = a_folder(tmp_path / f"{what}{after}")
        (folder / "big").write_bytes(os.urandom(3 << 20))

        def change(folder: Path = folder) -> None:
            if what in ("grows", "shrinks"):
                os.truncate(folder / "big", (3 << 20) + (100 if what == "grows" else -1_000_000))
                return
            if what != "is joined by another":
                (folder / "big").unlink()
            if what != "goes":
                (folder / ("big" if "link" in what else "more")).symlink_to("/etc")

        with pytest.raises(InvalidRequest, match=r"changed while it was read"):
            store.import_dir(str(folder), progress=Told(change, after))
        assert (store.layers(), store.images(), left_behind(store)) == ([], [], [])


@pytest.mark.skipif(os.geteuid() == 0, reason="an ordinary user's test")
def test_what_cannot_be_read_is_named(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    (folder / "etc").chmod(0)
    with pytest.raises(InvalidRequest, match="etc cannot be read"):
        store.import_dir(str(folder))
    (folder / "etc").chmod(0o755)


def test_on_an_image_the_config_is_that_image_s_with_one_layer_more(store: Store, tmp_path: Path) -> None:
    layout = Layout(BASE, TOP)
    layout.config |= {"config": {"Env": ["PATH=/bin", "A=0"], "Cmd": ["/old"]}, "history": [{"created_by": "somebody"}, {}]}
    base = store.load(layout.write(tmp_path / "layout"), name="base")
    image = store.import_dir(
        str(a_folder(tmp_path / "folder")), parent="base", changes=["ENV A=1", "CMD sh -l", 'ENTRYPOINT ["/init"]'], message="ours"
    )
    config = config_of(store, image)
    assert (store.layer(image.layer).parent, config["rootfs"]["diff_ids"][:2]) == (base.layer, layout.diff_ids)
    assert config["config"] == {"Env": ["PATH=/bin", "A=1"], "Cmd": ["/bin/sh", "-c", "sh -l"], "Entrypoint": ["/init"]}
    assert [one.get("comment") for one in config["history"]] == [None, None, "ours"]
    root = Path(store.mount(image.id, read_only=True))
    assert ((root / "etc/motd").read_text(), (root / "new").exists()) == ("hello\n", True)
    store.unmount(image.id)


def test_on_a_layer_without_an_image_the_config_lists_what_is_below(store: Store, tmp_path: Path) -> None:
    below = store.import_layer(io.BytesIO(tar(BASE)), names=["below"])
    image = store.import_dir(str(a_folder(tmp_path / "folder")), parent="below")
    assert below.contents is not None
    assert config_of(store, image)["rootfs"]["diff_ids"][0] == below.contents.diff_digest
    with pytest.raises(LayerUnknown):
        store.import_dir(str(tmp_path / "folder"), parent="nobody")


def test_a_container_s_layer_is_no_parent(store: Store, tmp_path: Path) -> None:
    """What it holds changes: a layer on top would change with it."""
    container = store.create_container(store.load(Layout(BASE).write(tmp_path / "layout")).id)
    with pytest.raises(ParentIsContainer):
        store.import_dir(str(a_folder(tmp_path / "folder")), parent=container.layer)


def test_a_layer_that_holds_something_else_under_the_same_id_is_not_taken_for_it(store: Store, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "folder")
    layer_id = store.import_dir(str(folder)).layer
    store.wipe()
    store.create_layer(id=layer_id)
    with pytest.raises(DuplicateID):
        store.import_dir(str(folder))
    assert store.images() == []


def test_all_instructions_reach_the_config(store: Store, tmp_path: Path) -> None:
    words = [
        "EXPOSE 80 53/udp", 'LABEL a=1 b="two words"', "USER 1000:1000", "VOLUME /data /log", "WORKDIR /srv", "STOPSIGNAL SIGINT",
        "env OLD old style", "CMD=/bin/true",
    ]  # fmt: skip
    image = store.import_dir(str(a_folder(tmp_path / "folder")), changes=words, platform="linux/arm64/v8")
    config = config_of(store, image)
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert config["config"] == {
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Labels": {"a": "1", "b": "two words"},
        "User": "1000:1000",
        "Volumes": {"/data": {}, "/log": {}},
        "WorkingDir": "/srv",
        "StopSignal": "SIGINT",
        "Env": ["OLD=old style"],
        "Cmd": ["/bin/sh", "-c", "/bin/true"],
    }


@pytest.mark.parametrize(
    "word", ["RUN rm -rf /", "CMD", "CMD [1]", "CMD [", "ENV", "ENV x", "ENV =1", 'ENV "', "EXPOSE x", "EXPOSE 70000", "EXPOSE 1/x", ""]
)
def test_a_wrong_instruction_is_refused_before_anything_is_read(store: Store, tmp_path: Path, word: str) -> None:
    with pytest.raises(InvalidRequest):
        store.import_tar(io.BytesIO(b"not a tar"), changes=[word])


class Pipe:
    """A stream that can only be read onward."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000) if size >= 0 else size)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("as_pipe", [False, True])
def test_a_tar_becomes_an_image_too(store: Store, pack: Callable[[bytes], bytes], as_pipe: bool) -> None:
    data = pack(tar(BASE))
    image = store.import_tar(Pipe(data) if as_pipe else io.BytesIO(data), "rootfs:1")  # type: ignore[arg-type]
    manifest = json.loads(store.big_data("image", image.id, "manifest"))
    packed = pack is gzip.compress
    assert manifest["layers"][0]["digest"] == "sha256:" + hashlib.sha256(data if packed else tar(BASE)).hexdigest()
    assert config_of(store, image)["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(tar(BASE)).hexdigest()]
    assert left_behind(store) == []


@pytest.mark.parametrize("data", [b"", b"text" * 500, gzip.compress(tar(BASE))[:-9], tar(BASE)[:700]])
def test_what_is_no_tar_is_refused_and_leaves_nothing(store: Store, data: bytes) -> None:
    before = store.sequence
    with pytest.raises(InvalidRequest):
        store.import_tar(io.BytesIO(data))
    assert (store.sequence, store.layers(), left_behind(store)) == (before, [], [])


def test_an_imported_image_can_be_saved_and_loaded(open_store: OpenStore, tmp_path: Path) -> None:
    store, other = open_store(), open_store("other")
    image = store.import_dir(str(a_folder(tmp_path / "folder")), "app:1")
    store.save(str(tmp_path / "out"), image)
    assert other.load(str(tmp_path / "out")).id == image.id


def test_storage_options_set_the_limits(open_store: OpenStore) -> None:
    strict = open_store("strict", options=["archive_entries_max=3", "vfs.archive_bytes_max=1m", "storage.archive_ratio_max=none"])
    with pytest.raises(ArchiveLimit, match="entries = 3"):
        strict.import_tar(io.BytesIO(tar(BASE)))
    with pytest.raises(ArchiveLimit, match="bytes = 1048576"):
        strict.import_layer(io.BytesIO(tar({"big": bytes(2 << 20)})))
    assert strict.limits.ratio_max is None
    for wrong in ("archive_bytes_max=many", "archive_bytes_max=-1", "archive_bytes_max="):
        with pytest.raises(InvalidRequest, match="archive_bytes_max"):
            open_store("wrong", options=[wrong]).import_layer(io.BytesIO(tar(BASE)))
