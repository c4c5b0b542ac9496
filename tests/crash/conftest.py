"""A bench for each driver, on memory where there is enough; ``LAYERLOG_CRASH=long`` for the long form."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.crash.laboratory import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = os.environ.get("LAYERLOG_CRASH") == "long"
MEMORY = "/dev/shm"


@pytest.fixture(scope="module", params=["vfs", pytest.param("overlay", marks=pytest.mark.root)])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One prepared store of a driver; the number of states that were judged on it is printed at the end."""
    folder = str(tmp_path_factory.mktemp("bench"))
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 256 << 20:
        folder = os.path.join(MEMORY, f"layerlog-crash-{os.getpid()}-{request.param}")
    made = Bench(folder, request.param)
    yield made
    print(f"\n{request.module.__name__.rpartition('.')[2]}, {request.param}: {made.states} states judged, rows {sorted(made.reached)}")
    made.clear()
    shutil.rmtree(folder, ignore_errors=True)


def told(faults: list[tuple[str, list[str]]]) -> str:
    """The first few places at which something was wrong, and how many there are."""
    lines = [f"{where}: {'; '.join(found)[:600]}" for where, found in faults[:6]]
    return "\n".join([f"{len(faults)} places", *lines])
