"""Every command of both doors, fed with hostile words in every place where it takes one: one clear line, and nothing changed.

A command may accept a word (a name may be almost anything); what it refuses leaves no commit and no file behind.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.cli.commands import FRIENDLY_MODULES, MODULES, find
from layerlog.cli.flags import PEOPLE_FLAGS, STORE_FLAGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Door, Result

WORDS = ["", "../..", "a\nb", "a\0b", "\udcff\udcfe", "x" * 1_000_000]
OF_FLAGS = ["a\0b\x1b[31m", "-" * 300_000]
LEFT_OUT = {"unshare": "runs what it is given", "watch": "stays until somebody ends it", "compat": "is the other door"}
STATUSES = {0, 1, 2, 3, 125}


@pytest.fixture
def full(ll: Door, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """A store with one thing of each kind, and a current folder of the test's own."""
    ll("import-layer", "-i", "base", stdin=archive)
    ll("create-image", "-i", "img", "-n", "app", "base")
    ll("create-container", "-i", "box", "app")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return ll


class Watched:
    """Runs command lines and looks at what they leave behind."""

    def __init__(self, door: Door, root: Path) -> None:
        self.door, self.root = door, root
        self.before = self.state()

    def state(self) -> tuple[int, list[str]]:
        """The last commit, and all files beside the store."""
        with Store(self.root / "graph", self.root / "run", read_only=True) as store:
            sequence = store.sequence
        around = [name for name in os.listdir(self.root.parent) if not name.startswith("test_")]
        return sequence, sorted([*os.listdir(self.root), *os.listdir(self.root / "here"), *around])

    def run(self, *words: str) -> None:
        """One line; an exception that gets this far fails the test with its traceback."""
        shown = self.door(*words, stdin=b"")
        told = [word[:40] for word in words]
        assert shown.code in STATUSES, (told, shown.code)
        _clear(told, shown)
        after = self.state()
        if shown.code:
            assert after == self.before, told
        self.before = after


def _clear(told: list[str], shown: Result) -> None:
    lines = shown.err.splitlines()
    usage = any(line.startswith(("  --", "See '")) for line in lines)
    assert len(lines) <= 3 or usage or not shown.code, (told, shown.err[:300])
    assert all(len(line) <= 2200 for line in lines), told
    assert not set(shown.err) & {"\x1b", "\0", "\x07"}, told
    assert "Traceback" not in shown.err, told


@pytest.mark.parametrize("name", [name for name in (*MODULES, *FRIENDLY_MODULES) if name not in LEFT_OUT])
def test_hostile_arguments(full: Door, cs: Door, name: str, tmp_path: Path) -> None:
    command = find(name)
    assert command is not None
    watched = Watched(cs if name in MODULES else full, tmp_path)
    for word in WORDS:
        for place in range(max(command.least, 1)):
            arguments = ["box"] * max(command.least, 1)
            arguments[place] = word
            watched.run(name, *arguments)
    if not name.startswith("delete"):  # which deletes it once, as the original does, and then says that it is unknown
        watched.run(name, *["box"] * 40)


@pytest.mark.parametrize("name", [name for name in (*MODULES, *FRIENDLY_MODULES) if name not in LEFT_OUT])
def test_hostile_flags(full: Door, name: str, tmp_path: Path) -> None:
    command = find(name)
    assert command is not None
    watched = Watched(full, tmp_path)
    for flag in command.flags:
        if flag.kind != "switch" and flag.door != "compat":
            for word in OF_FLAGS:
                watched.run(name, *["nope"] * command.least, f"{flag.words[0]}={word}")
    watched.run(name, *["nope"] * command.least, "--no-such-flag=" + OF_FLAGS[1])


@pytest.mark.parametrize("flag", [flag for flag in (*STORE_FLAGS, *PEOPLE_FLAGS) if flag.kind != "switch"], ids=lambda flag: flag.key)
@pytest.mark.parametrize("word", [*OF_FLAGS, "\udcff"])
def test_hostile_flags_of_all_commands(full: Door, flag: object, word: str, tmp_path: Path) -> None:
    watched = Watched(full, tmp_path)
    spelled = flag.words[0]  # type: ignore[attr-defined]
    shown = full("layers", f"{spelled}={word}", where=[])
    _clear([spelled], shown)
    shown = full("create-layer", f"{spelled}={word}")
    _clear([spelled], shown)
    if shown.code:
        assert watched.state() == watched.before


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"storage = 1",
        b"[storage]\ndriver = 7\n",
        b"[storage]\ndriver = '../..'\n",
        b"[storage]\ngraphroot = ['x']\n",
        b"[storage]\ngraphroot = ''\nrunroot = 5\n",
        b"[storage]\ndriver = 'vfs'\n[storage.options]\nadditionalimagestores = 'x'\n",
        b"[storage.options]\nadditionalimagestores = [1, 2]\n",
        b"[storage]\ndriver_priority = 3\n",
        b"[storage]\ngraphroot = 'a\\u0000b'\n",
        b"[" * 10_000,
        b"a = " + b"9" * 1_000_000,
    ],
    ids=lambda text: repr(text[:40]),
)
def test_hostile_configuration_files(cs: Door, ll: Door, text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storage.conf").write_bytes(text)
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("LAYERLOG_ROOT", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    for door in (cs, ll):
        for words in (["config"], ["-R", str(tmp_path / "r"), "-g", str(tmp_path / "g"), "-s", "vfs", "layers"]):
            shown = door(*words, where=[])
            assert shown.code in STATUSES
            _clear(words, shown)
            if shown.code == 0 and words == ["config"]:
                json.loads(shown.out)
