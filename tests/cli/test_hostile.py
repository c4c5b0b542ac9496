"""Hostile IDs, names, keys, maps and arguments get one clear line and change nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Door, Result

HUGE = "x" * 1_000_000
NASTY = ["../..", "..", ".", "/etc/passwd", "a/b", "a\nb", "a\0b", HUGE, "\udcff\udcfe", "-", " ", "\x1b[31m", "a" * 256]


def one_line(result: Result) -> None:
    """A refusal: status 1, nothing on stdout but blank lines, one short line on stderr, no traceback."""
    assert result.code == 1, result
    assert result.out.strip("\n") == ""
    assert result.err.count("\n") == 1, result.err[:500]
    assert len(result.err) < 2000
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err


def listing(root: Path) -> list[str]:
    """Everything below *root*, without what every command may touch."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if "leases" not in path.parts)


@pytest.mark.parametrize("word", NASTY)
@pytest.mark.parametrize("command", [["create-layer"], ["create-image"], ["import-layer"], ["create-storage-layer"]])
def test_hostile_ids_are_refused(cs: Door, word: str, command: list[str], tmp_path: Path, archive: bytes) -> None:
    cs("create-layer", "-i", "a")
    before, around = listing(tmp_path), sorted(os.listdir(tmp_path.parent))
    shown = cs(*command, "-i", word, stdin=archive)
    one_line(shown)
    assert "invalid ID" in shown.err
    assert cs("layers").out == "a\n"
    assert sorted(os.listdir(tmp_path.parent)) == around
    assert listing(tmp_path) == before


@pytest.mark.parametrize("word", [*NASTY, ""])
def test_hostile_words_name_nothing(cs: Door, word: str) -> None:
    cs("create-layer", "-i", "a")
    for command in (["delete-layer"], ["mount"], ["diffsize"], ["changes"], ["get-names"], ["get-container-dir"], ["get-image-dir"]):
        one_line(cs(*command, word))
    for command in (["layer"], ["image"], ["container"]):
        shown = cs(*command, word)
        assert (shown.code, shown.out, shown.err) == (1, "", "")
    assert cs("exists", "-q", word).code == 1
    assert cs("layers").out == "a\n"


@pytest.mark.parametrize("name", ["a\nb", "a\0b", HUGE])
def test_names_with_structure_or_without_end_are_refused(cs: Door, name: str) -> None:
    cs("create-layer", "-i", "a")
    one_line(cs("create-layer", "-n", name))
    one_line(cs("add-names", "-n", name, "a"))
    assert cs("layers").out == "a\n"


@pytest.mark.parametrize("name", ["UPPER/Case:tag@x", "d e", "", "../..", "\udcff", "名", "<&>", '"', "-x"])
def test_any_other_name_is_legal_and_comes_back_as_it_was(cs: Door, name: str) -> None:
    shown = cs("create-layer", "-i", "a", "-n", name)
    assert shown.out == f"a\n\t{name}\n"
    assert cs("get-names", "a").raw == os.fsencode(name) + b"\n"
    assert json.loads(cs("get-names", "-j", "a").raw) == [name.replace("\udcff", "\ufffd")]
    assert cs("layers").raw == b"a\n\tname: " + os.fsencode(name) + b"\n"
    assert cs("exists", "--", name).code == 0
    assert cs("check").code == 0


@pytest.mark.parametrize("key", ["../../x", "a/b", "\udcff", "k" * 4000, "=", "\n"])
def test_any_key_can_be_stored(cs: Door, key: str, tmp_path: Path) -> None:
    cs("create-image", "-i", "i")
    assert cs("set-image-data", "i", key, stdin=b"x").code == 0
    assert cs("get-image-data", "i", key).raw == b"x"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("key", ["", "a\0b", HUGE])
def test_keys_that_cannot_be_are_refused(cs: Door, key: str) -> None:
    cs("create-image", "-i", "i")
    one_line(cs("set-image-data", "i", key, stdin=b"x"))
    assert cs("list-image-data", "-j", "i").out == "null\n"


@pytest.mark.parametrize(
    "word",
    ["x", "0:0", "0:0:0:0", "-1:0:1", "0:0:4294967296", "0:0:1,1:1:1", "0::1", "٣:0:1", "0:0:1 ", HUGE, "9" * 5000 + ":0:1"],
)
def test_maps_that_do_not_parse_are_refused(cs: Door, word: str) -> None:
    for flag in ("--uidmap", "--gidmap"):
        shown = cs("create-layer", flag, word)
        assert shown.code == 1
        assert shown.err.startswith("initializing ID mappings: ")
        assert len(shown.err) < 2000
    assert cs("layers").out == ""


def test_metadata_of_a_megabyte_is_kept(cs: Door, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0\xff" + b"y" * 1_000_000)
    cs("create-layer", "-i", "a")
    assert cs("set-metadata", "-f", str(tmp_path / "file"), "a").code == 0
    assert cs("metadata", "-q", "a").raw == (tmp_path / "file").read_bytes() + b"\n"


@pytest.mark.parametrize("word", ["", "9" * 30, "-", "@{x}", "\0", "nan", "1e400s", "2026-13-01", "-99"])
def test_points_in_time_that_are_none_are_refused(ll: Door, word: str) -> None:
    ll("create-layer", "-i", "a")
    if word == "":
        assert ll("layers", "--at", word).code == 0  # no point in time: the present
        return
    shown = ll("layers", "--at", word)
    assert shown.code == 1
    assert shown.err.startswith("layerlog: ")
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("word", [*NASTY, ""])
def test_the_friendly_door_is_as_unmoved(ll: Door, word: str) -> None:
    ll("create-image", "-i", "i", "-n", "img")
    for command in (
        ["rmi"],
        ["rm"],
        ["restore"],
        ["why-gone"],
        ["untag"],
        ["commit"],
        ["inspect"],
        ["pin"],
        ["tag", "nothing"],
        ["rename", "nope"],
    ):
        shown = ll(*command, word)
        assert shown.code in (1, 125), (command, shown)
        assert shown.err.startswith("layerlog: "), (command, shown)
        assert len(shown.err) < 4000
        assert "\x1b" not in shown.err
        assert "Traceback" not in shown.err
    assert ll("images", "-q").out == "i\n"


def test_a_file_that_is_a_folder_or_missing_is_told_as_the_original_does(cs: Door, tmp_path: Path) -> None:
    cs("create-layer", "-i", "a")
    assert cs("applydiff", "-f", "/nonexistent", "a").err == "open /nonexistent: no such file or directory\n"
    assert cs("applydiff", "-f", str(tmp_path), "a").err == f"open {tmp_path}: is a directory\n"


def test_a_reader_that_goes_away_is_no_error_message(where: list[str]) -> None:
    import subprocess
    import sys

    program = [sys.executable, "-m", "layerlog", *where]
    subprocess.run(
        [*program, "batch"],
        input="".join(f"create-layer -n {'n' * 100}{i}\n" for i in range(300)),
        text=True,
        check=True,
        capture_output=True,
    )
    reading = subprocess.Popen([*program, "layers"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reading.stdout is not None
    assert reading.stderr is not None
    reading.stdout.close()
    assert reading.stderr.read() == b""
    reading.stderr.close()
    assert reading.wait() == 141
