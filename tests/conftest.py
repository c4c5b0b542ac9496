"""What every test may count on: a clean environment, the command as a subprocess, and skips that nobody overlooks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parent.parent

# In CI a test may be skipped for these reasons only; any other skip fails the run, because a test that silently stopped
# running looks exactly like one that passes. Patterns are searched for in the reason.
ALLOWED_SKIPS = {
    r"ordinary user": "CI is root; `make test` by an ordinary user runs these",
    r"vagrant is not installed": "half a hundred packages for one file; checked where it is there",
    r"no real images here": "their maker is not part of this repository",
    r"atheris is not installed": "no package for this Python; the other fuzzers ran",
    r"zfs": "no kernel module in Debian's own kernels",
    r"kernel (has|refuses|lacks)": "what a kernel cannot do is said by name",
}

_skipped: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``root`` for everybody else."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root (mounts, owners, devices)"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each skip with its reason; under xdist this runs where the reports arrive."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let CI fail on a skip that ALLOWED_SKIPS does not explain."""
    if os.environ.get("CI") != "true" or hasattr(session.config, "workerinput"):
        return
    surprising = {n: reason for n, reason in _skipped.items() if not any(re.search(p, reason) for p in ALLOWED_SKIPS)}
    if surprising and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for name, reason in surprising.items():
            print(f"\nskipped in CI for a reason that tests/conftest.py does not list: {name}: {reason}")


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine, and no terminal, reaches a test."""
    for name in list(os.environ):
        if name.startswith(("STORAGE_", "CONTAINERS_", "_CONTAINERS_")) or name in {"XDG_CONFIG_HOME", "XDG_DATA_HOME"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder with the real images of tools/make_test_images: ``real_images / "tiny" / "oci"``, ``... / "truth"``."""
    folder = Path(os.environ.get("LAYERLOG_TEST_IMAGES", "/var/tmp/layerlog-images"))
    if not (folder / "manifest.json").is_file():
        pytest.skip("no real images here: tools/make_test_images makes them, LAYERLOG_TEST_IMAGES names them")
    return folder


class Layerlog(Protocol):
    """``layerlog("images", "--json")``: the finished process, output as text."""

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def layerlog(tmp_path: Path) -> Layerlog:
    """The command of this checkout on a vfs store of its own, as another process."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        where = ["--graph", str(tmp_path / "graph"), "--run", str(tmp_path / "run"), "--storage-driver", "vfs"]
        return subprocess.run(
            [sys.executable, "-m", "layerlog.cli.main", *where, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            capture_output=True,
            text=True,
        )

    return run
