"""One driver of each kind that works here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers.choose import open_driver, probe
from layerlog.drivers.zfs import ZFS
from tests.drivers.zfs_stand_in import StandIn
from tests.file_systems import btrfs_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerlog.drivers.driver import Driver


@pytest.fixture(scope="session")
def on_btrfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a btrfs, one for the whole run."""
    with btrfs_folder(tmp_path_factory.mktemp("btrfs")) as folder:
        yield folder


@pytest.fixture(params=["vfs", "overlay", "btrfs", "zfs, on a stand-in"])
def driver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """An empty home; whatever a test left mounted is unmounted."""
    if request.param.startswith("zfs"):
        monkeypatch.setattr(ZFS, "_mounted_at", lambda self, path: os.path.isdir(path))
        zfs = ZFS(str(tmp_path / "root"), run=StandIn(str(tmp_path / "pool")))
        zfs.setup()
        yield zfs
        return
    root = tmp_path / "root"
    if request.param == "overlay":
        if os.geteuid() != 0:
            pytest.skip("needs root (mounts, owners, devices)")
        why = probe("overlay", str(tmp_path))
        if why:
            pytest.skip(f"the kernel refuses overlay: {why}")
    if request.param == "btrfs":
        folder: Path = request.getfixturevalue("on_btrfs")
        root = folder / f"root-{tmp_path.name}"
    made = open_driver(request.param, str(root), str(tmp_path / "run"))
    made.setup()
    yield made
    for layer_id in made.list():
        made.unmount(layer_id)
    if request.param == "btrfs":
        for layer_id in made.list():
            made.remove(layer_id)
