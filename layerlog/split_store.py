"""A split store: images and read-only layers in one root, containers and writable layers in another.

Two ordinary stores that look into each other: the root, which this class is, and ``images_half``, a Store over the image
root that also opens alone. Every change is one commit of the half whose thing it is; what refers across is decided
under one lease (``change.SPLIT_LEASE``), so that no container appears on an image that is just being deleted. What is
referred to commits first when things are made and last when they are deleted: a crash in between leaves something
unused, never something dangling (CRASH.md §7). History, trash and undo are those of each half.
"""

from __future__ import annotations

import os

from layerlog import change
from layerlog.decide.common import lookup, need
from layerlog.decide.layers import deleted, unused_from
from layerlog.decide.names import renamed
from layerlog.eventstore.errors import InvalidRequest, ItemUnknown, NotFound, NotInTrash, NotSupported
from layerlog.projections import images as image_rows
from layerlog.projections.items import get
from layerlog.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any, BinaryIO

    from layerlog.asking import Tenure
    from layerlog.core import Core
    from layerlog.findings import Finding
    from layerlog.history import WhyGone
    from layerlog.housekeeping import Collected
    from layerlog.records import Image, Layer, Record
    from layerlog.trashing import Thrown

IMAGE_STORE = "Image Store"
KINDS = ("layer", "image", "container")


