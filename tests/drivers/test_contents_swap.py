"""A mounted overlay layer gets its next generation in place, and a swap that was cut short is repeated to the same end."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from layerlog import Store
from layerlog.drivers import durable
from layerlog.drivers.contents_swap import begun, swap_contents
from layerlog.drivers.overlay import Overlay
from tests.drivers import tars
from tests.layerlog.builders import tar


def _tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


class _Cut(Exception):
    pass


@pytest.mark.parametrize("cut_at", range(12))
def test_a_swap_that_is_cut_short_at_any_rename_ends_the_same_when_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    staging, layer = tmp_path / "staging", tmp_path / "layer"
    for folder, files in ((layer / "diff", ("both", "old", "d/old")), (staging / "diff", ("both", "new", "d/new"))):
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{folder.parent.name} {name}")
    wanted = _tree(staging / "diff")
    calls = 0

    def rename(old: str, new: str) -> None:
        nonlocal calls
        calls += 1
        if calls == cut_at:
            raise _Cut
        real(old, new)

    real = durable.rename
    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename", rename)
        try:
            swap_contents(str(staging), str(layer))
        except _Cut:
            assert begun(str(staging))
    swap_contents(str(staging), str(layer))
    assert _tree(layer / "diff") == wanted
    assert not staging.exists()
    swap_contents(str(staging), str(layer))
    assert _tree(layer / "diff") == wanted


def test_what_has_given_away_its_contents_and_waits_for_its_removal_never_takes_the_place_of_a_layer(tmp_path: Path) -> None:
    driver = Overlay(str(tmp_path))
    driver.setup()
    driver.create("a", [])
    Path(driver.own_tree("a"), "theirs").write_text("x")
    staging = Path(driver.home, "staging", "a")
    (staging / "work").mkdir(parents=True)
    driver.swap("a")
    assert _tree(Path(driver.own_tree("a"))) == {"theirs": "x"}
    assert not staging.exists()


@pytest.mark.parametrize("made", ["folder", "file"])
def test_what_a_program_makes_between_the_two_moves_gives_way_to_what_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    staging, layer = tmp_path / "staging", tmp_path / "layer"
    for name in ("new/one", "other"):
        (staging / "diff" / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / "diff" / name).write_text(name)
    (layer / "diff").mkdir(parents=True)

    def rename(old: str, new: str) -> None:
        real(old, new)
        if new.endswith("coming"):
            for name in ("new", "other"):
                (layer / "diff" / name).write_text("theirs") if made == "file" else (layer / "diff" / name / "theirs").mkdir(parents=True)

    real = durable.rename
    monkeypatch.setattr(durable, "rename", rename)
    swap_contents(str(staging), str(layer))
    assert _tree(layer / "diff") == {"new/one": "new/one", "other": "other"}
    assert not staging.exists()


@pytest.mark.root
def test_a_diff_applied_to_a_mounted_layer_is_seen_in_the_mount(tmp_path: Path) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "overlay") as store:
        store.import_layer(io.BytesIO(tar({"base": b"b", "gone": b"g"})), id="base")
        store.create_layer("base", id="top")
        mounted = Path(store.mount("top"))
        (mounted / "written").write_text("w")
        store.apply_diff("top", io.BytesIO(tar({"one": b"1", ".wh.gone": b""})))
        assert sorted(path.name for path in mounted.iterdir()) == ["base", "one", "written"]
        store.apply_diff("top", io.BytesIO(tar({"one": b"2", "two": b"2"})))
        store.unmount("top")
        mounted = Path(store.mount("top"))
        assert sorted(path.name for path in mounted.iterdir()) == ["base", "one", "two", "written"]
        assert (mounted / "one").read_bytes() == b"2"
        store.shutdown(force=True)
        assert list(store.check()) == []


@pytest.mark.root
def test_the_root_of_a_mounted_layer_gets_the_xattrs_of_the_diff(tmp_path: Path) -> None:
    def root_with(name: bytes) -> io.BytesIO:
        return tars.stream(tars.pax({b"SCHILY.xattr.user." + name: b"1"}) + tars.folder(b"./", 0o711))

    with Store(tmp_path / "root", tmp_path / "run", "overlay", options=["sync=none"]) as store:
        store.import_layer(root_with(b"old"), id="a")
        merged = store.mount("a")
        store.apply_diff("a", root_with(b"new"))
        store.unmount("a")
        merged = store.mount("a")
        assert [key for key in os.listxattr(merged) if key.startswith("user.")] == ["user.new"]
        store.unmount("a")


def test_a_step_whose_flush_failed_is_taken_again_and_not_only_flushed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a failed flush dropped, a second one does not write: the disk would still show the step before as the next one."""
    staging, layer = tmp_path / "staging", tmp_path / "layer"
    for folder, name in ((staging, "new"), (layer, "old")):
        (folder / "diff").mkdir(parents=True)
        (folder / "diff" / name).touch()
    sync = durable.sync_folder
    failed: list[str] = []

    def refused_once(folder: str) -> None:
        if folder == str(staging) and not failed:
            failed.append(folder)
            raise OSError(errno.EIO, "refused")
        sync(folder)

    monkeypatch.setattr(durable, "sync_folder", refused_once)
    with pytest.raises(OSError, match="refused"):
        swap_contents(str(staging), str(layer))
    assert (staging / "diff" / "new").exists()
    swap_contents(str(staging), str(layer))
    assert [path.name for path in (layer / "diff").iterdir()] == ["new"]
    assert not staging.exists()
