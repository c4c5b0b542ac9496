"""Where images come from: a place with blobs and a list of manifests.

``open_source`` tells the format by content. A blob is given as a stream that is verified while it is read:
its last read raises DigestMismatch when the bytes are not what the descriptor says.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import evolve, frozen

from layerlog import oci
from layerlog.eventstore.errors import DigestMismatch, InvalidImage
from layerlog.image_refs import means

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.drivers.applying import Limits


_INDEX_DEPTH_MAX = 4
_VARIANT = {"arm": "v7", "arm64": "v8"}
"""What an architecture's images are for where they do not say: OCI image-spec, image-index.md."""
Group = TypeVar("Group")


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

    def images(self, platform: str, asked: str = "") -> list[Found]:
        """All images in it, or the one that is *asked* for (``image_refs``); an index of platforms gives the one for *platform*."""
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


def open_source(path: str | IO[bytes], room: str, limits: Limits) -> Source:
    """Open an OCI layout folder, an oci-archive or a docker-archive; or an archive that a stream gives.

    *room*: a folder where it may be unpacked; *limits*: how far. Raises InvalidImage.
    """
    from layerlog.image_archives import open_archive

    if not isinstance(path, str):
        return open_archive(path, room, limits)
    if os.path.isdir(path):
        return OCISource(FolderBlobs(path))
    if not os.path.exists(path):
        raise InvalidImage(where=path, why="no such file or directory")
    return open_archive(path, room, limits)


class NotAnImage(InvalidImage):
    """Something else that image layouts may hold: a signature, a chart, an attestation."""


class FolderBlobs:
    """Blobs of an OCI layout folder. Links in it are followed: the folder is the caller's own."""

    def __init__(self, folder: str) -> None:
        self.where = folder
        if not os.path.isfile(os.path.join(folder, "oci-layout")):
            raise InvalidImage(where=folder, why="it is no OCI layout (no oci-layout file in it); import makes an image of a folder")

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

    def images(self, platform: str, asked: str = "") -> list[Found]:
        index = oci.parse(self.blobs.read("index.json"), oci.Index, f"{self.where}/index.json")
        groups = picked(list(_by_name(index.manifests).values()), asked, lambda group: [_name_of(group[0])], self.where)
        if not groups:
            raise InvalidImage(where=self.where, why="its index names no image")
        found: list[Found] = []
        other: InvalidImage | None = None
        for group in groups:
            try:
                found.append(self._named(group, platform))
            except NotAnImage as artifact:  # a signature, a chart: whoever wants all images does not want it
                other = artifact
        if not found and other is not None:
            raise other
        return merged(found)

    def _named(self, group: list[oci.Descriptor], platform: str) -> Found:
        """The image that stands under one name; several with platforms are an index in all but form."""
        descriptor = group[0] if len(group) == 1 else choose_platform(oci.Index(group), platform, self.where)
        one = self._image(descriptor, platform, depth=0)
        name = _name_of(descriptor)
        return evolve(one, names=[name] if name else [])

    def _image(self, descriptor: oci.Descriptor, platform: str, depth: int) -> Found:
        if descriptor.mediaType and descriptor.mediaType not in (*oci.INDEX_TYPES, *oci.MANIFEST_TYPES):
            raise NotAnImage(where=self.where, why=f"{descriptor.digest} has unknown media type {descriptor.mediaType[:80]!r}")
        data = self._document(descriptor)
        kind = oci.kind_of(data, descriptor)
        if kind in oci.INDEX_TYPES:
            if depth >= _INDEX_DEPTH_MAX:
                raise InvalidImage(where=self.where, why="its indexes are nested too deeply")
            nested = oci.parse(data, oci.Index, descriptor.digest)
            return self._image(choose_platform(nested, platform, self.where), platform, depth + 1)
        manifest = oci.parse(data, oci.Manifest, descriptor.digest)
        known = oci.CONFIG_TYPES if kind == oci.MANIFEST else (*oci.CONFIG_TYPES, oci.OLD_CONFIG)
        if manifest.config.mediaType not in known:
            raise NotAnImage(where=descriptor.digest, why=f"it is no image, but a {manifest.config.mediaType[:80]!r}")
        if manifest.layers and all(oci.packed_as(one.mediaType) is None for one in manifest.layers):  # buildkit's attestations
            why = f"it is no image: {manifest.layers[0].mediaType[:80]!r} is no layer that can be unpacked"
            raise NotAnImage(where=descriptor.digest, why=why)
        config_bytes = self._document(manifest.config)
        config = oci.parse(config_bytes, oci.Config, manifest.config.digest)
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            raise InvalidImage(
                where=descriptor.digest,
                why=f"{len(manifest.layers)} layers, but the config has {len(config.rootfs.diff_ids)} diff_ids",
            )
        check_platform(config, platform, self.where)
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


def picked(groups: list[Group], asked: str, names: Callable[[Group], list[str]], where: str) -> list[Group]:
    """Those of *groups* that *asked* means: a name, or ``@N``; all of them for "". Raises InvalidImage when it means none."""
    if not asked:
        return groups
    if asked[:1] == "@" and asked[1:].isascii() and asked[1:].isdigit():
        found = groups[int(asked[1:7]) :][:1]
    else:
        found = [one for one in groups if asked in names(one)] or [one for one in groups if any(means(asked, name) for name in names(one))]
    if not found:
        offered = ", ".join(name for one in groups for name in names(one) if name) or f"{len(groups)} without a name (@0 is the first)"
        raise InvalidImage(where=where, why=f"no image {asked[:80]!r} in it; it has {offered}")
    return found


def choose_platform(index: oci.Index, platform: str, where: str) -> oci.Descriptor:
    """The manifest for a platform: ``os/architecture[/variant]``, empty for this machine's."""
    system, _, rest = (platform or f"linux/{machine_architecture()}").partition("/")
    architecture, _, variant = rest.partition("/")
    fitting = [
        one
        for one in index.manifests
        if one.platform is not None and (one.platform.os, one.platform.architecture) == (system, architecture)
        if not variant or (one.platform.variant or _VARIANT.get(architecture, "")) == variant
    ]
    if fitting:
        usual = _VARIANT.get(architecture, "")
        return next((one for one in fitting if one.platform is not None and one.platform.variant == usual), fitting[0])
    shown = ("/".join(part for part in (one.platform.os, one.platform.architecture) if part) for one in index.manifests if one.platform)
    offered = ", ".join(shown) or "none"
    raise InvalidImage(where=where, why=f"no image for {platform or f'linux/{machine_architecture()}'}; it has {offered}")


def check_platform(config: oci.Config, platform: str, where: str) -> None:
    """Raise InvalidImage if a platform was asked for, and a config says that its image is for another."""
    system, _, rest = platform.partition("/")
    architecture = rest.partition("/")[0]
    if platform and config.architecture and (config.os or "linux", config.architecture) != (system, architecture):
        raise InvalidImage(where=where, why=f"its image is for {config.os or 'linux'}/{config.architecture}, not for {platform[:40]}")


def machine_architecture() -> str:
    """This machine's, in the words of image configs."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(machine, machine)


class Sum(io.RawIOBase):
    """A blob that is hashed by another algorithm than SHA-256 while it is read; its end raises DigestMismatch."""

    def __init__(self, stream: IO[bytes], descriptor: oci.Descriptor) -> None:
        self._stream, self._descriptor, self._size = stream, descriptor, 0
        self._sum = hashlib.new(descriptor.digest.partition(":")[0])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._sum.update(data)
        self._size += len(data)
        if not data and len(buffer):
            verify(self._descriptor, self._sum.hexdigest(), self._size)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


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
