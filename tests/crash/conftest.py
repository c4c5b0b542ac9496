"""A bench for each driver, on memory where there is enough; ``LAYERLOG_CRASH=long`` for the long form."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.laboratory import SEED, Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL = os.environ.get("LAYERLOG_CRASH") == "all"
"""Every place and every disk: days."""
LONG = ALL or os.environ.get("LAYERLOG_CRASH") == "long"
"""Every kill, and of what there is too much of a sample by seed."""
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
    """How many states of which kind a test judged goes into its report, for the table at the end."""
    found = [request.getfixturevalue(name) for name in ("bench", "recorded") if name in request.fixturenames]
    bench: Any = next((getattr(one, "bench", one) for one in found), None)
    before = dict(bench.kinds) if bench is not None else {}
    yield
    for kind, states in bench.kinds.items() if bench is not None and not request.node.name.startswith("test_control") else ():
        if states > before.get(kind, 0):
            record_property("states", (kind, bench.driver, states - before.get(kind, 0)))


def pytest_report_header() -> list[str]:
    """What repeats a failure."""
    return [f"crash laboratory: LAYERLOG_CRASH={os.environ.get('LAYERLOG_CRASH', '')} LAYERLOG_CRASH_SEED={SEED}"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The numbers of CRASH.md: states judged, by kind and driver; those of controls, which must fail, left out."""
    reports = [report for found in terminalreporter.stats.values() for report in found if getattr(report, "when", "") == "teardown"]
    counts: dict[str, dict[str, int]] = {}
    for kind, driver, states in (value for report in reports for name, value in report.user_properties if name == "states"):
        row = counts.setdefault(kind, {})
        row[driver] = row.get(driver, 0) + states
    drivers = sorted({driver for row in counts.values() for driver in row})
    if drivers:
        terminalreporter.write_line(f"states judged (seed {SEED})")
        terminalreporter.write_line(f"| what happened | {' | '.join(drivers)} |")
        terminalreporter.write_line(f"| --- |{' ---: |' * len(drivers)}")
    for kind, row in sorted(counts.items()):
        terminalreporter.write_line(f"| {kind} | {' | '.join(str(row.get(driver, '')) for driver in drivers)} |")


def told(faults: list[tuple[str, list[str]]]) -> str:
    """The first few places at which something was wrong, and how many there are."""
    lines = [f"{where}: {'; '.join(found)[:600]}" for where, found in faults[:6]]
    return "\n".join([f"{len(faults)} places", *lines])
