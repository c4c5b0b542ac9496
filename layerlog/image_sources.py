"""Where images come from: a place with blobs and a list of manifests.

``open_source`` tells the format by content. A blob is given as a stream that is verified while it is read:
its last read raises DigestMismatch when the bytes are not what the descriptor says.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from typing import IO, Any, Protocol

from attrs import evolve, frozen

from layerlog import oci
from layerlog.eventstore.errors import DigestMismatch, InvalidImage


@frozen
class Found:
    """One image of a source: its manifest and config as bytes, its layers, the names it brings."""

    manifest: bytes
    config: bytes
    layers: list[oci.Descriptor]
    diff_ids: list[str]
    names: list[str]
    verify_layers: bool = True
    """False for a docker-archive: its layers have no digests of their own, only diffIDs."""


class Source(Protocol):
    """An opened archive or layout."""

    where: str

    def images(self, platform: str) -> list[Found]:
        """All images in it, one per tag; an index of platforms gives the one for *platform* (``linux/arm64/v8``)."""
        ...

    def open_layer(self, layer: oci.Descriptor) -> IO[bytes]:
        """The layer's archive as it is stored; the caller verifies what it unpacks."""
        ...

    def close(self) -> None: ...


class Blobs(Protocol):
    """Blobs by digest, wherever they lie."""

    where: str

    def open(self, descriptor: oci.Descriptor) -> IO[bytes]: ...

    def close(self) -> None: ...


def open_source(path: str, room: str = "") -> Source:
    """Open an OCI layout folder, an oci-archive or a docker-archive. *room*: a folder where one may be unpacked. Raises InvalidImage."""
    if os.path.isdir(path):
        return OCISource(FolderBlobs(path))
    if not os.path.exists(path):
        raise InvalidImage(where=path, why="no such file or directory")
    from layerlog.image_archives import open_archive

    return open_archive(path, room)


