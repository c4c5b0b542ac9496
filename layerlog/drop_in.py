"""What the original's Store offers beside the rest, for programs that are moved over: the same questions, a line each.

``docs/parity.md`` maps every method of the original's interface to ours.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from layerlog.core import Core
from layerlog.decide.common import need
from layerlog.eventstore import disk
from layerlog.eventstore.errors import ContainerUnknown, InvalidRequest
from layerlog.projections import images as image_rows
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every, get
from layerlog.records import Container, Image, Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class DropInMethods(Core):
    """Look-ups, files beside containers, locks by digest."""

    # --- look-ups

    def lookup(self, asked: str) -> str:
        """The ID of what *asked* (name, ID or prefix) means: a layer, an image or a container, in this order. Raises ItemUnknown."""
        return self.item(asked).id

    def layers_by_compressed_digest(self, digest: str) -> list[Layer]:
        """Layers that were made from an archive with that digest, as it came."""
        return self.layers_by_digest(digest, "archive")

    def layers_by_uncompressed_digest(self, digest: str) -> list[Layer]:
        """Layers with that diff ID."""
        return self.layers_by_digest(digest, "diff")

    def layers_by_toc_digest(self, digest: str) -> list[Layer]:
        """Layers whose table of contents has that digest."""
        return self.layers_by_digest(digest, "toc")

    def layer_size(self, asked: str) -> int:
        """Recorded bytes of the layer's uncompressed diff; -1 for a layer that no diff was applied to. Raises LayerUnknown."""
        contents = self.layer(asked).contents
        return contents.diff_size if contents else -1

    def images_by_top_layer(self, asked: str) -> list[Image]:
        """Images whose top layer, or a mapped copy of it, is that layer; in order of creation. Raises LayerUnknown."""
        with self.reading() as rows:
            layer_id = need(rows, "layer", asked)["id"]
            return [Image(row) for row in every(rows, "image") if layer_id in image_rows.top_layers(row)]

    def container_by_layer(self, asked: str) -> Container:
        """The container that owns a layer. Raises LayerUnknown, ContainerUnknown."""
        with self.reading() as rows:
            owner = layer_rows.container_of(rows, need(rows, "layer", asked)["id"])
            row = get(rows, "container", owner) if owner else None
        if row is None:
            raise ContainerUnknown(asked=asked)
        return Container(row)

    def lists(self) -> tuple[list[Layer], list[Image], list[Container]]:
        """All layers, images and containers of one instant."""
        with self.reading() as rows:
            return (
                [Layer(row) for row in every(rows, "layer")],
                [Image(row) for row in every(rows, "image")],
                [Container(row) for row in every(rows, "container")],
            )

    def version(self) -> list[tuple[str, str]]:
        """What this is, as pairs."""
        from layerlog.version import __version__

        return [("Version", __version__)]

    # --- files beside a container

    def set_container_directory_file(self, asked: str, file: str, data: bytes) -> None:
        """Write a file below the container's own folder, replacing it whole. Durable on return. Raises ContainerUnknown, InvalidRequest."""
        _write(self.container_dir(asked), file, data, self.root)

    def from_container_directory(self, asked: str, file: str) -> bytes:
        """Read such a file. Raises ContainerUnknown, InvalidRequest, FileNotFoundError."""
        return _read(self.container_dir(asked), file)

    def set_container_run_directory_file(self, asked: str, file: str, data: bytes) -> None:
        """The same below the run root: gone with the next boot."""
        _write(self.container_run_dir(asked), file, data)

    def from_container_run_directory(self, asked: str, file: str) -> bytes:
        """Read such a file."""
        return _read(self.container_run_dir(asked), file)

    def container_dir(self, asked: str) -> str:
        """See containers.py."""
        raise NotImplementedError

    def container_run_dir(self, asked: str) -> str:
        """See containers.py."""
        raise NotImplementedError

    # --- whole store

    @contextmanager
    def digest_lock(self, digest: str) -> Iterator[None]:
        """One at a time for each digest, over all threads and processes of this boot: for callers that would otherwise do
        the same work twice. Raises InvalidDigest.
        """
        from layerlog.eventstore.ids import check_digest
        from layerlog.eventstore.locks import FileLock

        folder = os.path.join(self.run_root, f"{self.driver_name}-locks")
        path = os.path.join(folder, check_digest(digest))
        disk.make_folders(folder)
        with FileLock(path):
            yield

    def dedup(self, method: str = "crc") -> int:
        """Let equal files of all image layers share their blocks, where the file system can (btrfs, xfs): vfs and overlay only.

        Returns the bytes that are shared, by this call or an earlier one. *method*, ``crc``, ``size`` or ``sha256``, only says
        how candidates are found: the kernel compares them. Raises InvalidRequest.
        """
        from layerlog.drivers.sharing import METHODS, share_equal_files

        if method not in METHODS:
            raise InvalidRequest(f"invalid hash method: {method}")
        self.must_write()
        if self.driver_name not in ("vfs", "overlay"):
            return 0
        with self.reading() as rows:
            tops = [top for row in every(rows.own, "image") for top in image_rows.top_layers(row)]
            chain = dict.fromkeys(one for top in tops for one in (top, *layer_rows.chain(rows, top)))
            own = [layer_id for layer_id in chain if get(rows.own, "layer", layer_id) is not None]
        roots = [self.driver.path(layer_id) for layer_id in own if self.driver.exists(layer_id)]
        return share_equal_files([os.path.join(root, "diff") if self.driver_name == "overlay" else root for root in roots], method)


def _inside(folder: str, file: str) -> str:
    """*file* below *folder*; nothing else than a plain relative path. Raises InvalidRequest."""
    parts = file.split("/")
    if not file or "\0" in file or any(part in ("", ".", "..") for part in parts):
        raise InvalidRequest(f"{file[:80]!r} is no path below a folder")
    return os.path.join(folder, *parts)


@disk.typed
def _write(folder: str, file: str, data: bytes, top: str = "") -> None:
    """*top*: the store's root, if the file is to outlive a power cut: the names of all folders below it are flushed, whoever made them."""
    from layerlog.drivers import durable

    path = _inside(folder, file)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    beside = f"{path}.{os.urandom(6).hex()}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as written:
            written.write(data)
            written.flush()
            os.fsync(fd)
        durable.rename(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):  # renamed already
            os.unlink(beside)
        raise
    above = os.path.dirname(path)
    durable.sync_folder(above)
    while top and above != top:
        above = os.path.dirname(above)
        durable.sync_folder(above)


def _read(folder: str, file: str) -> bytes:
    fd = os.open(_inside(folder, file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as found:
        return found.read()
