"""Rows: overlays over tables behave as one dictionary."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from layerlog.eventstore.rows import MANY_OBJECTS, Overlay, Table, after_prefix, uncollected

keys = st.binary(max_size=3)
steps = st.lists(st.tuples(st.sampled_from(["put", "delete", "stack", "ask"]), keys, st.integers(1, 9)))


@given(st.dictionaries(keys, st.integers(1, 9)), steps)
def test_overlays_equal_a_dictionary(start: dict[bytes, int], taken: list[tuple[str, bytes, int]]) -> None:
    rows: Table | Overlay = Table(start.items())
    model = dict(start)
    for step, key, value in taken:
        if step == "put":
            rows.put(key, value)
            model[key] = value
        elif step == "delete":
            rows.delete(key)
            model.pop(key, None)
        elif step == "stack":
            rows = Overlay(rows)
        else:
            wanted = sorted((found, it) for found, it in model.items() if found.startswith(key))
            assert list(rows.scan(key)) == wanted
            assert rows.found(key) == dict(wanted)
            assert list(rows.keys(key)) == [found for found, _ in wanted]
            assert rows.get(key) == model.get(key)
    assert list(rows.scan(b"")) == sorted(model.items())


@given(keys, keys)
def test_after_prefix_is_the_first_key_behind_all_with_it(prefix: bytes, other: bytes) -> None:
    end = after_prefix(prefix)
    if end is None:
        assert prefix.strip(b"\xff") == b""
    else:
        assert end > prefix
        assert (prefix <= other < end) == other.startswith(prefix)


def test_many_objects_are_old_at_once_and_the_collector_is_as_it_was() -> None:
    """Else the first thing that a program does with a long list is to have the collector walk all of it."""
    with uncollected():
        made: list[list[int]] = [[] for _ in range(2 * MANY_OBJECTS)]
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert gc.get_count()[0] < len(made), "nothing is left to walk"
    assert not any(one is made[7] for one in gc.get_objects(generation=0))
    assert any(one is made[7] for one in gc.get_objects(generation=2))
    with uncollected(), uncollected():
        assert not gc.isenabled()
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
    gc.enable()
