"""Folds: what each event does to the rows."""

from __future__ import annotations

import pytest

from layerlog.eventstore.errors import UnknownFormat
from layerlog.projections import containers, images, layers, trash
from layerlog.projections.items import every, find, get, holder
from tests.projections.rows import State, container, image, layer, names


def test_a_created_layer_is_found_by_id_name_and_unique_prefix() -> None:
    rows = State().commit([layer("abc123", names=["base"]), layer("abd456")]).rows
    found = {word: (find(rows, "layer", word) or {}).get("id") for word in ("abc123", "base", "abc", "abd")}
    assert found == {"abc123": "abc123", "base": "abc123", "abc": "abc123", "abd": "abd456"}
    assert find(rows, "layer", "ab") is None, "an ambiguous prefix means nothing"
    assert find(rows, "layer", "") is None
    assert find(rows, "layer", "bas") is None, "names cannot be abbreviated"


def test_an_id_is_preferred_to_a_name_and_a_name_to_a_prefix() -> None:
    rows = State().commit([layer("aa"), layer("bb", names=["aa"]), layer("cc11"), layer("dd", names=["cc"])]).rows
    assert (find(rows, "layer", "aa") or {})["id"] == "aa"
    assert (find(rows, "layer", "cc") or {})["id"] == "dd"


def test_listings_keep_the_order_of_creation() -> None:
    state = State().commit([layer("z"), layer("a")]).commit([layer("m")])
    assert [row["id"] for row in every(state.rows, "layer")] == ["z", "a", "m"]


def test_chain_and_children_follow_the_parents() -> None:
    rows = State().commit([layer("a"), layer("b", "a"), layer("c", "b"), layer("d", "b")]).rows
    assert layers.chain(rows, "c") == ["b", "a"]
    assert layers.children(rows, "b") == ["c", "d"]


def test_a_loop_of_parents_ends_the_chain() -> None:
    rows = State().commit([layer("a", "b"), layer("b", "a")]).rows
    assert layers.chain(rows, "a") == ["b"], "every layer once, and never itself"


def test_a_moved_name_has_one_holder() -> None:
    state = State().commit([image("one", names=["n"]), image("two")])
    state.commit([names("image", "one"), names("image", "two", "n")])
    assert holder(state.rows, "image", "n") == "two"
    assert "names" not in (get(state.rows, "image", "one") or {})


def test_names_history_takes_updates_only_newest_first() -> None:
    state = State().commit([image("i", names=["made"])]).commit([names("image", "i", "b", "made")]).commit([names("image", "i", "c")])
    assert (get(state.rows, "image", "i") or {})["names_history"] == ["c", "made", "b"]


def test_the_first_manifest_gives_an_image_its_digest_for_good() -> None:
    state = State().commit([image("i")])
    for blob in ("sha256:1", "sha256:2"):
        state.commit([{"type": "BigDataSet", "kind": "image", "id": "i", "key": "manifest", "blob": blob, "size": 1}])
    row = get(state.rows, "image", "i") or {}
    assert row["digest"] == "sha256:1"
    assert images.digests(row) == ["sha256:1", "sha256:2"]
    assert images.by_digest(state.rows, "sha256:2") == ["i"]


def test_a_container_is_found_by_its_layer() -> None:
    rows = State().commit([layer("own"), container("ctr", "own", names=["web"])]).rows
    assert (containers.find(rows, "own") or {})["id"] == "ctr"


def test_delete_then_restore_gives_the_same_rows_but_for_the_last_change() -> None:
    state = State().commit([layer("l", names=["n"], contents={"diff_digest": "sha256:d", "tar_split": {"blob": "sha256:t", "size": 9}})])
    before = state.dump()
    state.commit([{"type": "LayerDeleted", "id": "l", "kept": True}])
    assert get(state.rows, "layer", "l") is None
    assert layers.with_digest(state.rows, "diff", "sha256:d") == []
    assert list(state.rows.scan(b"blob\0sha256:t\0")), "what the trash needs stays referenced"
    assert trash.last_seen(state.rows, "layer", "n") == {"kind": "layer", "id": "l", "sequence": 2}
    state.commit([{"type": "LayerRestored", "id": "l", "deleted_at": 2}])
    after = state.dump()
    after[b"layer\0l"] = {**after[b"layer\0l"], "changed": 1}
    assert {key: value for key, value in after.items() if not key.startswith(b"gone")} == before


def test_wipe_is_one_event_and_leaves_no_live_row() -> None:
    state = State().commit([layer("a"), layer("b", "a"), image("i", "b", names=["n"]), container("c", "a")])
    state.commit([{"type": "StoreWiped", "kept": True}])
    spaces = {key.split(b"\0")[0] for key in state.dump()}
    assert spaces <= {b"trash", b"gone", b"gone-name"}
    assert len(list(trash.every(state.rows))) == 4


def test_freed_trash_forgets_the_row_and_its_blobs() -> None:
    state = State().commit([image("i", big_data={"k": {"blob": "sha256:b", "size": 1}})])
    state.commit([{"type": "ImageDeleted", "id": "i", "kept": True}]).commit([{"type": "TrashFreed", "entries": ["2-i"]}])
    assert not list(trash.every(state.rows))
    assert not list(state.rows.scan(b"blob\0"))


def test_an_event_about_something_that_is_not_there_changes_nothing() -> None:
    state = State().commit([layer("l")])
    before = state.dump()
    state.commit([names("image", "x", "n"), {"type": "LayerDeleted", "id": "x", "kept": True}])
    state.commit([{"type": "LayerOpenedForWriting", "id": "x"}])
    assert state.dump() == before


def test_an_unknown_event_stops_the_fold() -> None:
    with pytest.raises(UnknownFormat):
        State().commit([{"type": "LayerTeleported", "id": "l"}])
