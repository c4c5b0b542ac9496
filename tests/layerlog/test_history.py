from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore.errors import CommitUnknown, InvalidWhen, ItemUnknown
from layerlog.when import parse_when

if TYPE_CHECKING:
    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

NOW = 1_800_000_000 * 10**9
SECOND = 10**9


def rows_of(view: Any) -> list[list[dict[str, Any]]]:
    """Every row of a state."""
    return [[one.row for one in found] for found in (view.layers(), view.images(), view.containers())]


def test_at_a_commit_is_the_store_that_stopped_there(open_store: OpenStore) -> None:
    """The same root, copied after each change, is the witness."""
    store = open_store()
    states = []
    layer = store.create_layer(names=["base"])
    changes = [
        lambda: store.create_image(layer.id, names=["app"], big_data={"k": b"1"}),
        lambda: store.set_names("app", ["app2"]),
        lambda: store.create_container("app2", name="box"),
        lambda: store.set_big_data("image", "app2", "k", b"2"),
        lambda: store.delete_container("box"),
        lambda: store.delete_image("app2"),
        lambda: store.restore("app2"),
        store.wipe,
    ]
    for number, change in enumerate(changes):
        change()
        shutil.copytree(store.root, f"{store.root}-{number}", symlinks=True)
        states.append((store.sequence, f"root-{number}"))
    for sequence, folder in states:
        assert rows_of(store.at(sequence)) == rows_of(open_store(folder))
    assert store.at(states[0][0]).big_data("image", "app", "k") == b"1"


def test_a_time_means_the_last_commit_before_it(store: Store) -> None:
    store.create_layer(names=["one"])
    between = time.time()
    time.sleep(0.01)
    store.create_layer(names=["two"])
    assert [one.names for one in store.at(between).layers()] == [["one"]]
    assert len(store.at("now").layers()) == 2
    assert len(store.at(-1).layers()) == 1
    assert store.at("1h").layers() == []


def test_a_commit_that_is_not_there_is_said(store: Store) -> None:
    for asked in (store.sequence + 1, -store.sequence - 5, "999999"):
        with pytest.raises(CommitUnknown):
            store.at(asked)


def test_why_gone_names_the_commit_that_did_it(store: Store) -> None:
    image = store.create_image(store.create_layer().id, names=["app"])
    store.set_names(image.id, ["other"])
    store.given(reason="too old", actor="cleaner").delete_image("other")
    for asked in ("other", image.id, image.id[:12]):
        gone = store.why_gone(asked)
        assert (gone.kind, gone.id, gone.names, gone.commit.reason, gone.commit.actor) == (
            "image",
            image.id,
            ["other"],
            "too old",
            "cleaner",
        )
        assert gone.can_return
    with pytest.raises(ItemUnknown):
        store.why_gone("never")


def test_history_goes_both_ways_and_stops_where_asked(store: Store) -> None:
    for _ in range(5):
        store.create_layer()
    numbers = [one.sequence for one in store.history()]
    assert numbers == list(range(1, store.sequence + 1))
    assert [one.sequence for one in store.history(reverse=True)] == numbers[::-1]
    assert [one.sequence for one in store.history(after=2, until=4)] == [3, 4]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("4711", ("sequence", 4711)),
        (4711, ("sequence", 4711)),
        ("-3", ("back", 3)),
        ("@{3}", ("back", 3)),
        ("now", ("back", 0)),
        ("2h", ("time", NOW - 7200 * SECOND)),
        ("1h30m", ("time", NOW - 5400 * SECOND)),
        ("1.5d", ("time", NOW - 129600 * SECOND)),
        ("2026-11-01T12:00Z", ("time", 1_793_534_400 * SECOND)),
        ("2026-11-01T12:00:30+01:00", ("time", (1_793_534_430 - 3600) * SECOND)),
        (12.5, ("time", 12_500_000_000)),
    ],
)
def test_points_in_time_as_people_write_them(asked: str | float, expected: tuple[str, int]) -> None:
    assert parse_when(asked, NOW) == expected


@pytest.mark.parametrize("asked", ["", "soon", "2 parsecs", "1..5h", "h", "2026-13-01", "@{}", "--3", "1h-", "٣", "9" * 400 + "h"])
def test_what_is_no_point_in_time_is_said(asked: str) -> None:
    with pytest.raises(InvalidWhen):
        parse_when(asked, NOW)


def test_a_day_begins_at_local_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TZ", "Europe/Berlin")
    time.tzset()
    try:
        after_change = 1_792_929_600 * SECOND  # 2026-10-25T12:00 in Berlin less an hour: the day has 25 hours
        today, yesterday = (parse_when(word, after_change)[1] for word in ("today", "yesterday"))
        assert (today - yesterday) // SECOND == 86400
        assert time.localtime(today // SECOND)[3:6] == (0, 0, 0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_to_bring_a_thing_back_brings_that_one(store: Store) -> None:
    """One name may stand for a thing of each kind, one ID too."""
    store.create_image(id="same", names=["app"])
    store.create_container("", id="same", names=["app"])
    store.delete_container("same")
    store.delete_image("same")
    gone = store.why_gone("app")
    assert (gone.kind, gone.words) == ("image", ("app", "--kind", "image"))
    assert gone.command == "layerlog restore app --kind image"
    assert store.restore(gone.words[0], gone.words[2]).kind == "image"
    assert store.containers() == []


def test_of_two_of_one_id_the_later_one_comes_back_first(store: Store) -> None:
    store.create_image(id="x", names=["first"])
    store.delete_image("x")
    store.create_image(id="x", names=["second"])
    store.delete_image("x")
    first, second = store.why_gone("first"), store.why_gone("second")
    assert (first.can_return, first.words) == (True, ("first",))
    assert (second.can_return, second.words) == (True, ("second",))
    assert store.restore("first").names == ["first"]
