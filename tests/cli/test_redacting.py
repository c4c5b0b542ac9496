"""``redact`` at the friendly door."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Door


@pytest.fixture
def written(ll: Door) -> Door:
    """Commits 2 to 4: a password in a name and in metadata, and something else."""
    ll("create-layer", "-i", "aaa", "-n", "hunter2")
    ll("set-metadata", "--metadata", "password hunter2", "aaa")
    ll("create-layer", "-i", "bbb", "-n", "fine")
    return ll


def test_it_says_what_goes_and_what_stays_and_the_plan_changes_nothing(written: Door) -> None:
    before = written("log").out
    plan = written("redact", "2", "3", "--plan")
    assert plan.code == 0
    assert plan.out.startswith("Redacting 2 commits:")
    assert "+ layer aaa hunter2" in plan.out
    assert "Gone for ever:" in plan.out
    assert "What stays:" in plan.out
    assert written("log").out == before
    assert json.loads(written("redact", "3", "--plan", "--json").out) == {"commits": [3], "redacted": [], "sequence": 0}


def test_the_words_are_gone_and_a_commit_says_who_took_them(written: Door, where: list[str]) -> None:
    done = written("redact", "2", "3")
    assert done.out.endswith("2 commits redacted; commit 5 says so, and by whom\n")
    shown = written("log").out
    assert "hunter2" not in shown
    assert "the words of 2 earlier commits taken out" in shown
    assert written("get-names", "aaa").out == "r2-1\n"
    graph = where[where.index("--graph") + 1]
    found = [os.path.join(folder, name) for folder, _, names in os.walk(graph) for name in names]
    assert not [path for path in found if b"hunter2" in Path(path).read_bytes()]
    assert written("verify").code == 0
    assert written("redact", "2").out == "nothing to redact: their words are gone already\n"
    assert json.loads(written("redact", "4", "--json").out) == {"commits": [4], "redacted": [4], "sequence": 6}


def test_nothing_brings_them_back(written: Door) -> None:
    written("redact", "2")
    shown = written("undo", "--last", "1")
    assert shown.code == 1
    assert "no way back" in shown.out


@pytest.mark.parametrize(
    "words", [["redact"], ["redact", "1"], ["redact", "99"], ["redact", "1h"], ["redact", "-1"], ["redact", "2", "99"]]
)
def test_what_is_no_commit_redacts_nothing(written: Door, words: list[str]) -> None:
    before = written("log").out
    shown = written(*words)
    assert shown.code != 0
    assert shown.err.startswith("layerlog: ")
    assert "Traceback" not in shown.err
    assert written("log").out == before