class FolderBlobs:
    """Blobs of an OCI layout folder. Links in it are followed: the folder is the caller's own."""

    def __init__(self, folder: str) -> None:
        self.where = folder
        if not os.path.isfile(os.path.join(folder, "oci-layout")):
            raise InvalidImage(where=folder, why="it is no OCI layout (no oci-layout file in it)")

    def read(self, name: str) -> bytes:
        """A document beside the blobs."""
        try:
            with open(os.path.join(self.where, name), "rb") as file:
                return file.read(oci.DOCUMENT_BYTES_MAX)
        except OSError as missing:
            raise InvalidImage(where=self.where, why=f"{name}: {missing.strerror}") from missing

    def open(self, descriptor: oci.Descriptor) -> IO[bytes]:
        """A blob by digest; digests were checked, so that they are safe in a path. Raises InvalidImage."""
        algorithm, _, digits = descriptor.digest.partition(":")
        try:  # O_NONBLOCK: a fifo in a blob's place must not hold us up
            fd = os.open(os.path.join(self.where, "blobs", algorithm, digits), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as missing:
            raise InvalidImage(where=self.where, why=f"blob {descriptor.digest} cannot be read: {missing.strerror}") from missing
        file = os.fdopen(fd, "rb")
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidImage(where=self.where, why=f"blob {descriptor.digest} is not a plain file")
            check_size(descriptor, found.st_size)
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        """Nothing is held open."""


class OCISource:
    """An OCI layout over blobs in a folder or in an archive."""

    def __init__(self, blobs: Any) -> None:
        self.blobs = blobs
        self.where: str = blobs.where

    def images(self, platform: str) -> list[Found]:
        index = oci.parse(self.blobs.read("index.json"), oci.Index, f"{self.where}/index.json")
        if not index.manifests:
            raise InvalidImage(where=self.where, why="its index names no image")
        return merged([self._named(group, platform) for group in _by_name(index.manifests).values()])

    def _named(self, group: list[oci.Descriptor], platform: str) -> Found:
        """The image that stands under one name; several with platforms are an index in all but form."""
        descriptor = group[0] if len(group) == 1 else choose_platform(oci.Index(group), platform, self.where)
        one = self._image(descriptor, platform, depth=0)
        name = _name_of(descriptor)
        return evolve(one, names=[name] if name else [])

    def _image(self, descriptor: oci.Descriptor, platform: str, depth: int) -> Found:
        data = self._document(descriptor)
        if descriptor.mediaType in oci.INDEX_TYPES and depth < 4:
            nested = oci.parse(data, oci.Index, descriptor.digest)
            return self._image(choose_platform(nested, platform, self.where), platform, depth + 1)
        if descriptor.mediaType and descriptor.mediaType not in oci.MANIFEST_TYPES:
            raise InvalidImage(where=self.where, why=f"{descriptor.digest} has unknown media type {descriptor.mediaType[:80]!r}")
        manifest = oci.parse(data, oci.Manifest, descriptor.digest)
        config_bytes = self._document(manifest.config)
        config = oci.parse(config_bytes, oci.Config, manifest.config.digest)
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            raise InvalidImage(
                where=descriptor.digest,
                why=f"{len(manifest.layers)} layers, but the config has {len(config.rootfs.diff_ids)} diff_ids",
            )
        return Found(data, config_bytes, manifest.layers, config.rootfs.diff_ids, [])

    def _document(self, descriptor: oci.Descriptor) -> bytes:
        """A small blob, whole and verified."""
        if descriptor.size > oci.DOCUMENT_BYTES_MAX:
            raise InvalidImage(where=descriptor.digest, why=f"a document of {descriptor.size} bytes is too large")
        with self.blobs.open(descriptor) as file:
            data: bytes = file.read(descriptor.size + 1)
        verify(descriptor, hashlib.new(descriptor.digest.partition(":")[0], data).hexdigest(), len(data))
        return data

    def open_layer(self, layer: oci.Descriptor) -> IO[bytes]:
        stream: IO[bytes] = self.blobs.open(layer)
        return stream

    def close(self) -> None:
        self.blobs.close()


def _name_of(descriptor: oci.Descriptor) -> str:
    return descriptor.annotations.get(oci.DOCKER_NAME) or descriptor.annotations.get(oci.REF_NAME, "")


def _by_name(manifests: list[oci.Descriptor]) -> dict[str, list[oci.Descriptor]]:
    """Descriptors by the image they stand for: those of one name with a platform each stand for one image."""
    groups: dict[str, list[oci.Descriptor]] = {}
    for descriptor in manifests:
        key = _name_of(descriptor) + ("" if descriptor.platform is not None else f" {descriptor.digest}")
        groups.setdefault(key, []).append(descriptor)
    return groups


def merged(found: list[Found]) -> list[Found]:
    """Each image once, with all its names."""
    by_config: dict[str, Found] = {}
    for one in found:
        digest = oci.digest_of(one.config)
        same = by_config.get(digest)
        by_config[digest] = evolve(one, names=[*same.names, *one.names]) if same else one
    return list(by_config.values())


def check_size(descriptor: oci.Descriptor, found: int) -> None:
    """Raise InvalidImage unless a blob of *found* bytes can be the descriptor's."""
    if found != descriptor.size:
        raise InvalidImage(where=descriptor.digest, why=f"{found} bytes, its descriptor says {descriptor.size}")


def verify(descriptor: oci.Descriptor, hexadecimal: str, size: int) -> None:
    """Raise DigestMismatch unless digest and size are the descriptor's."""
    algorithm = descriptor.digest.partition(":")[0]
    if f"{algorithm}:{hexadecimal}" != descriptor.digest:
        raise DigestMismatch(where=f"blob of {descriptor.size} bytes", expected=descriptor.digest, found=f"{algorithm}:{hexadecimal}")
    check_size(descriptor, size)


def choose_platform(index: oci.Index, platform: str, where: str) -> oci.Descriptor:
    """The manifest for a platform: ``os/architecture[/variant]``, empty for this machine's."""
    system, _, rest = (platform or f"linux/{machine_architecture()}").partition("/")
    architecture, _, variant = rest.partition("/")
    for one in index.manifests:
        found = one.platform or oci.Platform()
        if (found.os, found.architecture) == (system, architecture) and (not variant or found.variant == variant):
            return one
    offered = ", ".join(f"{one.platform.os}/{one.platform.architecture}" for one in index.manifests if one.platform) or "none"
    raise InvalidImage(where=where, why=f"no image for {platform or f'linux/{machine_architecture()}'}; it has {offered}")


def machine_architecture() -> str:
    """This machine's, in the words of image configs."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(machine, machine)


class SliceStream(io.RawIOBase):
    """A part of a file, read without moving anybody else's position."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._fd, self._offset, self._left = descriptor, offset, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._fd, min(len(buffer), self._left), self._offset)
        buffer[: len(data)] = data
        self._offset += len(data)
        self._left -= len(data)
        return len(data)
