"""A root that the original made (Podman's store) as a place where contents can be had again. It is read, never written or locked.

``<driver>-layers/layers.json`` names each layer's diff digest, ``<driver>-layers/<id>.tar-split.gz`` gives its tar from the
layer's own files; ``<driver>-images/<id>/`` holds manifests and configs. Whatever changes there meanwhile is told by the digest
that every taker of an offer compares. Source: containers/storage layers.go, images.go.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import IO, TYPE_CHECKING

from layerlog.drivers.choose import open_driver
from layerlog.drivers.tarsplit import reassemble
from layerlog.eventstore.errors import InvalidImage
from layerlog.oci import DOCUMENT_BYTES_MAX
from layerlog.repair_sources import Blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVERS = ("overlay", "vfs", "btrfs")


def driver_of(root: str) -> str:
    """The driver whose layers the original keeps in *root*; empty when it keeps none."""
    return next((name for name in DRIVERS if os.path.isfile(os.path.join(root, f"{name}-layers", "layers.json"))), "")


class OriginalRoot:
    """An ``Offer`` (repair_sources.py)."""

    def __init__(self, root: str) -> None:
        """Raises InvalidImage when its list of layers cannot be read."""
        self.where, self._name = root, driver_of(root)
        self._driver = open_driver(self._name, os.path.abspath(root))
        path = os.path.join(root, f"{self._name}-layers", "layers.json")
        try:
            with open(path, "rb") as file:
                self._layers = {str(one["diff-digest"]): str(one["id"]) for one in json.load(file) or () if one.get("diff-digest")}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidImage(where=path, why=f"no list of layers ({error})") from error
        self._documents = dict(self._read_documents())

    def _read_documents(self) -> Iterator[tuple[str, bytes]]:
        for where, _, names in os.walk(os.path.join(self.where, f"{self._name}-images")):
            for name in names:
                path = os.path.join(where, name)
                if os.path.isfile(path) and os.path.getsize(path) <= DOCUMENT_BYTES_MAX:
                    with open(path, "rb") as file:
                        data = file.read()
                    yield f"sha256:{hashlib.sha256(data).hexdigest()}", data

    def layer(self, diff_digest: str) -> IO[bytes] | None:
        layer_id = self._layers.get(diff_digest, "")
        record = os.path.join(self.where, f"{self._name}-layers", f"{layer_id}.tar-split.gz")
        if not layer_id or os.path.basename(layer_id) != layer_id or not os.path.isfile(record):
            return None
        return Blocks(self._tar(layer_id, record))  # type: ignore[return-value] # read is all that is used

    def _tar(self, layer_id: str, record: str) -> Iterator[bytes]:
        with open(record, "rb") as file:
            yield from reassemble(self._driver, layer_id, file)

    def blob(self, digest: str) -> bytes | None:
        return self._documents.get(digest)

    def close(self) -> None:
        """Nothing is held open."""
