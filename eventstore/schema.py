"""The schema of what stands in a journal: ``eventstore.events``, held by cattrs for everything that enters or leaves.

A journal that came from elsewhere, and one that is verified, is read through here: every field that an event, an
envelope or a payload has is declared, of its type, and none is missing. Writing and reading one's own journal goes by
``codec`` alone, since this costs 40 ms to import; tests hold that both read and write the same.
"""

from __future__ import annotations

from typing import Any, get_args

import cattrs

from layerlog.eventstore import codec, events
from layerlog.eventstore.errors import JournalError


class SchemaBroken(JournalError):
    """Data: ``what`` (where it stands), ``why``."""

    message = "{what} is not of its schema: {why}"


EVENTS: dict[str, Any] = {cls.__name__: cls for cls in get_args(events.Event)}
"""Every event type by name."""


def structure_payload(document: Any, what: str = "a payload") -> Any:
    """A payload as ``codec.decode`` gives it, checked field by field. Raises: SchemaBroken."""
    return _structured(document, events.Payload, what)


def structure_event(event: Any, what: str = "an event") -> Any:
    """One event in today's version. Raises: SchemaBroken."""
    return _structured(event, events.Event, what)


def structure_frame(payload: bytes, what: str = "a payload") -> Any:
    """The payload of a frame, from its bytes: JSON, older events brought up, all of its schema.

    Raises: SchemaBroken, UnknownFormat.
    """
    try:
        document = codec.decode(payload)
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaBroken(what=what, why=f"not a payload ({type(error).__name__}: {error})") from error
    return structure_payload(document, what)


def _structured(value: Any, cls: Any, what: str) -> Any:
    try:
        return _converter.structure(value, cls)
    except (cattrs.BaseValidationError, ValueError, TypeError) as error:
        raise SchemaBroken(what=what, why="; ".join(cattrs.transform_error(error))) from error


def _exactly(*allowed: type) -> Any:
    """A hook that takes a value as it is or not at all: cattrs itself would make "1" of 1."""

    def check(value: Any, _: Any) -> Any:
        if type(value) not in allowed:
            raise TypeError(f"expected {' or '.join(one.__name__ for one in allowed)}, found {type(value).__name__}")
        return value

    return check


def _event(value: Any, _: Any) -> Any:
    if type(value) is not dict or value.get("type") not in EVENTS:
        raise ValueError("not an event that is known here")
    return _converter.structure(value, EVENTS[value["type"]])


def _list(value: Any, cls: Any) -> Any:
    """Lists are lists: cattrs itself would take a text for a list of its characters."""
    if type(value) is not list:
        raise TypeError(f"expected list, found {type(value).__name__}")
    (of,) = get_args(cls)
    return [_converter.structure(one, of) for one in value]


def _make() -> cattrs.Converter:
    made = cattrs.Converter(forbid_extra_keys=True)
    for primitive in (str, int, bool):
        made.register_structure_hook(primitive, _exactly(primitive))
    made.register_structure_hook_func(lambda cls: cls is object, _exactly(str, int, bool, float, list, dict, type(None)))
    made.register_structure_hook_func(lambda cls: getattr(cls, "__origin__", None) is list, _list)
    made.register_structure_hook_func(lambda cls: cls == events.Event, _event)
    return made


_converter = _make()
