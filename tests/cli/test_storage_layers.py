"""``create-storage-layer``: layers that only the driver knows, here and in a split store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Door


def test_it_never_takes_the_place_of_a_layer_that_is_there(cs: Door, tmp_path: Path) -> None:
    """The original removes what lies under that ID, a layer with a record, too."""
    layer = cs("create-layer", "-i", "kept").out.strip()
    (tmp_path / "graph/vfs/dir" / layer).mkdir(exist_ok=True)
    (tmp_path / "graph/vfs/dir" / layer / "file").write_text("mine")
    refused = cs("create-storage-layer", "-i", layer)
    assert (refused.code, refused.out) == (1, "")
    assert "that ID is already in use" in refused.err
    assert (tmp_path / "graph/vfs/dir" / layer / "file").read_text() == "mine"
    assert cs("create-storage-layer", "-i", "stray").code == 0
    assert cs("create-storage-layer", "-i", "stray").code == 1
    assert cs("gc").code == 0


def test_it_takes_all_flags_of_create_layer_but_the_name(cs: Door) -> None:
    made = cs("create-storage-layer", "-r", "--id", "stray", "-l", "label", "--uidmap", "0:1:5", "--gidmap", "0:1:5", "-j", "")
    assert (made.code, made.err) == (0, "")
    assert cs("create-storage-layer", "-n", "name").code == 125
    assert cs("gc").code == 0


@pytest.mark.root
@pytest.mark.parametrize("driver", ["vfs", "overlay"])
def test_a_read_only_one_of_a_split_store_lies_in_the_image_store(cs: Door, tmp_path: Path, driver: str) -> None:
    where = ["-g", str(tmp_path / "g"), "-R", str(tmp_path / "r"), "-s", driver, "--image-store", str(tmp_path / "im")]
    assert cs("create-storage-layer", "-r", "-i", "below", where=where).code == 0
    assert cs("create-storage-layer", "-i", "above", "below", where=where).code == 0
    places = {"vfs": "vfs/dir", "overlay": "overlay"}
    assert (tmp_path / "im" / places[driver] / "below").is_dir()
    assert (tmp_path / "g" / places[driver] / "above").is_dir()
    assert not (tmp_path / "g" / places[driver] / "below").exists()
    found = cs("check", where=where)
    assert all(f"layer {one}: layer in lower level storage driver not accounted for" in found.out for one in ("below", "above"))
    cs("check", "-r", where=where)
    assert cs("check", where=where).out == ""
    cs("shutdown", where=where)


def test_people_are_told_of_both_roots_of_a_split_store_and_scripts_of_the_root(cs: Door, ll: Door, tmp_path: Path) -> None:
    where = ["-g", str(tmp_path / "g"), "-R", str(tmp_path / "r"), "-s", "vfs", "--image-store", str(tmp_path / "im")]
    assert f"Image Store: {tmp_path / 'im'}\n" in ll("status", where=where).out
    said = cs("status", where=where).err.splitlines()
    assert [line.partition(":")[0] for line in said[:4]] == ["Root", "Run Root", "Driver Name", "Driver Options"]
