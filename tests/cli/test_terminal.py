"""A terminal does what it is sent: nothing that somebody put into a name, a reason or a key may get there as a control character."""

from __future__ import annotations

import ast
import io
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.cli.main import main
from layerlog.cli.run import visible
from tests.cli import conftest

if TYPE_CHECKING:
    from tests.cli.conftest import Door

EVIL = "evil\x1b[31mRED\x1b]0;title\x07\r\x9b2J\udc9b3J\t\u202e"
LINES = EVIL + "\n   9  11:59  root  rm everything"
"""Where line breaks are allowed, too: they could begin a line that looks like the program's own."""
BY = ["--actor", LINES, "--reason", LINES]
VIEWS = """ls|ls --no-trunc|ls --format {{.Names}}|ls --format json|ps|images|containers|layers|layers --tree|tree
tree --at 4|log --all --stat|log --all --draw|log img|show 7|why-gone box|blame two|who|who --per day|trash
diff-state 2 now|diff-state --tree 2 now|df|df --since 1|inspect img|inspect --format {{.Names}} img|image img
layer base|get-names img|metadata img|list-image-data img|check|undo --last 3 --plan|prune --all --plan
redact 4 --plan|restore box|delete-image img|exists img|compat images|compat layers|compat get-names img|mounts"""


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def full(ll: Door) -> Door:
    """A store in which every word that is free is hostile."""
    ll("create-layer", "-i", "base", "-n", EVIL)
    ll("create-image", "-i", "img", "-n", EVIL, "-m", LINES, "base")
    ll("create-container", "-i", "box", "-n", EVIL, EVIL, *BY)
    ll("set-image-data", "img", LINES, *BY, stdin=b"x")
    ll("tag", "img", "two" + EVIL, *BY)
    ll("pin", "--word", LINES, "base", *BY)
    ll("unpin", "--word", LINES, "base")
    ll("delete-container", "box", *BY)
    return ll


@pytest.mark.parametrize("line", [line for lines in VIEWS.splitlines() for line in lines.split("|")])
def test_nothing_that_a_name_says_drives_a_terminal(full: Door, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(conftest, "_stream", lambda: _Terminal(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "300")
    shown = _compat(full, line) if line.startswith("compat") else full(*line.split())
    assert shown.out or shown.err
    _harmless(shown.out + shown.err)
    if line.split()[0] in ("log", "undo", "who", "df", "why-gone", "blame", "prune"):
        assert not any(text.lstrip().startswith("9  11:59") for text in shown.out.splitlines())


def _compat(full: Door, line: str) -> conftest.Result:
    return full("compat", *full.where, *line.split()[1:], where=[])  # type: ignore[attr-defined]


def _harmless(text: str) -> None:
    """Only colours of rich's own, which come before and after the words."""
    left = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b[31mRED" not in text
    assert not [letter for letter in left if not letter.isprintable() and letter not in "\n\t" and not "\udca0" <= letter <= "\udcff"], left


@pytest.mark.parametrize("line", ["log --all --stat", "tree", "ls", "trash", "diff-state 2 now", "undo --last 3 --plan", "df --since 1"])
def test_views_are_as_harmless_through_a_pipe_that_may_end_in_a_terminal(full: Door, line: str) -> None:
    _harmless(full(*line.split()).out)


@pytest.mark.parametrize("words", ["--help", "layers --help", "exists base", "tree", "layers -j", "create-layer"])
@pytest.mark.parametrize("door", ["layerlog", "containers-storage"])
def test_a_stdout_that_takes_nothing_is_one_line_and_status_1(
    door: str, words: str, where: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with suppress(OSError), open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([door, *(words.split() if words == "--help" else [*where, *words.split()])]) == 1
    monkeypatch.undo()
    told = capfd.readouterr().err
    assert "no space left on device" in told
    assert told.count("\n") == 1


def test_scripts_get_names_as_they_are(full: Door) -> None:
    assert full("get-names", "base").out == EVIL + "\n"
    assert full("compat", *full.where, "get-names", "base", where=[]).out == EVIL + "\n"  # type: ignore[attr-defined]
    assert full("ls", "--format", "{{.ID}}").out == "img\n"


def test_every_view_makes_its_text_of_visible_characters() -> None:
    for path in Path(sys.modules["layerlog.cli.views"].__file__ or "").parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and path.name != "text.py":
                assert node.module != "rich.text", path.name


def test_what_was_made_visible_stays_as_it_is() -> None:
    once = visible(LINES)
    assert visible(once) == once
    assert once.isprintable()
