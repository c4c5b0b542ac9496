"""The fold: what each event does to the rows. Pure: no clock, path, lock or random source.

``fold(rows, event, meta)`` yields row changes; the ledger puts them into the table before it shows
it the next event. An event about something that is not there changes nothing: that only happens
behind damage, which ``verify`` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from layerlog.eventstore.errors import UnknownFormat
from layerlog.projections import containers, images, layers, mounts, trash
from layerlog.projections.items import Row, RowChange, edited, get
from layerlog.projections.keys import key, prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows
    from layerlog.eventstore.state import Meta

FOLD_VERSION = 1
"""One more whenever the rows that some journal gives change: checkpoints that an older fold made are then made anew.

A base of compaction cannot be: then ``RowsKept`` gets a new version in ``codec.VERSIONS`` as well, and an upcaster that turns the rows."""
ORDER_BITS = 20
Put = Callable[["Rows", Row | None, Row | None], Iterator[RowChange]]
PUT: dict[str, Put] = {"layer": layers.put, "image": images.put, "container": containers.put}
_CREATED = {"layer": layers.created, "image": images.created, "container": containers.created}


def fold(rows: Rows, event: Any, meta: Meta) -> Iterable[RowChange]:
    """Row changes of one event of the commit *meta*."""
    handler = _HANDLERS.get(event["type"])
    if handler is None:
        raise UnknownFormat(what=f"event {event['type']!r}", found="unknown", known="its own events")
    return handler(rows, event, meta)


def _store_created(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    yield key("store", "genesis"), event


def _create(kind: str) -> Callable[[Rows, Row, Meta], Iterator[RowChange]]:
    def created(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
        order = (meta.sequence << ORDER_BITS) + meta.place
        yield from PUT[kind](rows, get(rows, kind, event["id"]), _CREATED[kind](event, meta.sequence, meta.time_ns, order))

    return created


def _delete(kind: str) -> Callable[[Rows, Row, Meta], Iterator[RowChange]]:
    def deleted(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
        old = get(rows, kind, event["id"])
        if old is not None:
            yield from PUT[kind](rows, old, None)
            yield from trash.thrown(kind, old, event["kept"], meta.sequence, meta.time_ns)

    return deleted


def _restore(kind: str) -> Callable[[Rows, Row, Meta], Iterator[RowChange]]:
    def restored(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
        thrown = trash.get(rows, kind, event["deleted_at"], event["id"])
        if thrown is not None:
            yield from trash.taken_out(rows, kind, event["deleted_at"], event["id"])
            yield from PUT[kind](rows, get(rows, kind, event["id"]), {**thrown["row"], "changed": meta.sequence})
            yield key("gone", kind, event["id"]), None

    return restored


def _edit(change: Callable[[Row, Row], dict[str, object]]) -> Callable[[Rows, Row, Meta], Iterator[RowChange]]:
    """A handler that sets fields of the item that the event names."""

    def edit(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
        old = get(rows, event["kind"], event["id"])
        if old is not None:
            new = edited(old, meta.sequence, **change(old, event))
            yield from PUT[event["kind"]](rows, old, images.with_digest(new) if event["kind"] == "image" else new)

    return edit


def _names_set(row: Row, event: Row) -> dict[str, object]:
    fields: dict[str, object] = {"names": event["names"]}
    if event["kind"] == "image" and not event.get("lost"):
        # the original puts one name after the other in front, so that the list of one update stands reversed
        fields["names_history"] = list(dict.fromkeys([*reversed(event["names"]), *row.get("names_history", ())]))
    return fields


def _big_data_set(row: Row, event: Row) -> dict[str, object]:
    return {"big_data": {**row.get("big_data", {}), event["key"]: {"blob": event["blob"], "size": event["size"]}}}


def _big_data_removed(row: Row, event: Row) -> dict[str, object]:
    return {"big_data": {item: ref for item, ref in row.get("big_data", {}).items() if item != event["key"]}}


def _mapped_layers_set(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    old = get(rows, "image", event["id"])
    if old is not None:
        yield from images.put(rows, old, edited(old, meta.sequence, mapped_layers=event["mapped_layers"]))


def _layer_keyed(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    old = get(rows, "layer", event["id"])
    if old is not None:
        yield from layers.put(rows, old, edited(old, meta.sequence, keys=[*old.get("keys", ()), event["key"]]))


def _trash_freed(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    for entry in event["entries"]:
        sequence, item_id = trash.split_entry(entry)
        for kind in PUT:
            yield from trash.taken_out(rows, kind, sequence, item_id)


def _store_wiped(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    for kind in ("container", "image", "layer"):
        for _, old in rows.scan(prefix(kind)):
            yield from PUT[kind](rows, old, None)
            yield from trash.thrown(kind, old, event.get("kept", True), meta.sequence, meta.time_ns)


def _rows_restated(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    for found, value in event["rows"].items():
        yield found.encode("utf-8", "surrogateescape"), value


def _journal_compacted(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    yield key("store", "compacted"), {**event, "sequence": meta.sequence, "time_ns": meta.time_ns}


def _store_migrated(rows: Rows, event: Row, meta: Meta) -> Iterator[RowChange]:
    """The old tree waits in the trash like a deleted layer."""
    entry = f"old-tree-{event['old']}"
    yield key("store", "driver"), {"driver": event["new"], "old": event["old"], "sequence": meta.sequence, "entry": entry}
    row = {"id": entry, "created_ns": meta.time_ns, "order": meta.sequence << ORDER_BITS, "changed": meta.sequence, "generation": 0}
    row["flags"] = {"OldTree": event["old"]}
    yield from trash.thrown("layer", row, True, meta.sequence, meta.time_ns)


_HANDLERS: dict[str, Callable[[Rows, Row, Meta], Iterator[RowChange]]] = {
    "StoreCreated": _store_created,
    "LayerCreated": _create("layer"),
    "ImageCreated": _create("image"),
    "ContainerCreated": _create("container"),
    "LayerDeleted": _delete("layer"),
    "ImageDeleted": _delete("image"),
    "ContainerDeleted": _delete("container"),
    "LayerRestored": _restore("layer"),
    "ImageRestored": _restore("image"),
    "ContainerRestored": _restore("container"),
    "LayerDiffApplied": lambda rows, event, meta: layers.diff_applied(rows, event, meta.sequence),
    "LayerOpenedForWriting": lambda rows, event, meta: layers.opened(rows, event, meta.sequence),
    "LayerKeyed": _layer_keyed,
    "ImageMappedLayersSet": _mapped_layers_set,
    "NamesSet": _edit(_names_set),
    "MetadataSet": _edit(lambda row, event: {"metadata": event["metadata"]}),
    "FlagsSet": _edit(lambda row, event: {"flags": event["flags"]}),
    "BigDataSet": _edit(_big_data_set),
    "BigDataRemoved": _edit(_big_data_removed),
    "Pinned": _edit(lambda row, event: {"pins": [*row.get("pins", ()), event["pin"]]}),
    "Unpinned": _edit(lambda row, event: {"pins": [pin for pin in row.get("pins", ()) if pin != event["pin"]]}),
    "TrashFreed": _trash_freed,
    "StoreWiped": _store_wiped,
    "StoreMended": lambda rows, event, meta: iter(()),
    "RowsRestated": _rows_restated,
    "StoreMigrated": _store_migrated,


    "JournalCompacted": _journal_compacted,
    "Mounted": lambda rows, event, meta: mounts.mounted(rows, event),
    "Unmounted": lambda rows, event, meta: mounts.unmounted(rows, event),
}
