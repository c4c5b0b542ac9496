"""One driver of each kind that works here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers.choose import open_driver, probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerlog.drivers.driver import Driver


@pytest.fixture(params=["vfs", "overlay"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """An empty home; whatever a test left mounted is unmounted."""
    if request.param == "overlay":
        if os.geteuid() != 0:
            pytest.skip("needs root (mounts, owners, devices)")
        why = probe("overlay", str(tmp_path))
        if why:
            pytest.skip(f"the kernel refuses overlay: {why}")
    made = open_driver(request.param, str(tmp_path / "root"), str(tmp_path / "run"))
    made.setup()
    yield made
    for layer_id in made.list():
        made.unmount(layer_id)
