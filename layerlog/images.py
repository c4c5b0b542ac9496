"""What Store offers about images."""

from __future__ import annotations

import os

from layerlog import change
from layerlog.contents import measured
from layerlog.core import Core
from layerlog.decide import images as decide
from layerlog.decide import names as decide_names
from layerlog.decide.common import need
from layerlog.decide.lending import lowers
from layerlog.eventstore.ids import check_digest, check_id, check_name, check_names, new_id
from layerlog.projections import images as image_rows
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import get
from layerlog.records import Image, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import IO, Any, BinaryIO

    from layerlog.images_in import Progress


class ImageMethods(Core):
    """Create, name, load and delete images."""

    def create_image(
        self,
        layer: str = "",
        *,
        id: str = "",
        names: Iterable[str] = (),
        digest: str = "",
        metadata: str = "",
        big_data: Mapping[str, bytes] | None = None,
        flags: dict[str, Any] | None = None,
    ) -> Image:
        """Make an image on a layer, or on none. Durable on return, its big data included.

        Raises LayerUnknown, DuplicateImageID, DuplicateImageName, InvalidID, InvalidName, InvalidDigest.
        """
        self.must_write()
        image_id, wanted = check_id(id) if id else new_id(), check_names(list(names))
        fields = {"digest": check_digest(digest) if digest else "", "metadata": metadata, "flags": flags}
        with self.stored(big_data, "image") as items:
            committed = change.commit(
                self,
                lambda rows: decide.create(rows, image_id, layer, wanted, big_data=items, **fields),
                f"create-image {layer} {id} {wanted}",
            )
        return Image(change.outcome(self, committed, "image", committed.events[0]["id"]))

    def delete_image(self, asked: str, *, test: bool = False) -> list[str]:
        """Delete an image and the layers that only it needed; return their IDs, top first.

        With *test* nothing is deleted. Layers that somebody works on stay. Durable on return; restorable
        within retention. Raises ImageUnknown, ImageUsedByContainer, Pinned.
        """
        kept = self.retention_seconds > 0
        with self.reading() as rows:
            planned = [event["id"] for event in decide.delete(rows, asked, kept) if event["type"] == "LayerDeleted"]
        if test:
            return planned
        self.must_write()
        busy = self.busy(planned)
        committed = change.remove(self, lambda rows: decide.delete(rows, asked, kept, busy), f"delete-image {asked}")
        return [event["id"] for event in committed.events if event["type"] == "LayerDeleted"]

    def image_size(self, asked: str) -> int:
        """Bytes of its distinct layers (as recorded, else measured) and of its big data (contract/cli.md §5)."""
        with self.reading() as rows:
            row = need(rows, "image", asked)
            tops = image_rows.top_layers(row)
            chain = dict.fromkeys(one for top in tops for one in (top, *layer_rows.chain(rows, top)))
            found = {one: get(rows, "layer", one) for one in chain}
        sizes = [self._layer_bytes(one, layer) for one, layer in found.items()]
        items: list[int] = [ref["size"] for ref in row.get("big_data", {}).values()]
        return sum(sizes) + sum(items)

    def _layer_bytes(self, layer_id: str, row: dict[str, Any] | None) -> int:
        contents = (row or {}).get("contents")
        if contents and contents.get("diff_digest"):
            size: int = contents["diff_size"]
            return size
        with self.reading() as rows:
            chain = lowers(rows, layer_id)
        return measured(self, layer_id, chain)

    def tag(self, image: str | Record, name: str) -> Image:
        """Add a name, taking it from its present holder, as podman and docker do."""
        self.must_write()
        with self.reading() as rows:
            found = need(rows, "image", image.id if isinstance(image, Record) else image)
        what = f"tag {found['id']} {check_name(name)}"
        committed = change.commit(self, lambda rows: decide_names.rename(rows, found["id"], "image", "add", [name]), what)
        return Image(change.outcome(self, committed, "image", found["id"]))

    def untag(self, name: str) -> None:
        """Take a name from the image that holds it; the image stays. Raises ImageUnknown."""
        self.must_write()
        change.commit(self, lambda rows: decide_names.untag(rows, name), f"untag {name}")

    def load(
        self,
        path: str | os.PathLike[str] | IO[bytes],
        names: Iterable[str] = (),
        *,
        name: str = "",
        image: str = "",
        progress: Progress | None = None,
        platform: str = "",
    ) -> Image:
        """Load one image from an OCI layout or archive, every digest verified while it streams.

        Layers that are here already are shared. Image, layers and names appear together, durable on
        return, or not at all. *path* may be a stream that only reads onward. *image* chooses one of several by its name in the
        archive or by its place (``@0``). *names* (one or several) and *name* replace the archive's own tags. *platform*
        (``linux/arm64``): which of an index. Raises InvalidImage (also for several images and none chosen), DigestMismatch, InvalidArchive.
        """
        from layerlog.images_in import load

        return load(self, path if not isinstance(path, os.PathLike) else os.fspath(path), _names(name, names), progress, platform, image)

    def load_all(self, path: str | os.PathLike[str] | IO[bytes], *, progress: Progress | None = None, platform: str = "") -> list[Image]:
        """Load every image of an archive under its own tags, a commit each: what is loaded before a failure stays.

        Raises what ``load`` raises.
        """
        from layerlog.images_in import load_all

        return load_all(self, path if not isinstance(path, os.PathLike) else os.fspath(path), progress, platform)

    def save(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        images: Iterable[str | Image] | str | Image,
        *,
        format: str = "oci-archive",
        compression: str | None = None,
        progress: Progress | None = None,
    ) -> list[Image]:
        """Write images to *path* as an ``oci-archive``, ``oci`` (a folder) or ``docker-archive``; durable on return, or not there.

        The same images give the same bytes; config, and with it the image's ID, and diffIDs stay as they are.
        Asked for by a name an image is saved under that name, by its ID under all its names. *compression* of
        layers: ``none``, ``gzip``, ``zstd``; None as the image had them. *path* may be a stream to write to, for an archive; what was
        written to it before a failure stays written. *progress* is told uncompressed bytes. Raises ImageUnknown, InvalidRequest,
        ContentsDamaged, and StoreError when *path* cannot be written.
        """
        from layerlog.images_out import save

        return save(self, path if not isinstance(path, os.PathLike) else os.fspath(path), images, format, compression, progress)

    def import_dir(
        self,
        path: str,
        names: Iterable[str] = (),
        *,
        name: str = "",
        parent: str = "",
        changes: Iterable[str] = (),
        message: str = "",
        platform: str = "",
        progress: Progress | None = None,
    ) -> Image:
        """Make an image of a folder of the host, as one layer on *parent* (an image or a layer); durable on return, or nothing is there.

        Owners, modes, times (whole seconds), xattrs, hard links, holes and devices are kept; sockets and files named ``.wh.…``,
        which mean deletions in every image format, are left out and told to *progress*. *changes*: instructions for the image's config
        (``ENV A=1``). Raises InvalidRequest, also when the folder changes while it is read; LayerUnknown.
        """
        from layerlog.importing import Wanted, import_dir

        return import_dir(self, path, Wanted(_names(name, names), parent, list(changes), message, platform), progress)

    def import_tar(
        self,
        file: IO[bytes],
        names: Iterable[str] = (),
        *,
        name: str = "",
        parent: str = "",
        changes: Iterable[str] = (),
        message: str = "",
        platform: str = "",
        progress: Progress | None = None,
    ) -> Image:
        """The same of a tar of a root file system, compressed or not. *file* may be a stream; then it is kept aside meanwhile.

        Raises InvalidArchive, ArchiveEscape, ArchiveLimit, InvalidRequest, LayerUnknown; then nothing is left.
        """
        from layerlog.importing import Wanted, import_tar

        return import_tar(self, file, Wanted(_names(name, names), parent, list(changes), message, platform), progress)


def _names(name: str, names: Iterable[str]) -> list[str]:
    """Checked names of one thing, given as one or as several."""
    return check_names([*([name] if name else []), *([names] if isinstance(names, str) else names)])
