"""Several changes, one commit: all of them or none.

Each call on the transaction decides at once, on the state as the calls before it would leave it, so that
a mistake is told where it is made. At the end everything is decided again under the writer lock and
appended as one record.
"""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import sha256

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
        self._words = sha256()
        """What was asked, for the fingerprint of a client key."""
        self._numbers: dict[str, str] = {}
        """IDs that were given here, by which number they go there."""
        self._first = _made_before(core)
        """The IDs that the transaction with this client key made, by their kind; None unless there was one: then nothing is decided."""
        self.committed: Committed | None = None
        self.held = ExitStack()
        """Left with the block: keeps blobs from the collector until the commit refers to them."""
        self._putting = False
        self._seen: Overlay | None = None
        """What the calls so far would leave of the state of ``_seen_at``."""
        self._seen_at = -1

    def _add(self, decide: Callable[[Rows], list[Any]], *asked: object) -> list[Any]:
        """Decide on top of what was asked so far; raises what the decision raises, and forgets it then. *asked*: the call in words.

        The earlier calls are decided again only when somebody else's commit moved the state meanwhile.
        """
        if self._first is not None:
            return self._remember(decide, [], asked)
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
        return self._remember(decide, events, asked)

    def _remember(self, decide: Callable[[Rows], list[Any]], events: list[Any], asked: tuple[object, ...]) -> list[Any]:
        self._decisions.append(decide)
        words = [self._numbers.get(one, one) if isinstance(one, str) else one for one in asked]
        self._words.update(repr(words).encode("utf-8", "surrogateescape"))
        return events

    def _id_of(self, kind: str, given: str) -> str:
        """The ID that is *given*, that the transaction made the first time in this place, or a new one."""
        if given:
            if self._first and given in self._first[kind]:
                self._first[kind].remove(given)
            return check_id(given)
        found = self._first[kind].pop(0) if self._first and self._first[kind] else new_id()
        self._numbers[found] = f"#{len(self._numbers)}"
        return found

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
            self.committed = change.remove(self._core, decide_all, f"transaction {self._words.hexdigest()}")

    # --- the changes without contents

    def tag(self, image: Asked, name: str) -> None:
        """Give an image one more name."""
        self._add(lambda rows: names.rename(rows, _word(image), "image", "add", [check_name(name)]), "tag", _word(image), name)

    def untag(self, name: str) -> None:
        """Take a name from the image that holds it."""
        self._add(lambda rows: names.untag(rows, name), "untag", name)

    def set_names(self, asked: Asked, wanted: Iterable[str], kind: str | None = None) -> None:
        """Replace all names of a thing."""
        checked = check_names(list(wanted))
        self._add(lambda rows: names.rename(rows, _word(asked), kind, "set", checked), "set-names", _word(asked), kind, checked)

    def add_names(self, asked: Asked, wanted: Iterable[str], kind: str | None = None) -> None:
        """Put names in front."""
        checked = check_names(list(wanted))
        self._add(lambda rows: names.rename(rows, _word(asked), kind, "add", checked), "add-names", _word(asked), kind, checked)

    def remove_names(self, asked: Asked, wanted: Iterable[str], kind: str | None = None) -> None:
        """Take names away."""
        checked = check_names(list(wanted))
        self._add(lambda rows: names.rename(rows, _word(asked), kind, "remove", checked), "remove-names", _word(asked), kind, checked)

    def set_metadata(self, asked: Asked, metadata: str, kind: str | None = None) -> None:
        """Replace the free text of a thing."""
        self._add(lambda rows: names.set_metadata(rows, _word(asked), kind, metadata), "set-metadata", _word(asked), kind, metadata)

    def set_big_data(self, kind: str, asked: Asked, item: str, data: bytes) -> None:
        """Store bytes under a key; the bytes are durable at once, the record with the transaction."""
        check_key(item, kind)
        if not self._putting:
            self._putting = True
            self.held.enter_context(putting(self._core))
        digest, size = self._core.blobs.put(data)
        words = ("set-data", kind, _word(asked), item, digest)
        self._add(lambda rows: names.set_big_data(rows, kind, _word(asked), item, digest, size), *words)

    def create_layer(self, parent: Asked = "", *, id: str = "", names: Iterable[str] = (), **fields: Any) -> str:
        """A new empty layer; returns its ID, which later calls in the same transaction may use."""
        layer_id, wanted = self._id_of("layer", id), check_names(list(names))
        self._add(lambda rows: layers.create(rows, layer_id, _word(parent), wanted, **fields), "layer", _word(parent), id, wanted, fields)
        return layer_id

    def create_image(self, layer: Asked = "", *, id: str = "", names: Iterable[str] = (), **fields: Any) -> str:
        """A new image; returns its ID."""
        image_id, wanted = self._id_of("image", id), check_names(list(names))
        self._add(lambda rows: images.create(rows, image_id, _word(layer), wanted, **fields), "image", _word(layer), id, wanted, fields)
        return image_id

    def create_container(self, image: Asked = "", *, id: str = "", names: Iterable[str] = (), **fields: Any) -> str:
        """A new container with its layer; returns its ID."""
        container_id, layer_id = self._id_of("container", id), new_id()
        wanted = check_names(list(names))
        words = ("container", _word(image), id, wanted, fields)
        self._add(lambda rows: containers.create(rows, container_id, layer_id, _word(image), wanted, **fields), *words)
        return container_id

    def delete_layer(self, asked: Asked) -> None:
        """Delete a layer that nothing uses."""
        kept = self._core.retention_seconds > 0
        self._add(lambda rows: layers.delete(rows, _word(asked), kept), "delete-layer", _word(asked))

    def delete_image(self, asked: Asked) -> None:
        """Delete an image and the layers only it needed."""
        kept = self._core.retention_seconds > 0
        self._add(lambda rows: images.delete(rows, _word(asked), kept), "delete-image", _word(asked))

    def delete_container(self, asked: Asked) -> None:
        """Delete a container and its layer."""
        kept = self._core.retention_seconds > 0
        self._add(lambda rows: containers.delete(rows, _word(asked), kept), "delete-container", _word(asked))


def _made_before(core: Core) -> dict[str, list[str]] | None:
    """IDs of what the commit with the client key made, in order; None when there is none. A container's layer is not counted as one."""
    sequence = core.made_with_key()
    if not sequence:
        return None
    found: dict[str, list[str]] = {kind: [] for kind in ("layer", "image", "container")}
    events = core.ledger.commit_at(sequence).events
    theirs = {event["layer"] for event in events if event["type"] == "ContainerCreated"}
    for event in events:
        if event["type"].endswith("Created") and event["id"] not in theirs:
            found[event["type"].removesuffix("Created").lower()].append(event["id"])
    return found


def _word(asked: Asked) -> str:
    return asked.id if isinstance(asked, Record) else asked


def _no_id_twice(events: list[Any]) -> None:
    """One transaction never deletes and creates the same ID (DESIGN §2)."""
    from layerlog.eventstore.errors import InvalidRequest

    made = {(event["type"][:-7], event["id"]) for event in events if event["type"].endswith("Created")}
    for event in events:
        if event["type"].endswith("Deleted") and (event["type"][:-7], event["id"]) in made:
            raise InvalidRequest(f"one transaction cannot create and delete {event['id']}")
