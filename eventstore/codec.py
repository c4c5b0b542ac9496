"""Payloads: what is written in a frame, and how older writings are read. FORMAT.md §4.

A payload is one JSON object in ASCII: ``{"envelope": {...}, "events": [...]}``, and ``"key"`` and
``"print"`` where the caller gave a client key. An event carries ``"v"`` when its type's version is not 1.
"""

from __future__ import annotations

import json

from layerlog.eventstore.errors import UnknownFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VERSIONS: dict[str, int] = {
    "StoreCreated": 1,
    "LayerCreated": 1,
    "LayerDiffApplied": 1,
    "LayerOpenedForWriting": 1,
    "LayerDeleted": 1,
    "LayerRestored": 1,
    "ImageCreated": 1,
    "ImageMappedLayersSet": 1,
    "ImageDeleted": 1,
    "ImageRestored": 1,
    "ContainerCreated": 1,
    "ContainerDeleted": 1,
    "ContainerRestored": 1,
    "NamesSet": 1,
    "MetadataSet": 1,
    "FlagsSet": 1,
    "BigDataSet": 1,
    "BigDataRemoved": 1,
    "TrashFreed": 1,
    "Pinned": 1,
    "Unpinned": 1,
    "LayerKeyed": 1,
    "StoreWiped": 1,
    "Mounted": 1,
    "Unmounted": 1,
    "JournalCompacted": 1,
    "PayloadRedacted": 1,
    "RowsKept": 1,
    "RunStarted": 1,
    "StoreMended": 1,
    "RowsRestated": 1,
    "StoreMigrated": 1,
}
"""The version of each event type that this code writes. A type that is not here cannot be read."""

UPCASTERS: dict[tuple[str, int], Callable[[Any], Any]] = {}
"""From (type, version) to a pure function that makes that version's event one version newer."""

_decode = json.JSONDecoder().decode


def _make_encoder() -> Callable[[Any], str]:
    """``JSONEncoder.encode``, which makes the encoder in C that does its work anew in every call: here it is made once."""
    encoder = json.JSONEncoder(separators=(",", ":"))
    in_c: Any = getattr(json.encoder, "c_make_encoder", None)
    if in_c is None:  # another Python
        return encoder.encode
    encode_parts = in_c(None, encoder.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda value: "".join(encode_parts(value, 0))


encode_json = _make_encoder()
"""A value as JSON in ASCII, without spaces."""


class Encoder:
    """Encodes payloads; remembers the bytes of the envelope, which a process writes again and again."""

    __slots__ = ("_envelope", "_encoded")

    def __init__(self) -> None:
        self._envelope: dict[str, Any] = {}
        self._encoded = "{}"

    def encode(self, events: list[Any], envelope: dict[str, Any], key: str | None = None, fingerprint: str | None = None) -> bytes:
        """The payload of one commit."""
        if envelope != self._envelope:
            self._envelope = dict(envelope)
            self._encoded = encode_json(envelope)
        start = '{"envelope":' + self._encoded
        if key is not None:
            start += ',"key":' + encode_json(key) + ',"print":' + encode_json(fingerprint)
        for place, event in enumerate(events):
            version = VERSIONS.get(event["type"])
            if version is None:
                raise UnknownFormat(what=f"event {event['type']!r}", found="none", known="its own types")
            if version != 1:
                events = [*events[:place], {**event, "v": version}, *events[place + 1 :]]
        return (start + ',"events":' + encode_json(events) + "}").encode("ascii")


def decode(payload: bytes) -> dict[str, Any]:
    """The payload as written, its events brought to today's versions. Raises: UnknownFormat."""
    document: dict[str, Any] = _decode(payload.decode("ascii"))
    events = document["events"]
    for place, event in enumerate(events):
        if "v" in event or VERSIONS.get(event["type"]) != 1:
            events[place] = upcast(event)
    return document


def upcast(event: Any) -> Any:
    """The event in the version that this code writes, which needs no ``v``. Raises: UnknownFormat (never skips, never guesses)."""
    known = VERSIONS.get(event["type"])
    found = event.get("v", 1)
    if known is None:
        raise UnknownFormat(what=f"event {event['type']!r}", found=found, known="no such event")
    if found > known:
        raise UnknownFormat(what=f"event {event['type']!r}", found=found, known=known)
    event = {name: value for name, value in event.items() if name != "v"}
    while found < known:
        event = UPCASTERS[event["type"], found](event)
        found += 1
    return event