class SplitStore(Store):
    """See the module. ``Store(root, image_store=DIR)`` makes one."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        run_root: str | os.PathLike[str] | None = None,
        driver: str | None = None,
        *,
        image_store: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        assert image_store is not None
        places = [os.path.realpath(os.path.expanduser(os.fspath(one))) for one in (root, image_store)]
        if places[0] == places[1]:
            raise InvalidRequest(f"imagestore {places[1]} must either be not set or be a different than graphroot")
        super().__init__(root, run_root, driver, **options)
        try:
            self.images_half = Store(image_store, self.run_root, self.driver_name, **options)
        except BaseException:
            self.close()
            raise
        self.images_half.terms = self.images_half.terms.of_other_half()
        self.join(self.images_half, images_there=True)
        self.images_half.join(self)

    # --- both halves

    def given(self, **terms: Any) -> SplitStore:
        """See ``Store.given``."""
        other = super().given(**terms)
        assert isinstance(other, SplitStore)
        other.images_half = self.images_half.given(**terms)
        return other

    def plainly(self) -> SplitStore:
        other = super().plainly()
        if other is not self:
            other.images_half = self.images_half.plainly()
        return other

    def close(self) -> None:
        half = self.__dict__.get("images_half")
        try:
            super().close()
        finally:
            if half is not None:
                half.close()

    @property
    def halves(self) -> list[Core]:
        return [self, self.images_half]

    @property
    def image_core(self) -> Store:
        return self.images_half

    def transaction(self, reason: str = "", key: str | None = None) -> Any:
        """Raises NotSupported: one commit is of one half; ``images_half.transaction()`` is one over images."""
        raise NotSupported("a transaction over both halves of a split store: take that of store.images_half, or of the root alone")

    def _home(self, asked: str, kind: str | None) -> Store:
        """The half that holds what *asked* means to a change of *kind* of thing, or of any; images of both are found in the image half."""
        with self.reading() as rows:
            for one in (kind,) if kind else KINDS:
                row = lookup(rows, one, asked)
                if row is not None and not row.get("read_only"):
                    return self.images_half if self._is_there(row) else self._root_half
        return self._root_half

    def _is_there(self, row: dict[str, Any]) -> bool:
        return bool(row.get("borrowed", {}).get("root") == self.images_half.root)

    @property
    def _root_half(self) -> Store:
        """The root's own methods, past those of this class."""
        return super()  # type: ignore[return-value]

    # --- images live in the image half

    def images(self) -> list[Image]:
        return self.images_half.images()

    def image(self, asked: str) -> Image:
        return self.images_half.image(asked)

    def images_by_digest(self, digest: str) -> list[Image]:
        return self.images_half.images_by_digest(digest)

    def create_image(self, *arguments: Any, **options: Any) -> Image:
        return self.images_half.create_image(*arguments, **options)

    def load(self, *arguments: Any, **options: Any) -> Image:
        return self.images_half.load(*arguments, **options)

    def load_all(self, *arguments: Any, **options: Any) -> list[Image]:
        return self.images_half.load_all(*arguments, **options)

    def import_dir(self, *arguments: Any, **options: Any) -> Image:
        return self.images_half.import_dir(*arguments, **options)

    def import_tar(self, *arguments: Any, **options: Any) -> Image:
        return self.images_half.import_tar(*arguments, **options)

    def tag(self, image: str | Record, name: str) -> Image:
        return self.images_half.tag(image, name)

    def untag(self, name: str) -> None:
        self.images_half.untag(name)

    def image_dir(self, asked: str) -> str:
        return self.images_half.image_dir(asked)

    def delete_image(self, asked: str, *, test: bool = False) -> list[str]:
        """See ``Store.delete_image``. The record goes first, then its layers, top first, each run of them in its half."""
        with self.reading() as rows:
            row = need(rows, "image", asked)
            planned = self._unused(row, rows)
        home = self.images_half if self._is_there(row) else self._root_half
        if test:
            home.delete_image(row["id"], test=True)
            return planned
        gone = home.delete_image(row["id"])
        for top in planned:
            if top not in gone:
                gone += self._delete_unused(top, row["id"])
        return gone

    def _unused(self, image: dict[str, Any], rows: Any) -> list[str]:
        """Layers of both halves that only *image* needs, top first."""
        found: list[str] = []
        for top in (*image.get("mapped_layers", ()), image.get("layer")):
            while top:
                run: list[str] = []
                for half in (self.images_half, self._root_half):
                    with half.reading() as seen:
                        run = run or unused_from(seen, top, image["id"], (), found)
                if not run:
                    break
                found += run
                top = (get(rows, "layer", run[-1]) or {}).get("parent")
        return found

    def _delete_unused(self, layer_id: str, image_id: str) -> list[str]:
        kept = self.retention_seconds > 0
        half: Store = self.images_half if self.images_half.has_layer(layer_id) else self
        busy = half.busy([layer_id])

        def decide(rows: Any) -> list[Any]:
            return [deleted("layer", one, kept) for one in unused_from(rows, layer_id, image_id, busy)[:1]]

        return [event["id"] for event in change.remove(half, decide, f"delete-image {image_id}: {layer_id}").events]

    # --- layers live where they were made

    def create_layer(self, parent: str = "", *, read_only: bool = False, **fields: Any) -> Layer:
        return (self.images_half if read_only else self._root_half).create_layer(parent, **fields)

    def import_layer(self, stream: IO[bytes], parent: str = "", *, read_only: bool = False, **fields: Any) -> Layer:
        return (self.images_half if read_only else self._root_half).import_layer(stream, parent, **fields)

    def apply_diff(self, asked: str, stream: IO[bytes], progress: Any = None) -> Layer:
        return self._home(asked, "layer").apply_diff(asked, stream, progress)

    def delete_layer(self, asked: str) -> None:
        self._home(asked, "layer").delete_layer(asked)

    def delete(self, asked: str) -> None:
        with self.reading() as rows:
            kinds = [one for one in ("container", "image", "layer") if lookup(rows, one, asked) is not None]
        self._home(asked, kinds[0] if kinds else None).delete(asked)

    def mount(self, asked: str, *, read_only: bool = False, **options: Any) -> str:
        return self._mounting(asked).mount(asked, read_only=read_only, **options)

    def unmount(self, asked: str, force: bool = False) -> bool:
        return self._mounting(asked).unmount(asked, force)

    def mount_count(self, asked: str) -> int:
        return self._mounting(asked).mount_count(asked)

    def _mounting(self, asked: str) -> Store:
        """The half of a container, else of a layer, else of an image's top layer."""
        with self.reading() as rows:
            row = lookup(rows, "container", asked) or lookup(rows, "layer", asked)
            if row is None and (image := lookup(rows, "image", asked)) is not None:
                tops = image_rows.top_layers(image)
                row = get(rows, "layer", tops[0]) if tops else None
        return self.images_half if row is not None and self._is_there(row) else self._root_half

    def forget_mount(self, layer_id: str) -> None:
        (self.images_half if self.images_half.has_layer(layer_id) else self._root_half).forget_mount(layer_id)

    # --- what every kind has

    def _rename(self, asked: str, kind: str | None, edit: str, names: Iterable[str]) -> list[str]:
        with self.reading() as rows:
            try:
                found_kind, row = renamed(rows, asked, (kind,) if kind else KINDS)
            except NotFound:
                found_kind, row = "layer", lookup(rows, "layer", asked) or {}
        there = found_kind == "image" or self._is_there(row)
        return (self.images_half if there else self._root_half)._rename(asked, found_kind if row else kind, edit, names)

    def set_metadata(self, asked: str, metadata: str, kind: str | None = None) -> None:
        self._home(asked, kind).set_metadata(asked, metadata, kind)

    def set_big_data(self, kind: str, asked: str, item: str, data: bytes | BinaryIO) -> None:
        self._home(asked, kind).set_big_data(kind, asked, item, data)

    def remove_big_data(self, kind: str, asked: str, item: str) -> None:
        self._home(asked, kind).remove_big_data(kind, asked, item)

    def pin(self, asked: str, word: str = "pinned", kind: str | None = None) -> None:
        self._home(asked, kind).pin(asked, word, kind)

    def unpin(self, asked: str, word: str = "pinned", kind: str | None = None) -> None:
        self._home(asked, kind).unpin(asked, word, kind)

    # --- the whole store

    def status(self) -> list[tuple[str, str]]:
        """See ``Store.status``; where images are stands after the roots."""
        rows = super().status()
        return [*rows[:2], (IMAGE_STORE, self.images_half.root), *rows[2:]]

    def trash(self) -> list[Thrown]:
        return sorted([*super().trash(), *self.images_half.trash()], key=lambda one: one.time_ns)

    def restore(self, asked: str, kind: str | None = None) -> Record:
        """See ``Store.restore``; of the image half where the root has nothing by that word."""
        try:
            return super().restore(asked, kind)
        except NotInTrash:
            return self.images_half.restore(asked, kind)

    def why_gone(self, asked: str) -> WhyGone:
        """See ``Store.why_gone``; of the image half where the root knows of nothing by that word."""
        try:
            return super().why_gone(asked)
        except ItemUnknown:
            return self.images_half.why_gone(asked)

    def blame(self, name: str, kind: str | None = None) -> list[Tenure]:
        """See ``Store.blame``: of both halves, each with the commits of its own journal, oldest first."""
        both = [*super().blame(name, kind), *self.images_half.blame(name, kind)]
        return sorted(both, key=lambda one: one.since.time_ns)

    def empty_trash(self, older_than_seconds: float = 0.0) -> list[Thrown]:
        return [*super().empty_trash(older_than_seconds), *self.images_half.empty_trash(older_than_seconds)]

    def gc(self) -> Collected:
        found, there = super().gc(), self.images_half.gc()
        found.lost += there.lost
        found.folders += there.folders
        found.blob_bytes += there.blob_bytes
        found.trash += there.trash
        return found

    def check(self, **options: Any) -> Iterator[Finding]:
        """See ``Store.check``: both halves, what both tell once."""
        told: set[tuple[str, str, str]] = set()
        for half in (self._root_half, self.images_half):
            for one in half.check(**options):
                if (one.kind, one.id, one.message) not in told:
                    told.add((one.kind, one.id, one.message))
                    yield one

    def wipe(self) -> None:
        """Containers first, then the image half, then what is left in the root."""
        for container in self.containers():
            self.delete_container(container.id)
        self.images_half.wipe()
        super().wipe()
