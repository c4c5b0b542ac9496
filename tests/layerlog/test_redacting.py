"""Redaction: the words of a commit are gone from every file and every answer; history verifies and goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore.errors import CommitUnknown, InUse, InvalidRequest
from layerlog.recovery import COMPACT_LEASE
from layerlog.redacting import CannotBeRedacted, Words, finish, redact_payload

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
    for method in (store.redact, store.plan_redaction):
        with pytest.raises(InvalidRequest):
            method(*asked)


def test_one_commit_that_is_not_there_redacts_none(store: Store) -> None:
    layer = store.create_layer(names=["hunter2"])
    with pytest.raises(CommitUnknown):
        store.redact(store.sequence, 99)
    assert store.layer("hunter2").id == layer.id


def long_ago(store: Store) -> None:
    """What was written until now is in a segment that is old as a whole."""

    def segments() -> list[str]:
        return [name for name in os.listdir(store.folder("journal")) if name.endswith(".segment")]

    there, more = segments(), 64
    while more:
        store.set_metadata("kept", f"{more}" + "x" * 20_000)
        more -= segments() != there


def test_a_plan_says_what_would_be_redacted_and_changes_nothing(store: Store) -> None:
    store.create_layer(names=["hunter2"])
    made = store.sequence
    assert [one.sequence for one in store.plan_redaction(made, made)] == [made]
    assert store.sequence == made
    assert store.layer("hunter2").names == ["hunter2"]
    store.redact(made)
    assert store.plan_redaction(made) == []


def test_what_compaction_folded_away_is_refused_with_the_way_out(open_store: OpenStore) -> None:
    """Its words are in the base, and a later commit proves the base by its hash."""
    store = open_store(retention=0, sync="none")
    store.create_layer(names=["kept"])
    store.create_layer(names=["hunter2"])
    made = store.sequence
    long_ago(store)
    folded = store.compact(store.sequence)
    assert folded.through >= made
    before = store.sequence
    with pytest.raises(CannotBeRedacted) as refused:
        store.redact(made, store.sequence)
    assert refused.value.data["sequence"] == made
    assert "base" in str(refused.value)
    assert store.sequence == before
    store.set_names(store.layer("hunter2").id, ["harmless"])
    renamed = store.sequence
    long_ago(store)
    store.compact(store.sequence, drop=True)
    assert store.begins() >= renamed
    for path in files_with(store, SECRET):
        assert "/archive/" in path, "what its advice leaves: the archive that is to be taken away"
    assert list(store.verify()) == []


def test_compaction_folds_what_redacted_commits_say_now(open_store: OpenStore) -> None:
    store = open_store(retention=0, sync="none")
    store.create_layer(names=["kept"])
    layer = store.create_layer(names=["hunter2"])
    made = store.sequence
    store.redact(made)
    long_ago(store)
    assert store.compact(store.sequence).through >= made
    for seen in (store, open_store(retention=0, sync="none")):
        assert seen.layer(layer.id).names == [f"r{made}-1"]
        assert seen.at(made).layer(layer.id).names == [f"r{made}-1"]
        assert list(seen.verify()) == []
    assert files_with(store, SECRET) == []


def test_compaction_and_redaction_wait_for_each_other(open_store: OpenStore) -> None:
    """Else the words would be folded into the base while they are taken out of the journal."""
    store = open_store(retention=0, sync="none")
    store.create_layer(names=["hunter2"])
    with store.lease(COMPACT_LEASE, "compact the journal"), pytest.raises(InUse):
        open_store(retention=0, sync="none").redact(store.sequence)
    assert store.exists("hunter2")


def test_a_compaction_first_carries_out_the_redaction_that_somebody_died_over(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(retention=0, sync="none")
    store.create_layer(names=["kept"])
    store.create_layer(names=["hunter2"])
    made = store.sequence
    long_ago(store)

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.ledger), "overwrite_payload", die)
        with pytest.raises(RuntimeError):
            store.redact(made)
    assert os.path.exists(store.folder("redaction"))
    assert store.compact(store.sequence).through >= made, "also where nobody opened the store since"
    assert not os.path.exists(store.folder("redaction"))
    assert files_with(store, SECRET) == []
    finish(store)


def test_words_in_rows_and_accounts_of_a_rescue_are_taken_out_too() -> None:
    rows = {"layer\0a": {"id": "a", "names": ["hunter2"], "metadata": "hunter2"}, "name\0layer\0hunter2": "a", "k\0job": {"s": 1, "f": ""}}
    events = [
        {"type": "RowsRestated", "rows": rows},
        {"type": "StoreMended", "tool": "salvage", "did": ["layer hunter2 kept"], "lost": ["hunter2"]},
        {"type": "JournalCompacted", "through": 64, "hash": "h", "base": "b", "archive": "archive"},
    ]
    payload = json.dumps({"envelope": {"program": "p" * 200}, "events": events}).encode()
    made = redact_payload(payload, Words("r9-"), in_place=True)
    assert len(made) == len(payload)
    assert SECRET not in made
    found = json.loads(made)["events"]
    assert found[0]["rows"]["layer\0a"]["names"] == ["r9-1"]
    assert found[0]["rows"]["name\0layer\0r9-1"] == "a"
    assert "k\0job" in found[0]["rows"]
    assert found[2] == events[2], "where the archive is must be known on"


def test_a_redacted_container_is_mounted_as_before(store: Store) -> None:
    store.create_layer(names=["base"])
    image = store.create_image("base")
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    box = store.create_container(image.id, names=["hunter2"], label=label, flags={"note": "hunter2", "Volatile": True})
    store.redact(store.sequence)
    again = store.container(box.id)
    assert again.names != ["hunter2"]
    assert again.flags["MountLabel"] == label
    assert again.flags["Volatile"] is True
    assert "note" not in again.flags
    assert store.layer(again.layer).mount_label == store.at(store.sequence - 1).layer(again.layer).mount_label == label
    assert files_with(store, SECRET) == []
