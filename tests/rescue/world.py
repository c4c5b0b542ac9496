"""One healthy store with something of everything, and what may happen to it: thirty and more kinds of damage."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerlog import Store
from tests.layerlog.builders import BASE, TOP, Layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable

    Damage = Callable[["Broken"], None]


def make(folder: Path, driver: str) -> None:
    """``folder/store`` and, beside it, the image it was loaded from."""
    (folder / "oci").mkdir(parents=True)
    Layout(BASE, TOP).write(folder / "oci")
    (folder / "other").mkdir()
    Layout(BASE, {"third/": None, "third/file": b"3" * 500}, name="other:1").write(folder / "other")
    with Store(folder / "store", driver=driver, actor="maker") as store:
        image = store.load(str(folder / "oci"))
        store.load(str(folder / "other"))
        store.import_layer(io.BytesIO(tar({"mine": b"m" * 700, "dir/": None, "dir/two": b"2" * 300})), names=["mine"])
        store.create_image("mine", names=["by-hand:1"], big_data={"note": b"what nobody else has"})
        box = store.create_container(image.id, names=["box"], big_data={"config": b"{}"})
        Path(store.mount(box.id), "written").write_text("by a program")
        store.unmount(box.id)
        thrown = store.import_layer(io.BytesIO(tar({"gone": b"g" * 400})), names=["thrown"])
        store.delete_layer(thrown.id)
        for number in range(60):
            store.set_metadata(image.id, f"metadata {number}")
        for number in range(5):
            store.set_metadata(image.id, str(number) * 30_000)
        store.tag(image.id, "built:latest")
    Store(folder / "store", driver=driver).close()  # whoever opens writes the checkpoints


class Broken:
    """A copy of the store that something is done to."""

    def __init__(self, folder: Path, driver: str, thrown: bool = True) -> None:
        self.root, self.driver = folder / "store", driver
        self.own, self.home = self.root / f"{driver}-layerlog", self.root / driver
        with Store(self.root, driver=driver, read_only=True) as store:
            self.rows: dict[str, list[Any]] = {"layer": store.layers(), "image": store.images(), "container": store.containers()}
            self.entry = store.trash()[0].entry if thrown else ""
        self.image = next(one for one in self.rows["image"] if "built:latest" in one.names)
        layers = {one.id: one for one in self.rows["layer"]}
        self.top = layers[self.image.layer]
        self.base = layers[self.top.parent]
        self.mine = next(one for one in layers.values() if one.names == ["mine"])
        self.box = self.rows["container"][0]

    @property
    def segments(self) -> list[Path]:
        return sorted((self.own / "journal").glob("*.segment"))

    def layer(self, layer_id: str) -> Path:
        """The layer's folder."""
        return self.home / layer_id if self.driver == "overlay" else self.home / "dir" / layer_id

    def tree(self, layer_id: str) -> Path:
        return self.layer(layer_id) / "diff" if self.driver == "overlay" else self.layer(layer_id)

    def blob(self, digest: str) -> Path:
        digits = digest.partition(":")[2]
        return self.own / "blobs" / "sha256" / digits[:2] / digits


def garble(path: Path, start: int = 0, size: int = 64) -> None:
    """Overwrite bytes with others. What is no file any more has none."""
    if path.exists() and not path.is_file():
        return
    data = bytearray(path.read_bytes())
    end = min(start + size, len(data))
    data[start:end] = bytes(byte ^ 0x5A for byte in data[start:end])
    path.write_bytes(data)


def frame(broken: Broken, word: bytes, payload: bool) -> tuple[Path, int]:
    """Segment and offset of the (payload of the) first frame that holds *word*."""
    for path in broken.segments:
        data = path.read_bytes()
        at = data.find(word)
        if at >= 0:
            return path, at if payload else data.rindex(b"\xffLLframe", 0, at)
    raise AssertionError(word)


# --- the journal


def journal_gone(broken: Broken) -> None:
    shutil.rmtree(broken.own / "journal")


def ledger_gone(broken: Broken) -> None:
    shutil.rmtree(broken.own)


