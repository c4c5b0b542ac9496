"""Redaction: the words of a commit are gone from every file and every answer; history verifies and goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore.errors import CommitUnknown, InvalidRequest

if TYPE_CHECKING:
    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

SECRET = b"hunter2"


def files_with(store: Store, word: bytes) -> list[str]:
    found = [os.path.join(where, name) for where, _, names in os.walk(store.root) for name in names]
    return [path for path in found if word in Path(path).read_bytes()]


def test_words_of_a_commit_are_gone_everywhere_and_history_verifies(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    layer = store.create_layer(names=["kept-name"])
    store.set_metadata(layer.id, "password hunter2")
    secret = store.sequence
    for number in range(200):
        store.set_metadata(layer.id, f"later {number}")
    head = store.head()
    assert other.at(secret).layer(layer.id).metadata == "password hunter2"
    assert files_with(store, SECRET)
    assert store.redact(secret) == [secret]
    assert files_with(store, SECRET) == []
    for seen in (store, other, open_store()):
        assert seen.at(secret).layer(layer.id).metadata == f"r{secret}-1"
        assert seen.layer("kept-name").metadata == "later 199"
        assert list(seen.verify(head)) == [], "the chain holds, and a commit says what was done"
    assert store.redact(secret) == [], "once"
    *_, last = store.history()
    assert [event["type"] for event in last.events] == ["PayloadRedacted"]


def test_what_still_has_the_words_has_them_replaced_in_every_open_store(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    layer = store.create_layer(names=["hunter2"])
    made = store.sequence
    child = store.create_layer(layer.id, names=["child"])
    assert other.layer("hunter2").id == layer.id
    other.redact(made)
    for seen in (store, other):
        assert not seen.exists("hunter2")
        assert seen.layer(f"r{made}-1").id == layer.id
        assert seen.children(layer.id) == [child.id]
    store.set_names(layer.id, ["new-name"])
    assert other.layer("new-name").names == ["new-name"]
    assert files_with(store, SECRET) == []


def test_a_retry_of_a_redacted_commit_still_happens_once(store: Store) -> None:
    made = store.given(key="job-1").create_layer(names=["hunter2"])
    store.redact(store.sequence)
    again = store.given(key="job-1").create_layer(names=["hunter2"])
    assert again.id == made.id
    assert len(store.layers()) == 1


@pytest.mark.parametrize("asked", [(), (1,), (0,), (-5,)])
def test_genesis_and_nothing_are_refused(store: Store, asked: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest):
        store.redact(*asked)


def test_one_commit_that_is_not_there_redacts_none(store: Store) -> None:
    layer = store.create_layer(names=["hunter2"])
    with pytest.raises(CommitUnknown):
        store.redact(store.sequence, 99)
    assert store.layer("hunter2").id == layer.id
