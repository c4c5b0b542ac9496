"""Stores on vfs that must be clean when a test is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from layerlog import Store
from layerlog.eventstore import codec
from layerlog.eventstore.schema import structure_frame
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class OpenStore(Protocol):
    """``open_store(retention=0)``: one more Store on the same root, closed when the test ends."""

    def __call__(self, folder: str = "root", **options: object) -> Store: ...


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever these tests make the library write is declared in ``eventstore/events.py``."""
    written = codec.Encoder.encode

    def encode(self: codec.Encoder, *arguments: Any, **more: Any) -> bytes:
        payload = written(self, *arguments, **more)
        structure_frame(payload)
        return payload

    monkeypatch.setattr(codec.Encoder, "encode", encode)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    """Opens stores below the test's folder; at its end each is looked through for what was left behind."""
    opened: list[Store] = []

    def one(folder: str = "root", **options: object) -> Store:
        store = Store(tmp_path / folder, tmp_path / f"{folder}-run", "vfs", **options)  # type: ignore[arg-type]
        opened.append(store)
        return store

    yield one
    for store in opened:
        store.close()
    for root in {store.root for store in opened}:
        with Store(root, root + "-run") as store:
            assert store.recovered == []
            assert left_behind(store) == []


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """An empty store."""
    return open_store()