def first_segment_gone(broken: Broken) -> None:
    broken.segments[0].unlink()


def last_segment_gone(broken: Broken) -> None:
    broken.segments[-1].unlink()


def first_segment_zeros(broken: Broken) -> None:
    path = broken.segments[0]
    path.write_bytes(bytes(path.stat().st_size))


def segment_header(broken: Broken) -> None:
    garble(broken.segments[-1], 0, 128)


def every_segment_header(broken: Broken) -> None:
    for path in broken.segments:
        garble(path, 0, 128)
    (broken.own / "genesis").unlink()


def segment_cut(broken: Broken) -> None:
    path = broken.segments[0]
    os.truncate(path, 20_000)


def load_record(broken: Broken) -> None:
    path, at = frame(broken, b'"ImageCreated"', payload=True)
    garble(path, at)


def container_record(broken: Broken) -> None:
    path, at = frame(broken, b'"ContainerCreated"', payload=True)
    garble(path, at)


def delete_record(broken: Broken) -> None:
    path, at = frame(broken, b'"LayerDeleted"', payload=True)
    garble(path, at)


def record_header(broken: Broken) -> None:
    path, at = frame(broken, b"metadata 7", payload=False)
    garble(path, at, 128)


def one_bit(broken: Broken) -> None:
    path, at = frame(broken, b"metadata 9", payload=True)
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def genesis_record(broken: Broken) -> None:
    garble(broken.segments[0], 300, 60)


def genesis_copy(broken: Broken) -> None:
    garble(broken.own / "genesis")


def genesis_copy_gone(broken: Broken) -> None:
    (broken.own / "genesis").unlink()


def position(broken: Broken) -> None:
    garble(broken.own / "position")


def lock_gone(broken: Broken) -> None:
    (broken.own / "lock").unlink()


def checkpoint(broken: Broken) -> None:
    for path in (broken.own / "checkpoints").iterdir():
        garble(path, 40)


def checkpoints_gone(broken: Broken) -> None:
    shutil.rmtree(broken.own / "checkpoints")


# --- data items


def manifest_gone(broken: Broken) -> None:
    broken.blob(broken.image.big_data["manifest"][0]).unlink()


def manifest_rotten(broken: Broken) -> None:
    garble(broken.blob(broken.image.big_data["manifest"][0]), 5, 9)


def config_gone(broken: Broken) -> None:
    broken.blob(f"sha256:{broken.image.id}").unlink()


def note_gone(broken: Broken) -> None:
    image = next(one for one in broken.rows["image"] if "by-hand:1" in one.names)
    broken.blob(image.big_data["note"][0]).unlink()


def tar_split_gone(broken: Broken) -> None:
    broken.blob(broken.top.row["contents"]["tar_split"]["blob"]).unlink()


def tar_split_rotten(broken: Broken) -> None:
    garble(broken.blob(broken.base.row["contents"]["tar_split"]["blob"]), 30, 8)


def strange_blob(broken: Broken) -> None:
    path = broken.blob("sha256:" + "ab" * 32)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"of nobody")


def half_blob(broken: Broken) -> None:
    (broken.own / "blobs" / "aside" / "half").write_bytes(b"half")


# --- layers


def base_gone(broken: Broken) -> None:
    shutil.rmtree(broken.layer(broken.base.id))


def top_gone(broken: Broken) -> None:
    shutil.rmtree(broken.layer(broken.top.id))


def mine_gone(broken: Broken) -> None:
    shutil.rmtree(broken.layer(broken.mine.id))


def box_gone(broken: Broken) -> None:
    shutil.rmtree(broken.layer(broken.box.layer))


def file_changed(broken: Broken) -> None:
    garble(broken.tree(broken.top.id) / "new", 10, 5)


def file_gone(broken: Broken) -> None:
    (broken.tree(broken.base.id) / "bin" / "tool").unlink()


def file_added(broken: Broken) -> None:
    (broken.tree(broken.mine.id) / "strange").write_text("was not here")


