"""What is deleted waits until it is too old, too much, or the disk is nearly full; then the oldest goes first."""

from __future__ import annotations

from typing import Any

import pytest

from layerlog.decide.retaining import FREE_SHARE, TRASH_SHARE, expired

SECOND = 10**9
NOW = 1_000_000 * SECOND
DISK = 1_000


def thrown(age_seconds: int, size: int) -> dict[str, Any]:
    return {"time_ns": NOW - age_seconds * SECOND, "row": {"contents": {"diff_size": size}} if size else {}}


ROWS = [thrown(100, 40), thrown(50, 30), thrown(20, 0), thrown(10, 25)]


@pytest.mark.parametrize(
    ("retention", "capacity", "free", "gone"),
    [
        (1000, DISK, DISK, 0),  # 95 of the 100 that trash may take
        (60, DISK, DISK, 1),
        (0, DISK, DISK, 4),
        (1000, 900, 900, 1),  # 90 may be taken
        (1000, 540, 540, 2),  # 54 may: without the first it is 55
        (1000, 10, 10, 4),
        (1000, DISK, 20, 0),  # just enough is free
        (1000, DISK, 19, 1),
        (1000, 3_000, 0, 2),  # 60 are missing, the first two give 70
        (60, 3_000, 30, 1),  # what is too old gives enough
        (1000, DISK * 100, 0, 4),
    ],
)
def test_the_oldest_goes_first_and_no_more_than_needed(retention: int, capacity: int, free: int, gone: int) -> None:
    assert (TRASH_SHARE, FREE_SHARE) == (0.10, 0.02)
    assert expired(ROWS, NOW, retention, capacity, free) == ROWS[:gone]
