"""Power cuts, on the model of a disk in ``power.py``; and stores that are built wrong, which must be caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import ALL, LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
MOST, EVERY = (24, 1) if ALL else (12, 2) if LONG else (2, 5)
QUICK = ("set_big_data", "first big data of a new store")
UNSEEN = ("sandbox", "sandbox with commit", "sandbox with snapshot", "layer_for")
"""On overlay a program writes these through the kernel's mount, which the recorder does not see."""


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.SEQUENCES, *operations.BIRTH])
def test_no_power_cut_takes_what_was_acknowledged(bench: Bench, name: str) -> None:
    if bench.driver == "overlay" and (name in UNSEEN or not LONG):
        return  # the quick form cuts the power on vfs only, but for what test_decision_table does
    faults = list(bench.power_cuts(name, MOST, every=EVERY))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", ["create_layer", "import_layer"])
def test_control_a_store_without_fsync_is_caught(bench: Bench, name: str) -> None:
    assert any("shows no state" in fault for _, faults in bench.power_cuts(name, 4, forget="all") for fault in faults)


@pytest.mark.parametrize("name", ["import_layer", "set_big_data"])
def test_control_a_store_without_fsync_of_folders_is_caught(bench: Bench, name: str) -> None:
    assert any(bench.power_cuts(name, 6, forget="folders"))


def test_control_a_store_that_applies_in_place_is_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog import layers
    from tests.crash.controls import fill_in_place

    monkeypatch.setattr(layers, "fill_layer", fill_in_place)
    faults = [fault for _, found in bench.stops("apply_diff to a filled layer", partial=False, every=7) for fault in found]
    assert any("another tree" in fault or "digest" in fault or "Damaged" in fault for fault in faults)


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.BIRTH] if LONG else QUICK)
def test_a_flush_that_fails_and_drops_its_pages_takes_nothing_that_the_next_attempt_acknowledges(bench: Bench, name: str) -> None:
    if bench.driver == "overlay" and (name in UNSEEN or not LONG):
        return
    faults = list(bench.dropped(name, 2, every=1 if ALL else 3))
    assert not faults, told(faults)
