"""Power cuts on a real file system: a block device records every write and flush. Stores built wrong are caught."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import ALL, LONG, told
from tests.crash.device import disks
from tests.crash.recorded import Recorded

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = [pytest.mark.crash, pytest.mark.root]
KINDS = list(disks.KINDS) if LONG else ["ext4"]
QUICK = ["import_layer", "delete_layer at once", "apply three times", "load, delete, load"]
NAMES = [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.SEQUENCES] if LONG else QUICK
MOST, EVERY = (6, 1) if ALL else (3, 6) if LONG else (2, 7)


@pytest.fixture(scope="module", params=KINDS)
def recorded(request: pytest.FixtureRequest, bench: Bench) -> Recorded:
    """The bench's store on a file system on a recorded disk."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("kernel lacks /dev/fuse")
    try:
        return Recorded(bench, request.param)
    except disks.NotHere as lacking:
        pytest.skip(str(lacking))


@pytest.mark.parametrize("name", NAMES)
def test_no_real_power_cut_takes_what_was_acknowledged(recorded: Recorded, name: str) -> None:
    faults = list(recorded.cuts(name, MOST, every=EVERY))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", NAMES if LONG else QUICK[2:3])
def test_a_neighbour_who_syncs_the_file_system_takes_nothing_either(recorded: Recorded, name: str) -> None:
    if recorded.kind != "ext4" and not ALL:
        return  # it is ext4 whose one journal takes along what others sync
    faults = list(recorded.cuts(name, MOST, every=EVERY, neighbour=True))
    assert not faults, told(faults)


def caught(recorded: Recorded, name: str, *signs: str, forget: str = "") -> bool:
    """Whether the judge says one of *signs* about some disk; the first is enough."""
    return any(sign in fault for _, found in recorded.cuts(name, 3, forget=forget) for fault in found for sign in signs)


def test_control_a_store_without_fsync_is_caught_by_the_device(recorded: Recorded) -> None:
    assert caught(recorded, "import_layer", "shows no state", forget="all")


def test_control_a_store_without_fsync_of_folders_is_caught_by_the_device(recorded: Recorded) -> None:
    assert caught(recorded, "set_big_data", "is missing", forget="folders")


def test_control_a_store_that_applies_in_place_is_caught_by_the_device(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog import layers
    from tests.crash.controls import fill_in_place

    monkeypatch.setattr(layers, "fill_layer", fill_in_place)
    assert caught(recorded, "apply_diff to a filled layer", "another tree", "digest", "Damaged")
