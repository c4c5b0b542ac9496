"""Manual pages and completion: made from the commands' own words, and taken by the real man and the real shells."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from layerlog.cli.commands import FRIENDLY_MODULES, MODULES, find
from layerlog.cli.help import friendly_flags
from layerlog.cli.man import pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Door


def test_every_command_has_a_page_with_all_its_flags() -> None:
    found = dict(pages())
    assert len(found) == len(MODULES) + len(FRIENDLY_MODULES) + 1
    for name in (*MODULES, *FRIENDLY_MODULES):
        command = find(name)
        assert command is not None
        page = found[f"layerlog-{name}.1"].replace("\\-", "-")
        assert [word for flag in friendly_flags(command) for word in flag.words if f"\\fB{word}\\fR" not in page] == []
        assert command.summary[1:] in page.replace("\\(aq", "\x27").replace("\\(ga", "`")
    overview = found["layerlog.1"].replace("\\-", "-")
    assert [name for name in (*MODULES, *FRIENDLY_MODULES) if f"layerlog-{name} " not in overview] == []


def test_the_pages_are_written_into_a_folder(ll: Door, tmp_path: Path) -> None:
    shown = ll("man", str(tmp_path / "man1"))
    assert (shown.code, shown.out) == (0, "")
    assert (tmp_path / "man1/layerlog-prune.1").read_text() == dict(pages())["layerlog-prune.1"]


@pytest.mark.parametrize("name", ["layerlog", "layerlog-log", "layerlog-copy", "layerlog-completion"])
def test_man_shows_a_page_without_a_warning(name: str, tmp_path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    path = tmp_path / f"{name}.1"
    path.write_text(dict(pages())[f"{name}.1"])
    shown = subprocess.run(
        ["groff", "-K", "utf8", "-man", "-Tutf8", "-ww", "-rLL=78n", str(path)], capture_output=True, text=True, check=True
    )
    assert shown.stderr == ""
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", shown.stdout)
    assert "NAME" in text
    assert "layerlog" in text


def _script(ll: Door, shell: str, tmp_path: Path) -> Path:
    if shutil.which(shell) is None:
        pytest.fail(f"{shell} is not installed: tools/install_debian_packages does it") if shutil.which("apt-get") else pytest.skip(
            f"no {shell}"
        )
    (tmp_path / shell).write_text(ll("completion", shell, where=[]).out)
    return tmp_path / shell


def test_bash_completes_commands_and_their_flags(ll: Door, tmp_path: Path) -> None:
    source = _script(ll, "bash", tmp_path)
    asked = 'COMP_WORDS=({}); COMP_CWORD=$(({} - 1)); _layerlog; echo "${{COMPREPLY[@]}}"'
    lines = [f"source {source}", asked.format("layerlog pru", 2), asked.format("layerlog prune --fil", 3)]
    shown = subprocess.run(["bash", "-c", "; ".join(lines)], capture_output=True, text=True, check=True)
    assert shown.stdout == "prune\n--filter\n"


def test_fish_completes_commands_and_their_flags(ll: Door, tmp_path: Path) -> None:
    source = _script(ll, "fish", tmp_path)
    lines = f"source {source}; complete -C 'layerlog why'; complete -C 'layerlog prune --fil'"
    shown = subprocess.run(["fish", "--no-config", "-c", lines], capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == ["why-gone", "--filter"]


def test_zsh_completes_commands_and_their_flags(ll: Door, tmp_path: Path) -> None:
    source = _script(ll, "zsh", tmp_path)
    prelude = "_describe() { print -rl -- ${(P)2} }; compadd() { shift; print -rl -- $@ }; _files() { print files }"
    body = source.read_text().replace('_layerlog "$@"', "")
    asked = "words=(layerlog {}); CURRENT={}; _layerlog"
    lines = "\n".join([prelude, body, asked.format("pru", 2), asked.format("prune --fil", 3)])
    shown = subprocess.run(["zsh", "-f", "-c", lines], capture_output=True, text=True, check=True)
    assert "prune:Delete what nobody needs" in shown.stdout
    assert "--filter" in shown.stdout.splitlines()
