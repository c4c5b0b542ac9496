"""Reading a state: the present one, or any past one.

``View`` needs rows and, for the bytes of big data, a blob store. ``Store`` is a View of the present;
``store.at(when)`` gives a View of the past with the same methods.
"""

from __future__ import annotations

from contextlib import contextmanager

from layerlog.decide.common import KINDS, UNKNOWN, lookup, need, need_any
from layerlog.eventstore.errors import BigDataUnknown
from layerlog.eventstore.rows import uncollected
from layerlog.projections import images, layers, mounts
from layerlog.projections.items import Row, every, get
from layerlog.records import RECORD, Container, Image, Layer, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import IO, TypeVar

    from layerlog.core import Core
    from layerlog.eventstore.blobs import Blobs
    from layerlog.eventstore.rows import Rows

    R = TypeVar("R", bound=Record)

ANY_ORDER = KINDS
"""metadata, names and exists look a word up in this order (contract/cli.md §3)."""


class View:
    """All questions about one state. Every ``asked`` is an ID, a name, or a unique prefix of an ID."""

    blobs: Blobs

    def reading(self) -> AbstractContextManager[Rows]:
        """Rows that do not change while the block runs."""
        raise NotImplementedError

    def blobs_with(self, digest: str) -> Blobs:
        """Where the bytes of a blob are: here, or in a store that is looked into."""
        return self.blobs

    # --- lists, in order of creation

    def layers(self) -> list[Layer]:
        return self._every(Layer)

    def images(self) -> list[Image]:
        return self._every(Image)

    def containers(self) -> list[Container]:
        return self._every(Container)

    def _every(self, made: type[R]) -> list[R]:
        with self.reading() as rows, uncollected():
            return [made(row) for row in every(rows, made.kind)]

    def images_by_digest(self, digest: str) -> list[Image]:
        """Images whose explicit digest or one of whose manifests is *digest*."""
        with self.reading() as rows:
            found = [get(rows, "image", image_id) for image_id in images.by_digest(rows, digest)]
            return [Image(row) for row in sorted((row for row in found if row), key=lambda row: (row.get("place", 0), row["order"]))]

    def layers_by_digest(self, digest: str, which: str = "diff") -> list[Layer]:
        """Layers by digest; *which* is ``diff`` (uncompressed), ``archive`` (as it came) or ``toc``."""
        with self.reading() as rows:
            found = [get(rows, "layer", layer_id) for layer_id in layers.with_digest(rows, which, digest)]
            return [Layer(row) for row in found if row]

    def children(self, layer_id: str) -> list[str]:
        """IDs of the layers right above one."""
        with self.reading() as rows:
            return layers.children(rows, layer_id)

    def chain(self, layer_id: str) -> list[str]:
        """IDs of a layer's ancestors, nearest first."""
        with self.reading() as rows:
            return layers.chain(rows, layer_id)

    # --- one thing

    def layer(self, asked: str) -> Layer:
        """Raises LayerUnknown."""
        return Layer(self._one("layer", asked))

    def image(self, asked: str) -> Image:
        """Raises ImageUnknown."""
        return Image(self._one("image", asked))

    def container(self, asked: str) -> Container:
        """Also found by the ID of its layer. Raises ContainerUnknown."""
        return Container(self._one("container", asked))

    def _one(self, kind: str, asked: str) -> Row:
        with self.reading() as rows:
            return need(rows, kind, asked)

    def item(self, asked: str, kind: str | None = None) -> Record:
        """A layer, image or container, in this order. Raises ItemUnknown, or the kind's own error."""
        with self.reading() as rows:
            found_kind, row = need_any(rows, asked, ANY_ORDER) if kind is None else (kind, need(rows, kind, asked))
            return RECORD[found_kind](row)

    def exists(self, asked: str, kind: str | None = None) -> bool:
        """Whether *asked* means something of that kind, or of any."""
        with self.reading() as rows:
            return any(lookup(rows, one, asked) is not None for one in ((kind,) if kind else ANY_ORDER))

    def names(self, asked: str, kind: str | None = None) -> list[str]:
        """Names of a thing, newest first."""
        return self.item(asked, kind).names

    def metadata(self, asked: str, kind: str | None = None) -> str:
        """Its free text."""
        return self.item(asked, kind).metadata

    # --- big data

    def big_data_keys(self, kind: str, asked: str) -> list[str]:
        """Keys in order of first setting."""
        return list(self._one(kind, asked).get("big_data", {}))

    def big_data_ref(self, kind: str, asked: str, item: str) -> tuple[str, int]:
        """Digest and size of an item. Raises BigDataUnknown."""
        row = self._one(kind, asked)
        ref = row.get("big_data", {}).get(item)
        if ref is None:
            raise BigDataUnknown(kind=kind, id=row["id"], key=item)
        return ref["blob"], ref["size"]

    def big_data(self, kind: str, asked: str, item: str) -> bytes:
        """The bytes of an item, verified. Raises BigDataUnknown, BlobMissing, DigestMismatch."""
        digest = self.big_data_ref(kind, asked, item)[0]
        return self.blobs_with(digest).read(digest)

    def open_big_data(self, kind: str, asked: str, item: str) -> IO[bytes]:
        """The same as an open file, not verified."""
        digest = self.big_data_ref(kind, asked, item)[0]
        return self.blobs_with(digest).open(digest)

    def big_data_size(self, kind: str, asked: str, item: str) -> int:
        return self.big_data_ref(kind, asked, item)[1]

    def big_data_digest(self, kind: str, asked: str, item: str) -> str:
        return self.big_data_ref(kind, asked, item)[0]

    # --- mounts

    def mounts(self) -> list[tuple[str, str, int]]:
        """(layer ID, mount point, count) of everything mounted."""
        with self.mount_rows() as rows:
            return [(row["id"], row["path"], row["count"]) for row in mounts.every(rows)]

    @contextmanager
    def mount_rows(self) -> Iterator[Rows]:
        """Rows of the run journal; a past state has none."""
        from layerlog.eventstore.rows import Table

        yield Table()


class PastView(View):
    """The store as it was right after commit ``sequence``. Files of layers are as they are now.

    *core*: the open store, where it looks into others; those are shown as they are now.
    """

    def __init__(self, rows: Rows, blobs: Blobs, sequence: int, time_ns: int, core: Core | None = None) -> None:
        self._rows, self.blobs, self.sequence, self.time_ns, self._core = rows, blobs, sequence, time_ns, core

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        if self._core is None:
            yield self._rows
            return
        with self._core.elsewhere() as under:
            yield under(self._rows)

    def blobs_with(self, digest: str) -> Blobs:
        return self.blobs if self._core is None else self._core.blobs_with(digest)


__all__ = ["UNKNOWN", "PastView", "View"]
