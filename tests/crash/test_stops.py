"""SIGKILL at every call that changes files, and in the middle of every write, for every public operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import ALL, LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
EVERY = 1 if LONG else 13


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.BIRTH])
def test_a_killed_operation_is_wholly_there_or_wholly_absent(bench: Bench, name: str) -> None:
    faults = list(bench.stops(name, partial=LONG, every=EVERY))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", ["apply_diff to a mounted layer", "mount and unmount", "sandbox", "delete_container", "wipe", "shutdown"])
def test_a_boot_after_the_kill_finds_it_so_too(bench: Bench, name: str) -> None:
    if bench.driver == "vfs" and not LONG:
        return
    faults = list(bench.stops(name, partial=False, every=1 if LONG else 7, boot=True))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", ["create_layer", "set_big_data"])
def test_a_write_that_was_cut_short_counts_for_nothing(bench: Bench, name: str) -> None:
    faults = list(bench.stops(name, partial=True))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", operations.SEQUENCES)
def test_what_was_acknowledged_before_the_kill_is_there(bench: Bench, name: str) -> None:
    faults = list(bench.stops(name, partial=False, every=1 if LONG else 29))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", ["apply_diff to a filled layer", "delete_layer at once", "import_layer", "wipe at once", "sandbox"])
def test_a_recovery_that_is_killed_is_finished_by_the_next(bench: Bench, name: str) -> None:
    faults = list(bench.stops_of_recovery(name, every=1 if ALL else 4 if LONG else 16))
    assert not faults, told(faults)
