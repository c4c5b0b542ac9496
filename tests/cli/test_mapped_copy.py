"""``copy`` into and out of layers with ID maps: owners inside stay what they are, ``--chown`` names owners inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Door

pytestmark = pytest.mark.root
MAPS = ("--uidmap", "0:100000:101", "--gidmap", "0:200000:101")


@pytest.mark.parametrize(("chown", "inside"), [((), (3, 4)), (("--chown", "100:99"), (100, 99)), (("-o", "7"), (7, 7))])
def test_a_copy_into_a_mapped_layer_belongs_to_who_stands_for_its_owner(
    cs: Door, tmp_path: Path, chown: tuple[str, ...], inside: tuple[int, int]
) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("x")
    os.chown(tmp_path / "tree" / "below" / "file", 3, 4)
    os.chown(tmp_path / "tree" / "below", 3, 4)
    cs("create-layer", "-i", "L", *MAPS)
    assert cs("copy", *chown, str(tmp_path / "tree"), "L:/tree").code == 0
    root = cs("mount", "L").out.strip()
    for name in ("tree/below", "tree/below/file"):
        found = os.stat(os.path.join(root, name))
        assert (found.st_uid, found.st_gid) == (100000 + inside[0], 200000 + inside[1])
    assert cs("copy", "L:/tree/below/file", str(tmp_path / "out")).code == 0
    assert (os.stat(tmp_path / "out").st_uid, os.stat(tmp_path / "out").st_gid) == inside
