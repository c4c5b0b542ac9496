"""The decision table of recovery: total, unambiguous, in CRASH.md as in the code, and every row really met."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.decide.settling import QUESTIONS, TABLE, Seen, rows_for

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
INPUTS = ("mounted", "counted", "claimed", "committed", "staged", "superseded", "placed", "kept", "in_trash")
PAGE = Path(__file__).resolve().parents[2] / "layerlog" / "CRASH.md"


def every_combination() -> list[Seen]:
    return [Seen(**dict(zip(INPUTS, values, strict=True))) for values in itertools.product((False, True), repeat=len(INPUTS))]


def test_every_combination_finds_exactly_one_row_for_each_question() -> None:
    for seen in every_combination():
        for question in QUESTIONS:
            assert len([row for row in TABLE if row.question == question and row.fits(seen)]) == 1


def test_the_page_shows_the_table_of_the_code() -> None:
    words = {"": "nothing"}
    wanted = [
        (
            row.name,
            ", ".join(f"{'' if yes else 'not '}{what.replace('_', ' ')}" for what, yes in row.when.items()),
            words.get(row.step, row.step),
        )
        for row in TABLE
    ]
    shown = re.findall(r"^\| ([MSOPT]\d) \| ([^|]+?) \| ([^|]+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == wanted


def test_what_is_claimed_is_never_removed() -> None:
    for seen in every_combination():
        if seen.claimed and not seen.superseded:
            assert {row.step for row in rows_for(seen) if row.question == "what is in place"} == {""}


def test_every_row_is_reached_by_a_crash(bench: Bench) -> None:
    faults = []
    for name in ("apply_diff to a filled layer", "delete_layer at once", "delete_layer", "delete and make again", "mount and unmount"):
        faults += list(bench.stops(name, partial=False))
    for seed in range(2, 12):  # dice: until one cuts between the removals of two generations
        if "O3" not in bench.reached:
            faults += list(bench.power_cuts("apply and delete", 6, seed=seed))
    assert not faults, faults[:5]
    mounts = {"M2", "M3"} if bench.driver == "vfs" else set()  # vfs mounts nothing
    assert bench.reached == {row.name for row in TABLE} - mounts
