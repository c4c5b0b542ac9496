"""Does each test that docs/parity.md names fail when the method of its row does nothing?

    python -m tools.parity            all rows
    python -m tools.parity 10 SEED    a sample of ten

A row passes when its test passes as it is and fails with the method replaced by one that does nothing.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from layerlog import Store

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/parity.md"
TESTS = "tests/layerlog/test_drop_in.py"
_ROW = re.compile(r"^\| (\w+) \| `(\w+)`[^|]* \| `(?:([\w/.]+)::)?(\w+)` \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    """(the original's name, ours, node ID of the test) of each row."""
    return [(original, ours, f"{file or TESTS}::{test}") for original, ours, file, test in _ROW.findall(PAGE.read_text(encoding="utf-8"))]


class Stub:
    """A pytest plugin: while a test runs (its fixtures, too, once the store is open), *name* does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.passed: bool | None = None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_pyfunc_call(self) -> Any:
        """Only the test's own body meets the stub, and its failure is expected."""
        owner = next((one for one in Store.__mro__ if self.name in vars(one)), None)
        with contextlib.ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            if owner is None:  # set by __init__: nothing that a class could lend
                patch.setattr(Store, self.name, property(lambda _: None, lambda _, value: None), raising=False)
            elif isinstance(vars(owner)[self.name], property):
                patch.setattr(owner, self.name, property(lambda _: None))
            elif hasattr(vars(owner)[self.name], "__wrapped__"):
                patch.setattr(owner, self.name, lambda *_, **__: contextlib.nullcontext())
            else:
                patch.setattr(owner, self.name, lambda *_, **__: None)
            yield

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember how the body ended."""
        if report.when == "call":
            self.passed = report.passed


def survives(node: str, name: str) -> bool:
    """Whether the test passes without the method."""
    stub = Stub(name)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main([node, "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"], plugins=[stub])
    if stub.passed is None:
        raise SystemExit(f"{node} did not run")
    return stub.passed


def main(words: list[str]) -> int:
    """Print what survives; status 1 if anything does."""
    chosen = rows()
    if words:
        chosen = random.Random(int(words[1]) if len(words) > 1 else None).sample(chosen, int(words[0]))
    survivors = [(original, ours, node) for original, ours, node in chosen if survives(f"{ROOT}/{node}", ours)]
    for original, ours, node in survivors:
        print(f"{original}: {node} passes without Store.{ours}")
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} methods are missed when they are gone")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
