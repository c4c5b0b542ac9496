"""docs/parity.md tells the truth: each method is there, each test exists and misses the method when it is gone."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from layerlog import Store
from tools.parity import PAGE, ROOT, rows

SAMPLE = os.environ.get("LAYERLOG_PARITY", "6")
NEITHER = {"run_root", "root", "driver_name", "driver_options"}
"""Set when a store is opened: attributes of the object, not of the class."""


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row[0]))
def test_each_row_names_a_method_that_is_there_and_a_test_that_exists(row: tuple[str, str, str]) -> None:
    _, ours, node = row
    assert hasattr(Store, ours) or ours in NEITHER
    path, _, name = node.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {found.name for found in tree.body if isinstance(found, ast.FunctionDef)}


def test_no_method_of_the_original_is_told_twice_and_no_row_is_misread() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = [row[0] for row in rows()]
    assert len(named) == len(set(named))
    lines = [line for line in text.partition("## What has no")[0].splitlines() if re.match(r"\| [A-Z]\w+ \|", line)]
    assert len(lines) == len(named)
    absent = re.findall(
        r"[A-Z]\w+", "".join(line.split("|")[1] for line in text.partition("## What has no")[2].splitlines() if line.startswith("|"))
    )
    assert not set(absent) & set(named)
    assert len(named) + len(set(absent)) == 89  # what `type Store interface` of store.go declares


def test_each_test_fails_without_its_method() -> None:
    """A sample in every run; ``LAYERLOG_PARITY=all`` takes every row."""
    words = [] if SAMPLE == "all" else [SAMPLE]
    ended = subprocess.run([sys.executable, "-m", "tools.parity", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert Path(PAGE).exists()
