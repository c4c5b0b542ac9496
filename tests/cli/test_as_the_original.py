"""What side-by-side runs with odd words brought up: small things that scripts of containers-storage rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Door

ROOT = Path(__file__).resolve().parents[2]


def test_an_image_that_loses_a_name_to_another_has_no_new_history(cs: Door) -> None:
    """Its names-history holds what its own updates set."""
    cs("create-image", "-i", "loser", "-n", "kept", "-n", "taken", "")
    cs("create-image", "-i", "winner", "")
    assert cs("add-names", "-n", "taken", "winner").code == 0
    loser, winner = json.loads(cs("images", "-j").out)
    assert (loser["names"], loser.get("names-history")) == (["kept"], None)
    assert (winner["names"], winner["names-history"]) == (["taken"], ["taken"])
    cs("remove-names", "-n", "taken", "winner")
    cs("set-names", "-n", "kept", "-n", "more", "loser")
    assert json.loads(cs("image", "-j", "loser").out)[0]["names-history"] == ["more", "kept"]


@pytest.mark.parametrize(
    "words", ["get-image-data i k", "set-image-data i k", "get-image-data-size i k", "get-image-data-digest i k", "get-image-dir i"]
)
def test_words_after_the_last_one_needed_are_passed_over_where_the_original_does(cs: Door, ll: Door, words: str) -> None:
    cs("create-image", "-i", "i", "")
    cs("set-image-data", "i", "k", stdin=b"bytes")
    plain = cs(*words.split(), stdin=b"bytes")
    assert plain.code == 0
    assert (cs(*words.split(), "more", "-j", stdin=b"bytes").out, cs(*words.split(), "x").code) == (plain.out, 0)
    assert ll(*words.split(), "more").code != 0, "people are told"


def test_what_is_to_be_deleted_twice_is_not_there_the_second_time(cs: Door, ll: Door) -> None:
    for name in ("a", "b"):
        cs("create-layer", "-i", name)
    twice = cs("delete-layer", "a", "a")
    assert (twice.code, twice.err) == (1, "a: identifier is not a layer\n")
    assert ll("delete-layer", "b", "b").code == 0, "people mean it once"
    cs("create-image", "-i", "im", "")
    assert json.loads(cs("delete-image", "-j", "im", "im").out) == {"im": {"error": "identifier is not an image"}}


def test_bytes_that_are_no_utf_8_come_back_on_pythons_own_stderr(where: list[str]) -> None:
    """Which would write them as ``\\udcff``."""
    start = "import sys; from layerlog.cli.main import main; sys.exit(main(['containers-storage', *sys.argv[1:]]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *[one for one in sys.path if one.endswith("site-packages")]])}
    words = [sys.executable, "-c", start, *where, "delete", os.fsdecode(b"\xff")]
    ended = subprocess.run(words, capture_output=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (1, b"\xff: layer not known\n")


def run_with_closed(where: list[str], closed: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """The compat door in a process of its own whose caller closed some of the three standard streams."""
    start = "import sys; from layerlog.cli.main import main; sys.exit(main(['containers-storage', *sys.argv[1:]]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *[one for one in sys.path if one.endswith("site-packages")]])}
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", start, *where, *words]
    return subprocess.run(line, input=b"", capture_output=True, check=False, env=environment)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_who_closes_a_stream_misses_what_is_said_there_and_nothing_else(where: list[str], cs: Door, closed: str) -> None:
    assert run_with_closed(where, closed, "create-layer", "-i", "made").returncode == 0
    ended = run_with_closed(where, closed, "delete", "made", "nope")
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    assert cs("layers", "-j").out == "null\n"
    assert cs("check").code == 0


@pytest.mark.parametrize("words", ["import-layer", "applydiff made", "set-layer-data made k"])
def test_a_closed_stdin_is_no_empty_input(where: list[str], cs: Door, words: str) -> None:
    cs("create-layer", "-i", "made")
    before = cs("layers", "-j").out
    ended = run_with_closed(where, "<&-", *words.split())
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (1, b"", 1)
    assert b"Traceback" not in ended.stderr
    assert cs("layers", "-j").out == before
