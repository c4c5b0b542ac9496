"""`make demo` from end to end, as this user: the first thing a newcomer runs must never fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command of this checkout, as an installed one would be."""
    file = tmp_path / "layerlog"
    file.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m layerlog.cli.main "$@"\n')
    file.chmod(0o755)
    return file


def demo(command: Path, store: Path) -> str:
    words = [sys.executable, "-m", "examples.demo", "--layerlog", str(command), "--store", str(store)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_holds_and_can_be_run_again(command: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for _ in range(2):
        shown = demo(command, store)
        assert "200/200 opened, 0 acknowledged changes lost before the cut" in shown
        assert "killed after" in shown
    for line in re.findall(r"^  (\S+/bin/layerlog .*)$", shown, re.MULTILINE):
        done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"the demo ends with a command that fails: {line}: {done.stderr}"


def test_a_folder_that_is_not_the_demos_is_left_alone(command: Path, tmp_path: Path) -> None:
    precious = tmp_path / "store" / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    words = [sys.executable, "-m", "examples.demo", "--layerlog", str(command), "--store", str(precious.parent)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no earlier demo made it" in done.stderr
    assert precious.read_text() == "mine"
