"""Every command is in the table, says what it does, and documents each of its flags."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from layerlog.cli.commands import ALIASES, FRIENDLY_MODULES, MODULES, every, find
from layerlog.cli.help import GROUPS, friendly_flags, overview

ALL = [command.names[0] for command in every()]


def test_each_command_of_a_module_is_in_the_table_and_the_other_way_round() -> None:
    named = {**MODULES, **FRIENDLY_MODULES}
    for module in set(named.values()):
        declared = {command.names[0] for command in import_module(f"layerlog.cli.{module}").COMMANDS}
        assert declared == {name for name, where in named.items() if where == module}


def test_each_alias_leads_to_a_command() -> None:
    for alias, name in ALIASES.items():
        assert find(alias) is not None
        assert name in MODULES


@pytest.mark.parametrize("name", ALL)
def test_every_command_says_what_it_does(name: str) -> None:
    command = find(name)
    assert command is not None
    assert len(command.summary) > 5
    assert len(command.about) > 15, "the manual page is missing"
    for flag in command.flags:
        assert flag.usage, f"{flag.words} says nothing"


@pytest.mark.parametrize("name", ALL)
def test_no_two_flags_of_a_command_share_a_word(name: str) -> None:
    command = find(name)
    assert command is not None
    words = [word for flag in friendly_flags(command) for word in flag.words]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("name", ALL)
def test_help_goes_to_stdout_and_touches_no_store(name: str, ll: Any) -> None:
    for words in ([name, "--help"], ["help", name]):
        shown = ll(*words)
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.startswith(f"Usage: layerlog {name}")
        assert all(len(line) < 101 for line in shown.out.splitlines())
    assert not Path(ll.where[1]).exists()


def test_the_overview_names_every_command() -> None:
    words = set(re.findall(r"[a-z][a-z-]+", overview()))
    assert [name for name in ALL if name not in words and name != "batch"] == []


def test_every_group_of_the_overview_holds_real_commands() -> None:
    for names in GROUPS.values():
        for name in names.split():
            assert find(name) is not None


def test_reading_commands_take_a_point_in_time_and_changing_ones_do_not() -> None:
    for name in ("layers", "images", "containers", "tree", "ls", "ps", "inspect", "exists", "metadata", "get-names", "log", "df"):
        assert any(flag.key == "at" for flag in friendly_flags(find(name)))  # type: ignore[arg-type]
    for name in ("delete", "create-layer", "mount", "restore"):
        assert not any(flag.key == "at" for flag in friendly_flags(find(name)))  # type: ignore[arg-type]


def test_the_compat_door_does_not_know_friendly_commands(cs: Any) -> None:
    for name in FRIENDLY_MODULES:
        assert cs(name).out == f"{name}: unrecognized command.\n"
        assert cs(name).code == 1
