"""SIGKILL, then another process, then the power cut: what that one acknowledges stands on nothing that the first left unflushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import handed_on, operations
from tests.crash.conftest import ALL, LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
QUICK = {"first layer of a new store": 17, "apply_diff to a filled layer": 23, "load": 67}
"""Of an operation that changes many files every so many calls."""
BOXES = frozenset(("sandbox", "sandbox with commit", "sandbox with snapshot", "layer_for"))
"""The next process deletes the box with a commit of its own, so that later states have other numbers."""
NAMES = [name for name in (*operations.OPERATIONS, *operations.EPHEMERAL, *operations.SEQUENCES, *operations.BIRTH) if name not in BOXES]


@pytest.mark.parametrize("name", NAMES if LONG else QUICK)
def test_what_the_next_process_acknowledges_outlives_a_power_cut(bench: Bench, name: str) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    every, share = (1, 1) if ALL else (4, 24) if LONG else (QUICK[name], 6)
    faults = list(handed_on.cuts(bench, name, 3, every, share))
    assert not faults, told(faults)


def test_control_a_store_that_trusts_the_folders_it_finds_is_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    from layerlog import recovery

    monkeypatch.setattr(recovery, "sync_names", lambda driver, folder: None)
    found = handed_on.cuts(bench, "first layer of a new store", 2, every=4, share=3)
    assert any("folder is missing" in fault or "is missing from the store" in fault for _, faults in found for fault in faults)
