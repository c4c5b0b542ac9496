from __future__ import annotations

import time
from typing import Any, get_args

import pytest

from layerlog.cli.views.gone import gone_view
from layerlog.cli.views.log import Told, log_view
from layerlog.cli.views.told import Teller
from layerlog.history import WhyGone
from tests.cli.records import DAY_NS, NOON_NS, commit, text

BASE, APP, IMAGE = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def contents(size: int) -> dict[str, Any]:
    return {"diff_digest": "sha256:" + "0" * 64, "diff_size": size}


LOADED = (
    {"type": "LayerCreated", "id": BASE, "contents": contents(127_000_000)},
    {"type": "LayerCreated", "id": APP, "parent": BASE, "contents": contents(2_000_000)},
    {"type": "ImageCreated", "id": IMAGE, "layer": APP},
    {"type": "NamesSet", "kind": "image", "id": IMAGE, "names": ["app:1.3"]},
)


def told(*commits: tuple[dict[str, Any], ...]) -> list[list[tuple[str, str]]]:
    teller = Teller()
    return [teller.tell(events) for events in commits]


def test_an_image_and_its_layers_are_one_sentence() -> None:
    assert told(LOADED) == [[("+", "image app:1.3 (2 layers, 129 MB)")]]


def test_names_that_come_and_go_are_told_by_the_difference() -> None:
    def named(*names: str) -> tuple[dict[str, Any], ...]:
        return ({"type": "NamesSet", "kind": "image", "id": IMAGE, "names": list(names)},)

    assert told(LOADED, named("app:1.4", "app:1.3"), named("app:1.4"), named("app:2")) == [
        [("+", "image app:1.3 (2 layers, 129 MB)")],
        [("+", "name app:1.4 (image cccccccccccc)")],
        [("−", "name app:1.3 (image cccccccccccc)")],
        [("~", "image app:1.4 is now app:2")],
    ]


def test_a_deletion_knows_the_name_and_size_of_what_it_deleted() -> None:
    deleted = tuple(
        {"type": f"{kind}Deleted", "id": one, "kept": True} for kind, one in (("Image", IMAGE), ("Layer", APP), ("Layer", BASE))
    )
    assert told(LOADED, deleted)[1] == [("−", "image app:1.3 (with 2 layers, 129 MB)")]


def test_a_deletion_without_return_says_so() -> None:
    assert told(LOADED, ({"type": "ImageDeleted", "id": IMAGE, "kept": False},))[1] == [("−", "image app:1.3 (no layer with it), for good")]


def test_a_container_is_told_with_its_image_and_without_its_layer() -> None:
    made = ({"type": "LayerCreated", "id": "l"}, {"type": "ContainerCreated", "id": "c1", "layer": "l", "image": IMAGE, "names": ["web"]})
    opened = ({"type": "LayerOpenedForWriting", "id": "l"},)
    assert told(LOADED, made, opened)[1:] == [
        [("+", "container web of image app:1.3")],
        [("~", "layer l of container web opened for writing")],
    ]


def test_a_return_names_the_commit_that_had_deleted_it() -> None:
    back = ({"type": "LayerRestored", "id": APP, "deleted_at": 9}, {"type": "ImageRestored", "id": IMAGE, "deleted_at": 9})
    assert told(LOADED, back)[1] == [("↺", "image app:1.3 (with 1 layer, 2.0 MB), deleted in commit 9")]


def test_every_event_has_words_and_an_unknown_one_its_type() -> None:
    from layerlog.cli.views.told import WORDS
    from layerlog.eventstore.events import Event

    of_the_run_journal, of_a_base = {"RunStarted", "Mounted", "Unmounted"}, {"RowsKept"}  # no commit of a store has them
    assert {one.__name__.removesuffix("Event") for one in get_args(Event)} - of_the_run_journal - of_a_base == set(WORDS)
    assert told(({"type": "SomethingNew", "id": "x"},)) == [[("~", "SomethingNew")]]


def test_a_log_at_80_columns() -> None:
    entries = [
        (
            commit(12, actor="ci/4711", command="rmi", arguments=["app:1.3"], reason="superseded"),
            [("−", "image app:1.3 (with 2 layers, 129 MB)")],
        ),
        (commit(3, command="load", arguments=["a file.tar"], at=NOON_NS - DAY_NS), [("+", "image app:1.3 (2 layers, 129 MB)")]),
        (commit(1, at=NOON_NS - 9 * DAY_NS), [("+", "store, driver vfs")]),
    ]
    assert text(log_view(entries, 80, NOON_NS)) == (
        "Wednesday, 25 November 2026 · today\n"
        "\n"
        "12  12:00  ci/4711  rmi app:1.3\n"
        "           “superseded”\n"
        "           − image app:1.3 (with 2 layers, 129 MB)\n"
        "\n"
        "Tuesday, 24 November 2026 · yesterday\n"
        "\n"
        " 3  12:00  root  load 'a file.tar'\n"
        "           + image app:1.3 (2 layers, 129 MB)\n"
        "\n"
        "Monday, 16 November 2026\n"
        "\n"
        " 1  12:00  root  layerlog\n"
        "           + store, driver vfs"
    )


def test_long_lines_of_a_log_are_cut_at_the_edge() -> None:
    entries = [(commit(1, command="load", arguments=["x" * 200]), [("+", "name " + "y" * 200)])]
    assert max(map(len, text(log_view(entries, 80, NOON_NS)).splitlines())) == 80


def test_control_characters_of_an_argument_do_not_reach_the_terminal() -> None:
    entries: list[Told] = [(commit(1, command="load", arguments=["a\x1b[31m\nb"]), [])]
    assert "\x1b" not in text(log_view(entries, 80, NOON_NS))


def gone(why_not: str = "", **envelope: Any) -> str:
    removed = commit(12, command="rmi", arguments=["app:1.3"], **envelope)
    found = WhyGone("image", IMAGE, ["app:1.3"], removed, [("layer", APP), ("layer", BASE)], why_not)
    return text(gone_view(found, NOON_NS + 300 * 10**9, "layerlog restore app:1.3", NOON_NS + DAY_NS))


def test_why_gone_is_a_short_paragraph_and_a_command() -> None:
    assert gone(reason="superseded") == (
        "Image app:1.3 (cccccccccccc) was deleted today at 12:00:00, 5 minutes ago, by\n"
        "root, with layerlog rmi app:1.3 (commit 12). The reason given: “superseded”. 2\n"
        "layers went with it.\n"
        "\n"
        "It can come back until tomorrow at 12:00:00:\n"
        "\n"
        "    layerlog restore app:1.3"
    )


def test_why_gone_says_why_it_cannot_come_back() -> None:
    seen = gone("its contents were freed")
    assert "No reason was given." in seen
    assert seen.endswith("It cannot come back: its contents were freed.")
    assert "restore" not in seen
