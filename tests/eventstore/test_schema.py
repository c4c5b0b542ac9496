"""The schema holds: what is declared is written and read the same by both readers, and nothing else gets through."""

from __future__ import annotations

import copy
import json
import shutil
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerlog.eventstore import codec, events, segments
from layerlog.eventstore.errors import UnknownFormat
from layerlog.eventstore.ledger import Ledger
from layerlog.eventstore.schema import EVENTS, SchemaBroken, structure_event, structure_frame
from layerlog.projections.fold import fold
from tests.eventstore.declared import ENVELOPE, EVENT, TEXT, object_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that does something else meanwhile is no mistake."""
GOLDENS = (("journal", ""), ("journal", "-mended"), ("base", ""))


def golden() -> list[dict[str, Any]]:
    one, mended, based = (json.loads((GOLDEN / f"{name}-v1{more}.json").read_text(encoding="utf-8")) for name, more in GOLDENS)
    return [*one, *mended, based]


@PATIENT
@given(st.lists(EVENT, min_size=1, max_size=3), ENVELOPE, st.none() | st.tuples(TEXT, TEXT))
def test_every_payload_reads_as_it_was_written(made: list[Any], envelope: dict[str, Any], key: tuple[str, str] | None) -> None:
    """By the quick reader and by the schema, for any event of any type."""
    payload = codec.Encoder().encode(made, envelope, *(key or ()))
    expected = {"envelope": envelope, "events": made, **({"key": key[0], "print": key[1]} if key else {})}
    assert payload.isascii()
    assert codec.decode(payload) == expected
    assert structure_frame(payload) == expected


def test_every_type_is_declared_with_a_version_and_a_place_in_the_golden_journal() -> None:
    assert set(EVENTS) == set(codec.VERSIONS)
    assert {event["type"] for commit in golden() for event in commit["events"]} == set(EVENTS) - {"RunStarted"}


def test_golden_journal_is_of_the_schema() -> None:
    for commit in golden():
        for event in commit["events"]:
            assert structure_event(event) == event


@PATIENT
@given(st.data())
def test_a_field_that_is_missing_is_refused(data: st.DataObject) -> None:
    event = data.draw(EVENT)
    del event[data.draw(st.sampled_from(sorted(EVENTS[event["type"]].__required_keys__)))]
    with pytest.raises(SchemaBroken):
        structure_event(event)


@PATIENT
@given(EVENT, TEXT.filter(bool))
def test_a_field_that_is_not_declared_is_refused(event: dict[str, Any], name: str) -> None:
    if name not in EVENTS[event["type"]].__annotations__:
        with pytest.raises(SchemaBroken):
            structure_event({**event, name: 1})


@PATIENT
@given(st.data())
def test_a_value_of_another_type_is_refused(data: st.DataObject) -> None:
    """Nothing is made to fit: no number is taken for a text, no text for a list, no truth value for a number."""
    event = data.draw(EVENT)
    hints = typing.get_type_hints(EVENTS[event["type"]])
    name = data.draw(st.sampled_from(sorted(event)))
    wrong = [value for value in ("x", 7, True, ["x"], {"x": 1}, None) if not _fits(value, hints[name])]
    with pytest.raises(SchemaBroken):
        structure_event({**event, name: data.draw(st.sampled_from(wrong))})


def _fits(value: Any, hint: Any) -> bool:
    """Whether a wrong value might be a right one."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is list:
        return value == ["x"] and typing.get_args(hint) == (str,)
    if origin is dict:
        return isinstance(value, dict) and typing.get_args(hint)[1] is object
    return type(value) is hint


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"7", b'{"events":[]}', b'{"envelope":{},"events":[7]}', b"\xff", b'{"events":7}'])
def test_what_is_no_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(SchemaBroken):
        structure_frame(payload)


@PATIENT
@given(object_of(events.LayerCreated))
def test_structuring_changes_nothing(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    assert structure_event(event) == before == event


# --- another version


def copied(tmp_path: Path) -> str:
    (tmp_path / "journal").mkdir()
    shutil.copy(GOLDEN / "journal-v1.segment", tmp_path / "journal" / segments.file_name(1, 1))
    return str(tmp_path)


def test_journal_of_an_older_version_is_brought_up_wherever_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say version 2 called a pin a word: state, history, past and the next commit all speak version 2."""

    def words(event: dict[str, Any]) -> dict[str, Any]:
        return {**{name: value for name, value in event.items() if name != "pin"}, "pin": f"v2:{event['pin']}"}

    folder = copied(tmp_path)
    with Ledger(folder, fold=fold, read_only=True) as ledger:
        old = next(event for commit in ledger.history() for event in commit.events if event["type"] == "Pinned")
    monkeypatch.setitem(codec.VERSIONS, "Pinned", 2)
    monkeypatch.setitem(codec.UPCASTERS, ("Pinned", 1), words)
    with Ledger(folder, fold=fold) as ledger:
        commits = list(ledger.history())
        (new,) = (event for commit in commits for event in commit.events if event["type"] == "Pinned")
        assert new == {**old, "pin": f"v2:{old['pin']}"}
        at = next(commit.sequence for commit in commits if new in commit.events)
        row = ledger.at(at).get(b"%s\0%s" % (new["kind"].encode(), new["id"].encode()))
        assert row is not None
        assert row["pins"] == [new["pin"]]
        ledger.commit(lambda rows: [new], envelope={})
        assert ledger.commit_at(ledger.sequence).events == [new], "what is of today's version is not brought up again"
    monkeypatch.undo()
    before = (tmp_path / "journal" / segments.file_name(1, 1)).read_bytes()
    with pytest.raises(UnknownFormat):
        Ledger(folder, fold=fold).close()  # the older program meets the newer event
    assert (tmp_path / "journal" / segments.file_name(1, 1)).read_bytes() == before
