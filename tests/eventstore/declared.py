"""Hypothesis strategies made of the declarations in ``eventstore/events.py``: whatever an event may hold is tried."""

from __future__ import annotations

import typing
from typing import Any, Literal, NotRequired, get_args, get_origin

from hypothesis import strategies as st

from layerlog.eventstore import events

TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)), max_size=12)
"""As Python has it: also bytes that were no UTF-8, which stand as lone surrogates."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=6,
)


def value_of(declared: Any) -> st.SearchStrategy[Any]:
    """Any value of a declared type."""
    origin = get_origin(declared)
    if origin is NotRequired:
        return value_of(get_args(declared)[0])
    if origin is Literal:
        return st.sampled_from(get_args(declared))
    if origin is list:
        return st.lists(value_of(get_args(declared)[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXT, value_of(get_args(declared)[1]), max_size=3)
    if typing.is_typeddict(declared):
        return object_of(declared)
    return {str: TEXT, int: st.integers(0, 2**63), bool: st.booleans(), object: JSON}[declared]


def object_of(declared: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any JSON object of a declared shape; what may be missing is missing now and then."""
    hints = typing.get_type_hints(declared, include_extras=True)
    fields = {name: value_of(hint) for name, hint in hints.items()}
    needed = {name: field for name, field in fields.items() if name in declared.__required_keys__}
    return st.fixed_dictionaries(needed, optional={name: field for name, field in fields.items() if name not in needed})


EVENT: st.SearchStrategy[dict[str, Any]] = st.one_of([object_of(cls) for cls in get_args(events.Event)])
"""Any event of any type."""
ENVELOPE = object_of(events.Envelope)
