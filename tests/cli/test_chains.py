"""Long chains and big stores at the command line: 301 layers on each other, and look-ups that do not grow with the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.checkpoints import UNIT
from tests.cli.conftest import FrontDoor

if TYPE_CHECKING:
    from tests.cli.conftest import Door

DEPTH = 301


@pytest.mark.root
@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_chain_of_301_layers_is_made_mounted_compared_and_deleted(tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ["-g", str(tmp_path / "graph"), "-R", str(tmp_path / "run"), "-s", driver]
    cs = FrontDoor(["containers-storage"], where, monkeypatch)
    for number in range(DEPTH):
        cs("create-layer", "-i", f"L{number}", *([f"L{number - 1}"] if number else []))
        if number % 100 == 0:
            Path(cs("mount", f"L{number}").out.strip(), f"f{number}").write_bytes(b"x")
            cs("unmount", f"L{number}")
    top = f"L{DEPTH - 1}"
    cs("create-image", "-i", "img", top)
    cs("create-container", "-i", "box", "img")
    root = Path(cs("mount", "box").out.strip())
    assert sorted(path.name for path in root.iterdir()) == ["f0", "f100", "f200", "f300"]
    (root / "new").write_bytes(b"n")
    cs("unmount", "box")
    assert cs("changes", cs("container", "box").out.split("Layer: ")[1].split()[0]).out == 'Add "/new"\n'
    assert cs("changes", top).out == 'Add "/f300"\n'
    assert cs("diff", "-u", top).raw.startswith(b"f300\0")
    assert cs("delete-container", "box").code == 0
    assert cs("delete-image", "img").err.count("\n") == DEPTH
    assert cs("layers").out == ""
    cs("shutdown", "-f")


def calls(door: Door, *words: str) -> int:
    """How many Python functions one command line calls."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    door(*words)  # what is imported once is imported now
    sys.setprofile(count)
    try:
        door(*words)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("words", [["exists", "L5"], ["create-layer"]], ids=["exists", "create-layer"])
def test_a_command_costs_the_same_in_a_small_and_in_a_bigger_store(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number in (10, 10 + 3 * UNIT):  # the same tail behind the last checkpoint
        where = ["-g", str(tmp_path / f"{number}"), "-R", str(tmp_path / "run" / str(number)), "-s", "vfs"]
        with Store(where[1], where[3], "vfs") as store:
            for place in range(number):
                store.create_layer(id=f"L{place}")
        found.append(calls(FrontDoor(["layerlog"], where, monkeypatch), *words))
    assert found[1] < found[0] * 1.5 + 200, found
