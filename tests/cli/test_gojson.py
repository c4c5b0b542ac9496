from __future__ import annotations

import json
from typing import Any

import pytest

from layerlog.cli.gojson import Fields, encode, quoted, time


def test_fields_keep_their_order_and_maps_are_sorted() -> None:
    assert encode(Fields([("b", 1), ("a", {"z": 1, "y": 2})])) == '{"b":1,"a":{"y":2,"z":1}}'


def test_empty_fields_are_left_out_by_add_alone() -> None:
    fields = Fields([("id", "")])
    empty: list[Any] = ["", 0, None, False, [], {}]
    for value in empty:
        fields.add("x", value)
    fields.add("kept", [0])
    assert encode(fields) == '{"id":"","kept":[0]}'


def test_none_is_null_and_an_empty_list_is_not() -> None:
    assert encode(None) == "null"
    assert encode([]) == "[]"


def test_html_letters_are_escaped_and_other_letters_stay() -> None:
    assert encode("<a&b> ü 漢 \u2028") == '"\\u003ca\\u0026b\\u003e ü 漢 \\u2028"'


@pytest.mark.parametrize("text", ["", "plain", 'quo"te', "back\\slash", "\n\t\r\b\f\0\x1b\x7f", "ü漢😀", "a b"])
def test_what_is_encoded_decodes_to_the_same(text: str) -> None:
    assert json.loads(encode(text)) == text


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    assert encode("a\udcffb") == '"a\\ufffdb"'


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_795_000_000_000_000_001, "2026-11-18T11:06:40.000000001Z"),
        (123_000, "1970-01-01T00:00:00.000123Z"),
    ],
)
def test_times_are_rfc_3339_with_trailing_zeros_cut(ns: int, shown: str) -> None:
    assert time(ns) == shown


def test_quoted_is_gos_percent_q() -> None:
    assert quoted("/a b") == '"/a b"'
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    assert quoted("a\nb\0\x7f") == '"a\\nb\\x00\\x7f"'
    assert quoted("\udcff\u200b漢") == '"\\xff\\u200b漢"'
