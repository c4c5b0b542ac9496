"""A small ledger to test on: a fold that keeps names by ID, and builders with sane defaults."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from layerlog.eventstore.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.rows import Rows
    from layerlog.eventstore.state import Meta

ENVELOPE: dict[str, Any] = {"uid": 0, "pid": 1, "program": "test", "host": "here", "boot": "b" * 32}
GENESIS = {"type": "StoreCreated", "store_id": "5" * 64, "format": 1, "driver": "vfs", "options": [], "durability": "full"}


def fold(rows: Rows, event: Any, meta: Meta) -> Iterator[tuple[bytes, Any]]:
    """NamesSet puts a row and an index row for each name; LayerDeleted takes them away."""
    key = b"layer\0" + str(event.get("id", "")).encode()
    if event["type"] == "NamesSet":
        old = rows.get(key)
        for name in old["names"] if old else []:
            yield b"name\0" + name.encode("utf-8", "surrogateescape"), None
        yield key, {"id": event["id"], "names": event["names"], "changed": meta.sequence}
        for name in event["names"]:
            yield b"name\0" + name.encode("utf-8", "surrogateescape"), event["id"]
    elif event["type"] == "LayerDeleted":
        old = rows.get(key)
        if old:
            yield key, None
            for name in old["names"]:
                yield b"name\0" + name.encode("utf-8", "surrogateescape"), None


def named(item: str, *names: str) -> dict[str, Any]:
    """The event that gives *item* those names."""
    return {"type": "NamesSet", "kind": "layer", "id": item, "names": list(names)}


def deleted(item: str) -> dict[str, Any]:
    """The event that deletes *item*."""
    return {"type": "LayerDeleted", "id": item, "kept": False}


def make(folder: os.PathLike[str] | str, commits: int = 0, **options: Any) -> Ledger:
    """A new ledger with some commits after its genesis."""
    ledger = Ledger.create(str(folder), GENESIS, fold=fold, envelope=ENVELOPE, **options)
    for number in range(commits):
        put(ledger, f"item-{number}", f"name-{number}")
    return ledger


def put(ledger: Ledger, item: str, *names: str, **options: Any) -> int:
    """Commit the names of an item; its sequence."""
    return ledger.commit(lambda rows: [named(item, *names)], envelope=ENVELOPE, **options).sequence


def rows_of(ledger: Ledger) -> dict[bytes, Any]:
    """Everything."""
    with ledger.reading() as rows:
        return dict(rows.scan(b""))


def first_segment(folder: os.PathLike[str] | str) -> str:
    """The path of segment 1."""
    return os.path.join(str(folder), "journal", "00000001-0000000000000001.segment")
