"""Where contents can be had again, by digest: the store itself, another store, an image archive or layout.

Whatever an offer gives is verified by whoever takes it.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, Protocol

from layerlog.contents import open_diff
from layerlog.eventstore.errors import StoreError
from layerlog.eventstore.genesis import SUFFIX
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import get
from layerlog.records import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.image_sources import Source


class Offer(Protocol):
    """Somebody who may have a layer or a data item."""

    where: str

    def layer(self, diff_digest: str) -> IO[bytes] | None:
        """The layer's tar, in any compression; None when it is not here."""

    def blob(self, digest: str) -> bytes | None:
        """A small document or data item."""

    def close(self) -> None: ...


def open_offer(path: str, core: Core) -> Offer:
    """An offer for what lies at *path*: a layerlog root, one of the original's, else what ``load`` takes.

    Raises InvalidImage, InvalidArchive, StoreError.
    """
    if os.path.isdir(path) and any(name.endswith(SUFFIX) for name in os.listdir(path)):
        from layerlog.store import Store

        return OtherStore(Store(path, read_only=True))
    from layerlog.original_source import OriginalRoot, driver_of

    if driver_of(path):
        return OriginalRoot(path)
    from layerlog.image_sources import open_source

    return Images(open_source(path, core.folder(), core.limits))


class Images:
    """An OCI layout, an oci-archive or a docker-archive."""

    def __init__(self, source: Source) -> None:
        self.where = source.where
        self._source = source
        self._layers: dict[str, Any] = {}
        self._blobs: dict[str, bytes] = {}
        from layerlog.oci import digest_of

        for found in source.images(""):
            self._layers.update(zip(found.diff_ids, found.layers, strict=True))
            self._blobs.update({digest_of(found.manifest): found.manifest, digest_of(found.config): found.config})

    def layer(self, diff_digest: str) -> IO[bytes] | None:
        descriptor = self._layers.get(diff_digest)
        return self._source.open_layer(descriptor) if descriptor is not None else None

    def blob(self, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    def close(self) -> None:
        self._source.close()


class OtherStore:
    """Another store, opened for reading."""

    def __init__(self, store: Any) -> None:
        self.where, self._store = store.root, store

    def layer(self, diff_digest: str) -> IO[bytes] | None:
        return layer_in(self._store, diff_digest, "")

    def blob(self, digest: str) -> bytes | None:
        try:
            return bytes(self._store.blobs.read(digest))
        except StoreError:
            return None

    def close(self) -> None:
        self._store.close()


class Itself:
    """The store that is repaired: an equal layer under another ID may be whole."""

    where = "this store"

    def __init__(self, core: Core) -> None:
        self._core = core

    def layer(self, diff_digest: str) -> IO[bytes] | None:
        return layer_in(self._core, diff_digest, diff_digest)

    def blob(self, digest: str) -> bytes | None:
        return None

    def close(self) -> None:
        """It stays open: it is not ours."""


def layer_in(core: Core, diff_digest: str, proven: str) -> IO[bytes] | None:
    """The tar of some layer of *core* with that digest. *proven*: read it through first, and only give one that is whole."""
    with core.reading() as rows:
        found = [row for one in layer_rows.with_digest(rows, "diff", diff_digest) if (row := get(rows, "layer", one))]
        chains = {row["id"]: layer_rows.chain(rows, row["id"]) for row in found}
    for row in found:
        if "opened" in row or not core.driver.exists(row["id"]):
            continue
        layer = Layer(row)
        if proven and not gives(core, layer, chains[layer.id], diff_digest):
            continue
        return Blocks(open_diff(core, layer, chains[layer.id], None, 0))  # type: ignore[return-value] # read is all that is used
    return None


def gives(core: Core, layer: Layer, chain: list[str], diff_digest: str) -> bool:
    """Whether the layer still gives a tar with that digest."""
    import hashlib

    total = hashlib.sha256()
    try:
        for block in open_diff(core, layer, chain, None, 0):
            total.update(block)
    except (StoreError, OSError, EOFError):
        return False
    return f"sha256:{total.hexdigest()}" == diff_digest


class Blocks(io.RawIOBase):
    """An iterator of blocks as a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._blocks, None)
            if piece is None:
                return 0
            self._rest = bytes(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
