"""A btrfs to try on: the one that TMPDIR is on, else a fresh one in a sparse file on a loop device."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers.choose import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 3 << 30
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextmanager
def btrfs_folder(folder: Path) -> Iterator[Path]:
    """A folder on a btrfs, taken down at the end. Skips with the reason where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("needs root (mounts, owners, devices)")
    if not probe("btrfs", str(folder)):
        yield folder
        return
    if shutil.which("mkfs.btrfs", path=_PATH) is None:
        pytest.skip("kernel lacks a btrfs to try on, and mkfs.btrfs is not installed")
    image, point = folder / "image", folder / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    try:
        subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True, env={**os.environ, "PATH": _PATH}, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"kernel refuses a btrfs on a loop device: {done.stderr.strip()}")
        try:
            yield point
        finally:
            if subprocess.run(["umount", str(point)], capture_output=True).returncode:
                subprocess.run(["umount", "-l", str(point)], check=False)
    finally:
        image.unlink()
