"""A journal that was cut short, anywhere, in a store with contents: it opens, it works on, and no layer's contents are deleted.

What the lost commits claimed is not claimed any more; that is no reason to remove it, for whoever opens, writes, recovers or collects.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.errors import StoreError
from layerlog.eventstore.leases import Lease
from layerlog.losing import LOSING
from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ("same boot", "after a boot", "after a boot, its position gone")


class Whole:
    """A store with layers in all states, where its frames end, and the contents that must not go."""

    def __init__(self, root: Path) -> None:
        self.root, self.contents = root, set[bytes]()
        with Store(root, root.parent / "run", "vfs") as store:
            for name in ("base", "other", "thrown", "back", "applied", "last"):
                contents = f"contents of {name}".encode()
                self.contents.add(contents)
                if name == "applied":
                    store.create_layer(id=name)
                    store.apply_diff(name, io.BytesIO(tar({"file": contents})))
                else:
                    store.import_layer(io.BytesIO(tar({"file": contents})), id=name, names=[f"{name}-name"])
            store.create_image("base", id="image", names=["app:1"], big_data={"manifest": b"{}"})
            box = store.create_container("image", id="box")
            Path(store.mount("box"), "written").write_bytes(b"contents of box")
            self.contents.add(b"contents of box")
            store.unmount(box.id)
            store.delete_layer("thrown")
            store.delete_layer("back")
            store.restore("back")
            store.set_metadata("last", "m")
            self.ends = [commit.frame.end for commit in store.ledger.history()]
        self.segment = next((root / "vfs-layerlog" / "journal").glob("*.segment")).relative_to(root)

    def cuts(self) -> Iterator[int]:
        """Between every two commits, and inside each."""
        for end in self.ends:
            yield end
            yield end - 100

    def cut(self, to: Path, at: int, way: str) -> None:
        """A copy whose journal ends there."""
        shutil.copytree(self.root, to, symlinks=True)
        os.truncate(to / self.segment, at)
        if way.endswith("gone"):
            (to / "vfs-layerlog" / "position").unlink()
        for run in (to / "vfs-layerlog" / "checkpoints").glob("*"):
            run.unlink()


def kept(root: Path) -> set[bytes]:
    """The contents of all files of the driver's folder, its trash included, and of what was put aside."""
    found: set[bytes] = set()
    for place in (root / "vfs", root / "vfs-layerlog" / "quarantine"):
        found.update(path.read_bytes() for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    made = Whole(tmp_path_factory.mktemp("whole") / "root")
    assert made.contents <= kept(made.root)
    return made


@pytest.mark.parametrize("way", WAYS)
def test_no_contents_are_deleted_wherever_the_journal_is_cut(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way != "same boot":
        for module in ("eventstore.position", "eventstore.volatile", "volatile_layers", "recovery", "opened"):
            monkeypatch.setattr(f"layerlog.{module}.boot_id", lambda: bytes(range(16)))
    for at in whole.cuts():
        root = tmp_path / "root"
        whole.cut(root, at, way)
        with Store(root, tmp_path / "run", read_only=True) as store:
            list(store.check(unreferenced_seconds=1e9))
        assert whole.contents <= kept(root), f"read only, cut at {at}"
        for _ in range(2):
            with Store(root, tmp_path / "run") as store:
                store.create_layer()
                try:
                    store.gc()
                except StoreError:
                    assert store.ledger.has_damage()
                list(store.check(unreferenced_seconds=1e9))
            assert whole.contents <= kept(root), f"cut at {at}"
        shutil.rmtree(root)


def test_gc_moves_what_no_record_claims_and_says_where(whole: Whole, tmp_path: Path) -> None:
    """Also what has the ID of something that was deleted: it may have been made again in a commit that is lost."""
    shutil.copytree(whole.root, tmp_path / "root")
    with Store(tmp_path / "root", tmp_path / "run", retention=0) as store:
        store.delete_layer("other")
        for layer_id in ("other", "stray"):
            folder = Path(store.driver.path(layer_id))
            folder.mkdir()
            (folder / "file").write_text(f"somebody's {layer_id}")
        done = store.gc()
        assert sorted(Path(place, "file").read_text() for place in done.lost) == ["somebody's other", "somebody's stray"]
        assert all("lost+found" in place for place in done.lost)
        assert store.gc().lost == []
        assert list(store.check()) == []


def test_who_dies_over_a_gc_leaves_what_it_was_moving(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead lease means that what it names may be removed; this one says that it may not."""
    shutil.copytree(whole.root, tmp_path / "root")
    with Store(tmp_path / "root", tmp_path / "run") as store:
        folder = Path(store.driver.path("stray"))
        folder.mkdir()
        (folder / "file").write_text("somebody's")
        with monkeypatch.context() as patch:
            patch.setattr("layerlog.eventstore.leases.Lease.release", Lease.abandon)
            patch.setattr(type(store.driver), "lose", raising)
            with pytest.raises(RuntimeError):
                store.gc()
    with Store(tmp_path / "root", tmp_path / "run") as store:
        assert store.recovered == [("stray", [LOSING])]
        assert b"somebody's" in kept(tmp_path / "root")
        assert not folder.exists()
        assert list(store.check()) == []


def raising(*_: object) -> None:
    raise RuntimeError("killed")
