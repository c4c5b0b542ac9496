"""The table beside the original's: the same commands, the same power cuts, the same judge."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.crash import power_table
from tests.crash.cli_judge import FAULTS, compare
from tests.crash.conftest import LONG
from tests.crash.device import disks
from tests.crash.power_table import BROKEN, HEADER, Trial, line
from tests.crash.programs import Original, Ours

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.cli_judge import State
    from tests.crash.programs import Program

pytestmark = [pytest.mark.crash]
MOMENTS, MOST = (40, 4) if LONG else (5, 2)


def trial(program: Program, folder: Path) -> Trial:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("kernel lacks /dev/fuse")
    try:
        return Trial(program, "overlay", str(folder))
    except disks.NotHere as lacking:
        pytest.skip(str(lacking))


@pytest.mark.root
def test_no_disk_of_ours_has_a_fault_that_the_command_line_shows(tmp_path: Path) -> None:
    row = trial(Ours(), tmp_path).cut(MOMENTS, MOST)
    assert row.disks >= MOMENTS
    assert not any(row.counts.values()), row.told[:5]


@pytest.mark.root
def test_control_the_same_judge_finds_what_the_original_loses(tmp_path: Path) -> None:
    if not Original.is_here():
        pytest.skip("kernel has all it takes but containers-storage is not installed")
    row = trial(Original(), tmp_path).cut(MOMENTS, 1)
    assert row.broken, "the original has learned it; then the README's table is old"


def test_every_fault_of_the_table_is_told_apart() -> None:
    """The judge's comparison: lost, come back, half there, and the two states that are allowed."""
    first: State = {"layers a": {"names": ["x"]}}
    second: State = {"layers a": {"names": ["y"]}, "layers b": {}}

    def found(state: State) -> list[str]:
        faults: dict[str, list[str]] = {fault: [] for fault in FAULTS}
        compare(state, [first, second], {"a", "b", "gone"}, faults)
        return [fault for fault in FAULTS if faults[fault]]

    assert found(first) == found(second) == []
    assert found({}) == ["lost"]
    assert found({**first, "layers gone": {}}) == ["lost"]
    assert found({**first, "layers b": {}}) == ["half done"]
    assert found({**first, "layers 4711": {}}) == ["half done"]


def test_the_table_shows_each_row_and_each_fault() -> None:
    nothing: dict[str, list[str]] = {fault: [] for fault in FAULTS}
    ours, theirs = power_table.Row("layerlog", "vfs", False), power_table.Row("containers-storage", "vfs", True)
    theirs.add("here", {**nothing, "lost": ["a"], "leaked": ["b", "c"]})
    ours.add("here", {**nothing, "false alarm": ["b"]})
    shown = [*HEADER.splitlines(), line(ours), line(theirs)]
    assert all(fault in shown[0] for fault in (*FAULTS, *BROKEN))
    assert shown[2:] == [
        "| layerlog | vfs | no | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 1 |",
        "| containers-storage | vfs | yes | 1 | 1 | 1 | 0 | 0 | 0 | 1 | – |",
    ]
