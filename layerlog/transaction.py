"""Several changes, one commit: all of them or none.

Each call on the transaction decides at once, on the state as the calls before it would leave it, so that
a mistake is told where it is made. At the end everything is decided again under the writer lock and
appended as one record.
"""

from __future__ import annotations

from contextlib import ExitStack

from layerlog import change
from layerlog.blob_keeping import putting
from layerlog.decide import containers, images, layers, names
from layerlog.decide.netting import preview
from layerlog.eventstore.ids import check_id, check_key, check_name, check_names, new_id
from layerlog.eventstore.rows import Overlay
from layerlog.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.requests import Committed
    from layerlog.eventstore.rows import Rows

Asked = str | Record


class Transaction:
    """Made by ``Store.transaction()``. ``committed`` is set after the block."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._decisions: list[Callable[[Rows], list[Any]]] = []
        self.committed: Committed | None = None
        self.held = ExitStack()
        """Left with the block: keeps blobs from the collector until the commit refers to them."""
        self._putting = False
        self._seen: Overlay | None = None
        """What the calls so far would leave of the state of ``_seen_at``."""
        self._seen_at = -1

    def _add(self, decide: Callable[[Rows], list[Any]]) -> list[Any]:
        """Decide on top of what was asked so far; raises what the decision raises, and forgets it then.

        The earlier calls are decided again only when somebody else's commit moved the state meanwhile.
        """
        with self._core.reading() as rows:
            sequence = self._core.ledger.sequence
            if self._seen is None or sequence != self._seen_at or self._core.looks_elsewhere():
                self._seen, self._seen_at = Overlay(rows.own), sequence
                for earlier in self._decisions:
                    try:
                        self._on_top(rows, earlier)
                    except BaseException:
                        self._seen = None
                        raise
            events = self._on_top(rows, decide)
        self._decisions.append(decide)
        return events

    def _on_top(self, rows: Rows, decide: Callable[[Rows], list[Any]]) -> list[Any]:
        """The events of one decision, folded into what is seen."""
        assert self._seen is not None
        self._seen.base = rows.own
        events = decide(rows.with_own(self._seen))
        try:
            preview(self._seen, events)
        except BaseException:
            self._seen = None
            raise
        return events

    def _decide(self, rows: Rows) -> list[list[Any]]:
        seen = Overlay(rows.own)
        found = []
        for decide in self._decisions:
            events = decide(rows.with_own(seen))
            preview(seen, events)
            found.append(events)
        return found

    def commit(self) -> None:
        """Append everything as one commit; nothing was asked, nothing is appended."""

        def decide_all(rows: Rows) -> list[Any]:
            events = [event for events in self._decide(rows) for event in events]
            _no_id_twice(events)
            return events

        if self._decisions:
            self.committed = change.remove(self._core, decide_all, f"transaction of {len(self._decisions)}")

    # --- the changes without contents

    def tag(self, image: Asked, name: str) -> None:
        """Give an image one more name."""
        self._add(lambda rows: names.rename(rows, _word(image), "image", "add", [check_name(name)]))

    def untag(self, name: str) -> None:
        """Take a name from the image that holds it."""
        self._add(lambda rows: names.untag(rows, name))

    def set_names(self, asked: Asked, wanted: Iterable[str], kind: str | None = None) -> None:
        """Replace all names of a thing."""
        checked = check_names(list(wanted))
        self._add(lambda rows: names.rename(rows, _word(asked), kind, "set", checked))

    def add_names(self, asked: Asked, wanted: Iterable[str], kind: str | None = None) -> None:
        """Put names in front."""
        checked = check_names(list(wanted))
        self._add(lambda rows: names.rename(rows, _word(asked), kind, "add", checked))

    def remove_names(self, asked: Asked, wanted: Iterable[str], kind: str | None = None) -> None:
        """Take names away."""
        checked = check_names(list(wanted))
        self._add(lambda rows: names.rename(rows, _word(asked), kind, "remove", checked))

    def set_metadata(self, asked: Asked, metadata: str, kind: str | None = None) -> None:
        """Replace the free text of a thing."""
        self._add(lambda rows: names.set_metadata(rows, _word(asked), kind, metadata))

    def set_big_data(self, kind: str, asked: Asked, item: str, data: bytes) -> None:
        """Store bytes under a key; the bytes are durable at once, the record with the transaction."""
        check_key(item, kind)
        if not self._putting:
            self._putting = True
            self.held.enter_context(putting(self._core))
        digest, size = self._core.blobs.put(data)
        self._add(lambda rows: names.set_big_data(rows, kind, _word(asked), item, digest, size))

    def create_layer(self, parent: Asked = "", *, id: str = "", names: Iterable[str] = (), **fields: Any) -> str:
        """A new empty layer; returns its ID, which later calls in the same transaction may use."""
        layer_id, wanted = check_id(id) if id else new_id(), check_names(list(names))
        self._add(lambda rows: layers.create(rows, layer_id, _word(parent), wanted, **fields))
        return layer_id

    def create_image(self, layer: Asked = "", *, id: str = "", names: Iterable[str] = (), **fields: Any) -> str:
        """A new image; returns its ID."""
        image_id, wanted = check_id(id) if id else new_id(), check_names(list(names))
        self._add(lambda rows: images.create(rows, image_id, _word(layer), wanted, **fields))
        return image_id

    def create_container(self, image: Asked = "", *, id: str = "", names: Iterable[str] = (), **fields: Any) -> str:
        """A new container with its layer; returns its ID."""
        container_id, layer_id = check_id(id) if id else new_id(), new_id()
        wanted = check_names(list(names))
        self._add(lambda rows: containers.create(rows, container_id, layer_id, _word(image), wanted, **fields))
        return container_id

    def delete_layer(self, asked: Asked) -> None:
        """Delete a layer that nothing uses."""
        kept = self._core.retention_seconds > 0
        self._add(lambda rows: layers.delete(rows, _word(asked), kept))

    def delete_image(self, asked: Asked) -> None:
        """Delete an image and the layers only it needed."""
        kept = self._core.retention_seconds > 0
        self._add(lambda rows: images.delete(rows, _word(asked), kept))

    def delete_container(self, asked: Asked) -> None:
        """Delete a container and its layer."""
        kept = self._core.retention_seconds > 0
        self._add(lambda rows: containers.delete(rows, _word(asked), kept))


def _word(asked: Asked) -> str:
    return asked.id if isinstance(asked, Record) else asked


def _no_id_twice(events: list[Any]) -> None:
    """One transaction never deletes and creates the same ID (DESIGN §2)."""
    from layerlog.eventstore.errors import InvalidRequest

    made = {(event["type"][:-7], event["id"]) for event in events if event["type"].endswith("Created")}
    for event in events:
        if event["type"].endswith("Deleted") and (event["type"][:-7], event["id"]) in made:
            raise InvalidRequest(f"one transaction cannot create and delete {event['id']}")
