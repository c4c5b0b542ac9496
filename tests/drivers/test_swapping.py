"""Somebody else swaps folders of the layer for symlinks while an archive is unpacked into it: nothing may get out."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers import applying, resolve
from layerlog.drivers.extract import Extractor
from layerlog.eventstore.errors import InvalidArchive
from tests.drivers import tars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 40
# Renames d away, puts a symlink to the folder outside in its place, and back, as fast as it can; who unpacks may spoil any step.
SWAPPER = """
import os, sys
root, outside = sys.argv[1:]
os.chdir(root)
print("ready", flush=True)
parent, count = os.getppid(), 0

def tried(call, *words):
    try:
        call(*words)
        return True
    except OSError:
        return False

while os.getppid() == parent:
    count += 1
    away = "away%d" % count
    if tried(os.rename, "d", away):
        tried(os.symlink, outside, "d")
        tried(os.unlink, "d")
        tried(os.rename, away, "d") or tried(os.rename, away, "left%d" % (count % 9))
    else:
        tried(os.unlink, "d") or tried(os.mkdir, "d")
"""


@pytest.fixture
def swapped(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A layer whose folder ``d`` is being swapped for a symlink to the other folder and back, without end."""
    root, outside = tmp_path / "layer", tmp_path / "outside"
    for folder in (root, root / "d", outside, outside / "in"):
        folder.mkdir()
    (outside / "precious").write_text("precious")
    (outside / "in/deep").write_text("deep")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, str(root), str(outside)], stdout=subprocess.PIPE)
    assert swapper.stdout is not None
    swapper.stdout.readline()
    yield root, outside
    swapper.kill()
    swapper.wait()
    swapper.stdout.close()


def test_a_writer_that_goes_by_paths_does_get_out(swapped: tuple[Path, Path]) -> None:
    """The control: without care the swapping leads out, so the test below can fail."""
    root, outside = swapped
    for _ in range(200_000):
        try:
            (root / "d/new").touch()
        except OSError:
            continue
        if (outside / "new").exists():
            return
    pytest.fail("the swapper is too slow to show anything")


@pytest.mark.parametrize("way", ["openat2", "by component"])
@pytest.mark.parametrize("fresh", [True, False])
def test_nothing_gets_out_while_folders_are_swapped_for_symlinks(
    swapped: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, way: str, fresh: bool
) -> None:
    root, outside = swapped
    if way == "by component":
        monkeypatch.setattr(resolve.Folders, "_resolve", resolve.Folders._walk)
    before = listed(outside)
    for _ in range(ROUNDS):
        members = [
            *(tars.file(b"d/%d" % n, b"mine") for n in range(12)),
            tars.folder(b"d", 0o700),
            tars.file(b"d/precious", b"mine"),
            tars.whiteout(b"d/precious"),
            tars.opaque(b"d/in"),
            tars.whiteout(b"d/in"),
            tars.hard_link(b"h", b"d/1"),
            tars.file(b"h", b"mine"),
            tars.file(b"d/in/deep", b"mine"),
            tars.whiteout(b"d"),
        ]
        extractor = Extractor(str(root), fresh)
        try:
            with suppress(InvalidArchive, OSError):  # whoever has folders swapped under it may be told so
                applying.apply(tars.stream(*members), extractor)
        finally:
            extractor.close()
        assert listed(outside) == before


def listed(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, owner and content of all that is outside."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            seen = os.lstat(path)
            content = b""
            if name in files:
                with open(path, "rb") as file:
                    content = file.read()
            found[path] = (seen.st_mode, seen.st_uid, content)
    return found