def file_mode(broken: Broken) -> None:
    (broken.tree(broken.base.id) / "etc" / "motd").chmod(0o600)


def layer_unclaimed(broken: Broken) -> None:
    shutil.copytree(broken.layer(broken.mine.id), broken.layer("ab" * 32), symlinks=True)


# --- what overlay derives


def link_gone(broken: Broken) -> None:
    (broken.layer(broken.top.id) / "link").unlink()


def lower_rotten(broken: Broken) -> None:
    garble(broken.layer(broken.top.id) / "lower", 0, 8)


def short_name_gone(broken: Broken) -> None:
    for path in (broken.home / "l").iterdir():
        path.unlink()


def short_name_astray(broken: Broken) -> None:
    for path in (broken.home / "l").iterdir():
        path.unlink()
        path.symlink_to("../nowhere/diff")


def work_gone(broken: Broken) -> None:
    shutil.rmtree(broken.layer(broken.box.layer) / "work")


def merged_gone(broken: Broken) -> None:
    (broken.layer(broken.box.layer) / "merged").rmdir()


# --- leases, trash, staging, mounts


def lease_dead(broken: Broken) -> None:
    (broken.own / "leases").mkdir(exist_ok=True)
    (broken.own / "leases" / broken.mine.id).write_text('{"doing": "nobody knows"}')


def lease_garbled(broken: Broken) -> None:
    (broken.own / "leases").mkdir(exist_ok=True)
    (broken.own / "leases" / ".sweep").write_bytes(b"\0\xff\0")


def trash_gone(broken: Broken) -> None:
    shutil.rmtree(broken.home / "trash" / broken.entry)


def trash_strange(broken: Broken) -> None:
    (broken.home / "trash" / "of-nobody").mkdir()


def staging_litter(broken: Broken) -> None:
    (broken.home / "staging" / ("cd" * 32)).mkdir()


def run_journal(broken: Broken) -> None:
    for path in (broken.root / "run").rglob("*.segment"):
        garble(path, 0, 4000)


def settled(broken: Broken) -> None:
    (broken.own / "settled").write_bytes(b"\xff\0nothing")


def position_a_pipe(broken: Broken) -> None:
    a_pipe(broken.own / "position")


def last_segment_a_folder(broken: Broken) -> None:
    a_folder(broken.segments[-1])


def genesis_copy_a_folder(broken: Broken) -> None:
    a_folder(broken.own / "genesis")


def checkpoint_a_pipe(broken: Broken) -> None:
    a_pipe(next((broken.own / "checkpoints").iterdir()))


def manifest_a_folder(broken: Broken) -> None:
    a_folder(broken.blob(broken.image.big_data["manifest"][0]))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


JOURNAL: list[Damage] = [
    journal_gone, ledger_gone, first_segment_gone, last_segment_gone, first_segment_zeros, segment_header, every_segment_header,
    segment_cut, load_record, container_record, delete_record, record_header, one_bit, genesis_record, genesis_copy,
    genesis_copy_gone, position, lock_gone, checkpoint, checkpoints_gone,
    position_a_pipe, last_segment_a_folder, genesis_copy_a_folder, checkpoint_a_pipe,
]  # fmt: skip
DATA: list[Damage] = [
    manifest_gone, manifest_rotten, manifest_a_folder, config_gone, note_gone, tar_split_gone, tar_split_rotten, strange_blob, half_blob,
]  # fmt: skip
FILES: list[Damage] = [base_gone, top_gone, mine_gone, box_gone, file_changed, file_gone, file_added, file_mode, layer_unclaimed]
REST: list[Damage] = [lease_dead, lease_garbled, trash_gone, trash_strange, staging_litter, run_journal, settled]
OVERLAY: list[Damage] = [link_gone, lower_rotten, short_name_gone, short_name_astray, work_gone, merged_gone]


def kinds(driver: str) -> list[Damage]:
    """What can happen to a store of that driver."""
    return [*JOURNAL, *DATA, *FILES, *REST, *(OVERLAY if driver == "overlay" else [])]


def copy(source: Path, target: Path) -> None:
    """As ``cp -a``."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
