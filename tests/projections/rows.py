"""Builders for tests of folds and decisions: a table, and events put into it without any journal."""

from __future__ import annotations

from typing import Any

from layerlog.eventstore.rows import Table
from layerlog.projections.fold import fold


class Meta:
    """Where a commit stands: what the ledger gives a fold."""

    actor = ""

    def __init__(self, sequence: int, time_ns: int = 0, place: int = 0) -> None:
        self.sequence, self.time_ns, self.place = sequence, time_ns or sequence * 10**9, place


class State:
    """Rows with a counter of commits: ``state.commit(events)`` is one more."""

    def __init__(self) -> None:
        self.rows = Table()
        self.sequence = 0

    def commit(self, events: list[Any]) -> State:
        self.sequence += 1
        for place, event in enumerate(events):
            for key, value in list(fold(self.rows, event, Meta(self.sequence, place=place))):  # type: ignore[arg-type]
                if value is None:
                    self.rows.delete(key)
                else:
                    self.rows.put(key, value)
        return self

    def dump(self) -> dict[bytes, Any]:
        return dict(self.rows.scan(b""))


def layer(layer_id: str, parent: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "LayerCreated", "id": layer_id, **({"parent": parent} if parent else {}), **fields}


def image(image_id: str, top: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "ImageCreated", "id": image_id, **({"layer": top} if top else {}), **fields}


def container(container_id: str, own: str, of: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "ContainerCreated", "id": container_id, "layer": own, **({"image": of} if of else {}), **fields}


def names(kind: str, item_id: str, *wanted: str) -> dict[str, Any]:
    return {"type": "NamesSet", "kind": kind, "id": item_id, "names": list(wanted)}
