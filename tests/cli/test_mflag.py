from __future__ import annotations

from typing import Any

import pytest

from layerlog.cli.command import Flag, number, switch, text, texts
from layerlog.cli.mflag import BadFlag, HelpAsked, parse, parse_anywhere

FLAGS = (
    switch("--json -j", ""),
    switch("--quiet -q", ""),
    switch("--tree -t", ""),
    text("--id -i", ""),
    texts("--name -n", ""),
    texts("--storage-opt", ""),
    switch("--debug -D", ""),
    number("--number -N", ""),
)


def read(*words: str, flags: tuple[Flag, ...] = FLAGS) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    return values, parse(flags, list(words), values)


def refused(*words: str) -> str:
    with pytest.raises(BadFlag) as bad:
        read(*words)
    return str(bad.value)


@pytest.mark.parametrize("words", [["--id", "x"], ["--id=x"], ["-i", "x"], ["-i=x"], ['--id="x"'], ["--id='x'"]])
def test_a_value_is_spelled_in_many_ways(words: list[str]) -> None:
    assert read(*words, "rest") == ({**read()[0], "id": "x"}, ["rest"])


def test_only_one_pair_of_matching_outer_quotes_is_stripped() -> None:
    assert read("--id=\"'x'\"")[0]["id"] == "'x'"
    assert read("--id=\"x'")[0]["id"] == "\"x'"
    assert read("--id", '"x"')[0]["id"] == '"x"'  # only after an equals sign
    assert read('--id="')[0]["id"] == '"'


def test_one_dash_and_two_dashes_are_different_flags() -> None:
    assert refused("--i", "x") == "flag provided but not defined: --i"
    assert refused("-json").startswith("flag provided but not defined: -json")


@pytest.mark.parametrize("swallowed", ["-x", "--", "--json", ""])
def test_a_value_flag_swallows_the_next_word_whatever_it_is(swallowed: str) -> None:
    assert read("-i", swallowed, "rest")[0]["id"] == swallowed


def test_a_flag_at_the_end_needs_its_value() -> None:
    assert refused("--id") == "flag needs an argument: --id"
    assert refused("-n") == "flag needs an argument: -n"


@pytest.mark.parametrize("word", ["1", "t", "T", "true", "TRUE", "True"])
def test_true_is_spelled_as_in_go(word: str) -> None:
    assert read(f"--json={word}")[0]["json"] is True


@pytest.mark.parametrize("word", ["0", "f", "F", "false", "FALSE", "False"])
def test_false_is_spelled_as_in_go(word: str) -> None:
    assert read("-j", f"-j={word}")[0]["json"] is False


def test_a_bad_boolean_is_told_with_two_blanks() -> None:
    assert refused("--debug=maybe") == 'invalid boolean value "maybe" for  --debug: strconv.ParseBool: parsing "maybe": invalid syntax'


def test_parsing_stops_at_the_first_word_that_is_no_flag() -> None:
    assert read("img", "--json") == (read()[0], ["img", "--json"])
    assert read("-j", "-", "-q")[1] == ["-", "-q"]
    assert read("-j", "", "-q")[1] == ["", "-q"]


def test_a_double_dash_ends_the_flags_and_is_dropped() -> None:
    assert read("-j", "--", "-q")[1] == ["-q"]
    assert read("--", "--")[1] == ["--"]


def test_unknown_one_dash_words_are_split_in_letters() -> None:
    values, rest = read("-qt", "x")
    assert values["quiet"] is True
    assert values["tree"] is True
    assert rest == ["x"]


def test_a_value_letter_of_a_group_takes_the_following_argument() -> None:
    values, rest = read("-ji", "foo", "bar")
    assert values["json"] is True
    assert values["id"] == "foo"
    assert rest == ["bar"]


def test_a_group_with_an_unknown_letter_is_refused_as_a_whole() -> None:
    assert refused("-qz") == "flag provided but not defined: -qz"
    assert refused("-z") == "flag provided but not defined: -z"


def test_a_list_flag_adds_and_never_splits_at_commas() -> None:
    assert read("-n", "a,b", "--name=c")[0]["name"] == ["a,b", "c"]


def test_of_a_repeated_scalar_the_last_value_stays() -> None:
    assert read("-i", "a", "-i", "b")[0]["id"] == "b"


def test_values_given_before_the_command_are_kept_and_added_to() -> None:
    values, rest = read("-n", "a", "-i", "x", "layers", "-n", "b")
    assert parse(FLAGS, rest[1:], values) == []
    assert values["name"] == ["a", "b"]
    assert values["id"] == "x"


@pytest.mark.parametrize("word", ["-h", "--help", "-help"])
def test_help_is_asked_for_where_it_is_no_flag(word: str) -> None:
    with pytest.raises(HelpAsked):
        read(word)


def test_a_dash_with_an_equals_sign_is_bad_syntax() -> None:
    assert refused("-=x") == "bad flag syntax: -=x"


def test_a_number_must_be_one() -> None:
    assert read("-N", "12")[0]["number"] == 12
    assert "invalid syntax" in refused("-N", "twelve")
    assert "invalid syntax" in refused("-N", "9" * 40)


def test_people_may_put_flags_anywhere() -> None:
    values: dict[str, Any] = {}
    assert parse_anywhere(FLAGS, ["img", "-j", "x", "--name", "n", "--", "-q"], values) == ["img", "x", "-q"]
    assert values["json"] is True
    assert values["name"] == ["n"]
    assert values["quiet"] is False


def test_a_lone_dash_is_an_argument_anywhere() -> None:
    values: dict[str, Any] = {}
    assert parse_anywhere(FLAGS, ["-", "-j"], values) == ["-"]
    assert values["json"] is True
