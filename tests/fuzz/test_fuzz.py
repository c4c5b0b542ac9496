from __future__ import annotations

import os
import random
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from tests.fuzz import shapes
from tests.fuzz.harness import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = float(os.environ.get("LAYERLOG_FUZZ_SECONDS", "10"))


@pytest.fixture
def case() -> Iterator[Case]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        yield Case(place)


@pytest.mark.parametrize("overlay", [False, pytest.param(True, marks=pytest.mark.root)])
def test_hostile_archives_neither_escape_nor_crash_nor_lose_a_byte(case: Case, overlay: bool) -> None:
    """A time box of new cases each run; a failure names its seed, and ``python -m tests.fuzz.run --seed N`` repeats it."""
    seed = int(os.environ.get("LAYERLOG_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**60)
    end = time.monotonic() + SECONDS / 2
    while time.monotonic() < end:
        try:
            case.run(shapes.archive(random.Random(seed)), overlay)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        seed += 1
    assert case.accepted
    assert case.refused
