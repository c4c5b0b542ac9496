"""What btrfs does otherwise than vfs; all that it must do alike is in test_conformance.py."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.drivers import btrfs, choose, tools
from layerlog.drivers.driver import MountOptions
from layerlog.eventstore.errors import DriverError, NotSupported
from tests.drivers import tars
from tests.drivers.tars import contents
from tests.layerlog.builders import Layout
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


class Recorded:
    """The program ``btrfs``, and what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._real = tools.tool("btrfs")

    def __call__(self, *arguments: str) -> str:
        self.calls.append(arguments)
        return self._real(*arguments)


@pytest.fixture
def run() -> Recorded:
    return Recorded()


@pytest.fixture
def home(on_btrfs: Path, tmp_path: Path, run: Recorded) -> Iterator[btrfs.Btrfs]:
    driver = btrfs.Btrfs(str(on_btrfs / tmp_path.name), run=run)
    driver.setup()
    yield driver
    for layer_id in driver.list():
        driver.remove(layer_id)


def test_a_layer_is_a_snapshot_of_its_parent_in_the_place_of_the_original(home: btrfs.Btrfs, run: Recorded) -> None:
    home.stage("base", []).apply(tars.stream(tars.file(b"big", b"x" * 100_000)))
    home.place("base")
    home.create("child", ["base"])
    subvolumes = os.path.join(home.home, "subvolumes")
    assert run.calls[-1] == ("subvolume", "snapshot", f"{subvolumes}/base", f"{home.home}/staging/child")
    assert home.mount("child", ["base"], MountOptions()) == f"{subvolumes}/child"
    assert contents(f"{subvolumes}/child") == {"big": "x" * 100_000}
    assert btrfs.is_subvolume(f"{subvolumes}/child")


def test_subvolumes_that_a_program_made_inside_go_with_the_layer(home: btrfs.Btrfs) -> None:
    home.create("a", [])
    path = home.path("a")
    os.mkdir(path + "/d")
    for inner in ("/d/inner", "/d/inner/deeper", "/beside"):
        subprocess.run(["btrfs", "subvolume", "create", path + inner], check=True, capture_output=True)
    os.symlink("/", path + "/link")
    assert home.put_aside("a", "1-a")
    home.free("1-a")
    assert home.trash() == []


def test_a_layer_that_was_copied_here_as_a_plain_folder_still_has_children(home: btrfs.Btrfs, run: Recorded) -> None:
    """``cp -a`` and ``rsync`` of a whole root leave no subvolumes."""
    os.makedirs(home.path("base") + "/d")
    home.create("child", ["base"])
    assert contents(home.path("child")) == {"d": "/"}
    assert btrfs.is_subvolume(home.path("child"))
    home.remove("base")


def test_a_tool_s_own_words_are_the_error(home: btrfs.Btrfs) -> None:
    with pytest.raises(DriverError, match="No such file") as caught:
        home.create("child", ["none"])
    assert isinstance(caught.value.__cause__, OSError)
    assert home.list() == []


def test_words_of_the_tools_become_error_numbers() -> None:
    for text, number in (
        ("ERROR: cannot snapshot 'x': No space left on device\n", 28),
        ("ERROR: Could not destroy subvolume/snapshot: Directory not empty", 39),
        ("cannot destroy 'p/a': filesystem has dependent clones\nuse '-R'", 16),
        ("cannot create 'p/a': dataset already exists", 17),
        ("strange words", 5),
    ):
        assert tools.said(text).errno == number
    with pytest.raises(OSError, match="layerlog-no-such-tool is not installed"):
        tools.tool("layerlog-no-such-tool")("x")


def test_it_is_refused_with_a_reason_where_there_is_no_btrfs(tmp_path: Path) -> None:
    why = choose.probe("btrfs", "/dev/shm")
    assert why == "/dev/shm is not on a btrfs"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["btrfs", "zfs", "bogus"])
def test_a_store_that_could_not_work_is_not_begun(name: str, tmp_path: Path) -> None:
    root = Path("/dev/shm") / tmp_path.name
    with pytest.raises(NotSupported, match=f"driver '{name}' is not supported; "):
        Store(root, tmp_path / "run", name)
    assert not root.exists()
    assert os.listdir(tmp_path) == []


def test_overlay_comes_first_and_btrfs_before_vfs(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        works = {"overlay": "", "btrfs": "", "zfs": "no"}
        monkeypatch.setattr(choose, "probe", lambda name, root: works.get(name, ""))
        assert choose.first_working("/") == "overlay"
        works["overlay"] = "the kernel refuses"
        assert choose.first_working("/") == "btrfs"
        works["btrfs"] = "no btrfs"
        assert choose.first_working("/") == "vfs"


def test_a_store_lives_on_it(on_btrfs: Path, tmp_path: Path) -> None:
    layout = Layout()
    with Store(on_btrfs / f"store-{tmp_path.name}", tmp_path / "run", "btrfs") as store:
        image = store.load(layout.write(tmp_path / "layout"))
        container = store.create_container("built:1")
        Path(store.mount(container.id), "made").write_text("here")
        store.unmount(container.id)
        store.commit_container(container.id, name="made:1")
        store.save(tmp_path / "out.tar", "made:1")
        store.delete_container(container.id)
        store.delete_image("made:1")
        store.undo(last=1)
        assert Path(store.mount("made:1", read_only=True), "made").read_text() == "here"
        store.unmount("made:1")
        for layer in store.layers():
            assert layer.contents is not None
            assert "sha256:" + hashlib.sha256(b"".join(store.diff(layer.id, compression=0))).hexdigest() == layer.contents.diff_digest
        assert list(store.check()) == []
        assert left_behind(store) == []
        assert ("Driver Name", "btrfs") in store.status()
        assert store.image("built:1").id == image.id
        store.wipe()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "python-app"])
def test_a_real_image_has_the_root_file_system_it_should_have(on_btrfs: Path, tmp_path: Path, real_images: Path, name: str) -> None:
    truth = ROOT.parent / "shared" / "images" / "truth.py"
    if not truth.is_file():
        pytest.skip("no real images here: truth.py, which lists a root file system, does not lie beside this checkout")
    with Store(on_btrfs / f"store-{tmp_path.name}", tmp_path / "run", "btrfs", retention=0) as store:
        store.load(str(real_images / name / "oci"), name="x")
        for layer in store.layers():
            assert layer.contents is not None
            whole = hashlib.sha256()
            for piece in store.diff(layer.id, compression=0):
                whole.update(piece)
            assert "sha256:" + whole.hexdigest() == layer.contents.diff_digest
        seen = tmp_path / "seen"
        with seen.open("wb") as out:
            subprocess.run([sys.executable, truth, store.mount("x", read_only=True)], stdout=out, check=True)
        compare = [sys.executable, str(truth), "--diff", "--loose", str(seen), str(real_images / name / "truth")]
        done = subprocess.run(compare, capture_output=True, text=True)
        assert (done.stdout, done.stderr.strip()) == ("", "0 paths differ")
        store.unmount("x")
        store.delete_image("x")
        assert left_behind(store) == []
