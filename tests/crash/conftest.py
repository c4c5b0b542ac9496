"""A bench for each driver, on memory where there is enough; ``LAYERLOG_CRASH=long`` for the long form."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.laboratory import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = os.environ.get("LAYERLOG_CRASH") == "long"
MEMORY = "/dev/shm"


def in_memory(name: str) -> str:
    """A folder of this process on memory, not made yet; empty where there is not enough."""
    enough = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 256 << 20
    return os.path.join(MEMORY, f"layerlog-crash-{os.getpid()}-{name}") if enough else ""


@pytest.fixture(scope="module", params=["vfs", pytest.param("overlay", marks=pytest.mark.root)])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One prepared store of a driver."""
    folder = in_memory(request.param) or str(tmp_path_factory.mktemp("bench"))
    made = Bench(folder, request.param)
    yield made
    made.clear()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def states_of_this_test(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[None]:
    """How many states a test judged goes into its report, for the table at the end."""
    bench = request.getfixturevalue("bench") if "bench" in request.fixturenames else None
    before = bench.states if isinstance(bench, Bench) else 0
    yield
    if isinstance(bench, Bench):
        record_property("states", (request.module.__name__.rpartition(".")[2], bench.driver, bench.states - before))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The numbers of CRASH.md: states judged, by file and driver."""
    counts: dict[tuple[str, str], int] = {}
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for name, (module, driver, states) in (one for one in report.user_properties if one[0] == "states"):
            assert name == "states"
            counts[module, driver] = counts.get((module, driver), 0) + states
    for (module, driver), states in sorted(counts.items()):
        terminalreporter.write_line(f"{module} on {driver}: {states} states judged")


def told(faults: list[tuple[str, list[str]]]) -> str:
    """The first few places at which something was wrong, and how many there are."""
    lines = [f"{where}: {'; '.join(found)[:600]}" for where, found in faults[:6]]
    return "\n".join([f"{len(faults)} places", *lines])
