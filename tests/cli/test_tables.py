from __future__ import annotations

import pytest

from layerlog.cli.views import units
from layerlog.cli.views.tables import Usage, bar, chain_sizes, usage_table
from tests.cli.records import DAY_NS, NOON_NS, layer, text


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4096, "4.1 kB"), (99_949, "99.9 kB"), (127_000_000, "127 MB"), (10**18, "1000 PB")],
)
def test_sizes_are_decimal_with_three_digits_or_so(count: int, shown: str) -> None:
    assert units.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "just now"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 3, "3 days ago"),
        (86400 * 400, "1 year ago"),
    ],
)
def test_ages_are_told_in_the_largest_unit(seconds: int, shown: str) -> None:
    assert units.age(NOON_NS, NOON_NS + seconds * 10**9) == shown


def test_near_days_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert units.moment(NOON_NS, NOON_NS) == "today at 12:00:00"
    assert units.moment(NOON_NS, NOON_NS + DAY_NS) == "yesterday at 12:00:00"
    assert units.moment(NOON_NS, NOON_NS - DAY_NS) == "tomorrow at 12:00:00"
    assert units.moment(NOON_NS, NOON_NS + 9 * DAY_NS) == "on Wednesday, 25 November 2026 at 12:00:00"


def test_chosen_ids_are_shown_whole_unless_they_are_long() -> None:
    assert units.short("my-layer") == "my-layer"
    assert units.short("a" * 64) == "a" * 12


def test_a_chain_is_added_up_and_a_loop_ends() -> None:
    layers = {"a": layer("a", size=5), "b": layer("b", "a", 7), "x": layer("x", "y"), "y": layer("y", "x")}
    assert chain_sizes(layers, "b") == (2, 12)
    assert chain_sizes(layers, "x") == (2, 0)
    assert chain_sizes(layers, "") == (0, 0)


def test_a_bar_is_filled_by_eighths() -> None:
    assert bar(0, 8).plain == ""
    assert bar(1, 8).plain == "█" * 8
    assert bar(1 / 64, 8).plain == "▏"


def test_usage_shows_shares_of_the_whole() -> None:
    rows = [Usage("Layers", 2, None, 3_000_000, 1_000_000), Usage("Trash", 1, None, 1_000_000, 1_000_000)]
    lines = text(usage_table(rows, 80)).splitlines()
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "FREEABLE"]
    assert lines[1].split()[:4] == ["Layers", "2", "3.0", "MB"]
    assert lines[1].count("█") == 3 * lines[2].count("█")
