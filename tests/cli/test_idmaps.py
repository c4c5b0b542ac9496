"""ID maps side by side with Debian's containers-storage: every map flag, on vfs (copies) and overlay (idmapped mounts)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_differential import TAR, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("containers-storage") is None, reason="containers-storage is not installed to compare with"),
    pytest.mark.root,
]

MAPS = "--uidmap 0:100000:1000 --gidmap 0:200000:1000"
SCRIPT = f"""
import-layer -i base < TAR
create-image -i im -n img base
create-container -i c1 {MAPS} img
container -j c1
layers -j
image -j im
image im
create-container -i c2 {MAPS} img
create-container -i c3 --uidmap 0:5:10 --gidmap 0:5:10 img
create-container -i c4 --hostuidmap --hostgidmap img
create-container -i c5 img
layers
images -j
containers -j
create-layer -i k1 --uidmap 0:300000:1000 --gidmap 0:300000:1000 base
layer k1
layer -j k1
create-layer -i k2 k1
layer -j k2
changes k1
changes k2
diffsize k1
create-layer -i k3 --hostuidmap --hostgidmap k1
layer -j k3
import-layer -i k4 --uidmap 0:400000:1000 --gidmap 0:400000:1000 < TAR
layer -j k4
diff -u k4
create-container --hostuidmap --uidmap 0:1:1 img
create-container --uidmap 0:1000 img
create-container --subuidmap nobody-has-this-name img
create-layer --gidmap x:y:z
container-parent-owners c5
layer-parent-owners base
delete-container c1
delete-container c2
delete-container c3
layers -j
images -j
"""


@pytest.fixture(params=["vfs", "overlay"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    for side in ("theirs", "ours"):
        (tmp_path / side).mkdir()
    yield Pair(tmp_path, request.param, monkeypatch)
    if request.param == "overlay":
        from layerlog.drivers import syscalls

        syscalls.umount(bytes(tmp_path / "theirs/graph/overlay"), syscalls.MNT_DETACH)


def test_every_map_flag_gives_the_same_records_and_messages(pair: Pair) -> None:
    for line in SCRIPT.strip().splitlines():
        words, _, source = line.partition(" < ")
        pair.same(*words.split(), stdin=TAR if source else b"")
