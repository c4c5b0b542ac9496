"""Images in one file: oci-archive and docker-archive, plain or compressed as a whole.

An archive is indexed once, by its headers alone, and then read at random. A compressed one is unpacked
first, to a file without a name, so that nothing of it stays behind whatever happens.

Archives are hostile until proven otherwise: links in them are followed inside the archive only, sizes are
checked against the file, and a document that is there twice is refused, since two tools would read two images.
Sources: OCI image-spec v1.1 image-layout.md; docker's ``docker save`` (image spec v1.2, "Combined Image JSON +
Filesystem Changeset Format"); containers/image ``docker/internal/tarfile`` for what skopeo makes of it.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
from typing import IO, TYPE_CHECKING

from attrs import evolve, frozen

from layerlog import oci
from layerlog.contents import unnamed_file
from layerlog.drivers import compression, tarfields, tarstream
from layerlog.drivers.applying import Unpacking
from layerlog.eventstore.errors import ArchiveLimit, InvalidArchive, InvalidImage
from layerlog.image_refs import means
from layerlog.image_sources import Found, OCISource, SliceStream, Source, check_platform, check_size, merged, picked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.drivers.applying import Limits

MEMBERS_MAX = 200_000
LINKS_MAX = 16
_HEADER_READ_BYTES = 4096
"""Enough for the header of a member, and for the PAX or GNU header before it, as a rule."""


def open_archive(path: str | IO[bytes], room: str, limits: Limits) -> Source:
    """Open an oci-archive or docker-archive. *room*: a folder where a compressed one, or a stream, may be unpacked.

    An archive that is both (docker since version 25) is read as OCI: there every layer has a digest.
    Raises InvalidImage, InvalidArchive, ArchiveLimit, NotSupported (a compression that is not installed).
    """
    archive = Archive(path, room, limits)
    try:
        if "oci-layout" in archive.members and "index.json" in archive.members:
            return OCISource(ArchiveBlobs(archive))
        if "manifest.json" in archive.members:
            return DockerSource(archive)
        why = "neither an OCI archive (oci-layout, index.json) nor a docker-archive (manifest.json); import takes a root file system"
        raise InvalidImage(where=archive.where, why=why)
    except BaseException:
        archive.close()
        raise


@frozen
class Placed:
    """A member of an archive: what kind, and where its bytes are."""

    kind: bytes
    offset: int
    size: int
    link: str
    times: int


class Archive:
    """A tar file, read at random. A context manager would be one too many: its Source closes it."""

    def __init__(self, path: str | IO[bytes], room: str, limits: Limits) -> None:
        self.where = path if isinstance(path, str) else "the stream"
        self.limits = limits
        self._file = _seekable(path, self.where, room, limits)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self.members: dict[str, Placed] = dict(self._index())
        except BaseException:
            self._file.close()
            raise

    def _index(self) -> Iterator[tuple[str, Placed]]:
        """Name and place of each member; of members with one name the last counts, as when unpacking."""
        offset, count = 0, 0
        times: dict[str, int] = {}
        while offset < self._size:
            reader = tarstream.TarReader(tarstream.Feed(self._headers(offset)))
            try:
                member = reader.next()
            except InvalidArchive as wrong:
                raise InvalidArchive(why=f"{self.where}: {wrong.data.get('why', wrong)}", offset=offset) from wrong
            if member is None:
                return
            start = offset + reader.offset
            if start + member.size > self._size:
                raise InvalidArchive(why=f"{self.where}: unexpected EOF", offset=offset)
            offset = start + member.size
            offset += -offset % tarstream.BLOCK  # what a global header says was read, its padding not
            count += 1
            if count > MEMBERS_MAX:
                raise ArchiveLimit(limit="members of an image archive", allowed=MEMBERS_MAX, offset=offset)
            if member.kind == tarfields.GLOBAL:
                continue
            name = _name(member.name)
            times[name] = times.get(name, 0) + 1
            kind = member.kind if member.sparse is None else b"S"
            yield name, Placed(kind, start, member.size, os.fsdecode(member.link), times[name])

    def _headers(self, offset: int) -> Iterator[bytes]:
        while data := os.pread(self._file.fileno(), _HEADER_READ_BYTES, offset):
            offset += len(data)
            yield data

    def find(self, name: str) -> Placed:
        """The file that *name* means, links followed inside the archive. Raises InvalidImage."""
        asked = name
        for _ in range(LINKS_MAX):
            found = self.members.get(name)
            if found is None:
                raise InvalidImage(where=self.where, why=f"{_shown(asked)} is missing")
            if found.kind == tarfields.REGULAR:
                return found
            if found.kind == tarfields.HARD_LINK:
                name = _name(os.fsencode(found.link))
            elif found.kind == tarfields.SYMLINK:
                name = _linked(name, found.link)
            else:
                raise InvalidImage(where=self.where, why=f"{_shown(asked)} is not a plain file")
            if not name:
                raise InvalidImage(where=self.where, why=f"{_shown(asked)} leads out of the archive")
        raise InvalidImage(where=self.where, why=f"{_shown(asked)} leads through too many links")

    def open(self, name: str) -> IO[bytes]:
        """A member's bytes; may be read beside others."""
        found = self.find(name)
        return io.BufferedReader(SliceStream(self._file.fileno(), found.offset, found.size))

    def read(self, name: str) -> bytes:
        """A document, whole. Raises InvalidImage when it is large, or in the archive twice."""
        found = self.find(name)
        if self.members[name].times > 1 or found.times > 1:
            raise InvalidImage(where=self.where, why=f"{_shown(name)} is in it more than once")
        if found.size > oci.DOCUMENT_BYTES_MAX:
            raise InvalidImage(where=self.where, why=f"{_shown(name)} has {found.size} bytes, too many for a document")
        return os.pread(self._file.fileno(), found.size, found.offset)

    def close(self) -> None:
        self._file.close()


class ArchiveBlobs:
    """Blobs of an oci-archive."""

    def __init__(self, archive: Archive) -> None:
        self.archive, self.where = archive, archive.where

    def read(self, name: str) -> bytes:
        """A document beside the blobs."""
        return self.archive.read(name)

    def open(self, descriptor: oci.Descriptor) -> IO[bytes]:
        """A blob by digest. Raises InvalidImage when its size is not the descriptor's."""
        algorithm, _, digits = descriptor.digest.partition(":")
        name = f"blobs/{algorithm}/{digits}"
        check_size(descriptor, self.archive.find(name).size)
        return self.archive.open(name)

    def close(self) -> None:
        self.archive.close()


class DockerSource:
    """A docker-archive. Its layers have no digests of their own: what they unpack to is held against the diffIDs."""

    def __init__(self, archive: Archive) -> None:
        self.archive, self.where = archive, archive.where
        self._layers: dict[str, str] = {}
        """DiffID -> name of the member."""

    def images(self, platform: str, asked: str = "") -> list[Found]:
        """A docker-archive has no index of platforms: *platform* picks nothing, and must not be denied."""
        entries = oci.parse(self.archive.read("manifest.json"), list[oci.DockerArchiveEntry], f"{self.where}: manifest.json")
        entries = picked(entries, asked, lambda entry: entry.RepoTags or [], self.where)
        if not entries:
            raise InvalidImage(where=self.where, why="its manifest.json names no image")
        found = merged([self._image(entry, platform) for entry in entries])
        if asked and asked[0] != "@":  # asked for by one name it comes under that one
            found = [evolve(one, names=[name for name in one.names if means(asked, name)][:1]) for one in found]
        return found

    def _image(self, entry: oci.DockerArchiveEntry, platform: str) -> Found:
        config_bytes = self.archive.read(_member(entry.Config))
        config = oci.parse(config_bytes, oci.Config, f"{self.where}: {_shown(entry.Config)}")
        check_platform(config, platform, self.where)
        diff_ids, names = config.rootfs.diff_ids, entry.Layers or []
        if len(names) != len(diff_ids):
            raise InvalidImage(where=self.where, why=f"{len(names)} layers, but the config has {len(diff_ids)} diff_ids")
        layers = []
        for diff_id, name in zip(diff_ids, map(_member, names), strict=True):
            self._layers[diff_id] = name
            layers.append(oci.Descriptor(diff_id, self._unpacked_size(name), "application/vnd.docker.image.rootfs.diff.tar.gzip"))
        return Found(_manifest(config_bytes, layers), config_bytes, layers, diff_ids, entry.RepoTags or [], verify_layers=False)

    def _unpacked_size(self, name: str) -> int:
        """Bytes of a layer's plain tar: the manifest wants them, and only a compressed layer must be read for it."""
        with self.archive.open(name) as stream:
            if compression.detect(stream.read(6)) == compression.NONE:
                return self.archive.find(name).size
        with self.archive.open(name) as stream:
            unpacking = Unpacking(stream, self.archive.limits, None)
            try:
                return sum(map(len, unpacking))
            finally:
                unpacking.close()

    def open_layer(self, layer: oci.Descriptor) -> IO[bytes]:
        return self.archive.open(self._layers[layer.digest])

    def close(self) -> None:
        self.archive.close()


def _manifest(config: bytes, layers: list[oci.Descriptor]) -> bytes:
    """The manifest that a docker-archive lacks, byte for byte as skopeo makes it (containers/image, ``docker/internal/tarfile/src.go``)."""
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": oci.digest_of(config)},
        "layers": [{"mediaType": one.mediaType, "size": one.size, "digest": one.digest} for one in layers],
    }
    return oci.to_json(document, sort_keys=False)


def _seekable(source: str | IO[bytes], where: str, room: str, limits: Limits) -> IO[bytes]:
    """The archive as a file to read at random: itself, or what it unpacks to. Raises InvalidImage, InvalidArchive."""
    try:
        file = open(source, "rb") if isinstance(source, str) else _own(source)  # noqa: SIM115  closed by the archive
    except OSError as wrong:
        raise InvalidImage(where=where, why=wrong.strerror or str(wrong)) from wrong
    if file is None:
        assert not isinstance(source, str)
        return _unpacked(source, where, room, limits)
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            code = compression.detect(os.pread(file.fileno(), 6, 0))
            if code == compression.NONE:
                return file
        spool = _unpacked(file, where, room, limits)
    except BaseException:
        file.close()
        raise
    file.close()
    return spool


def _own(stream: IO[bytes]) -> IO[bytes] | None:
    """A file of ours on the same plain file, if a stream is one and at its beginning; else None: it must be read to its end."""
    try:
        fd = stream.fileno()
        if not stat.S_ISREG(os.fstat(fd).st_mode) or stream.tell():
            return None
    except (AttributeError, io.UnsupportedOperation, OSError):
        return None
    return os.fdopen(os.dup(fd), "rb")


def _unpacked(file: IO[bytes], where: str, room: str, limits: Limits) -> IO[bytes]:
    import tempfile

    spool = unnamed_file(room or tempfile.gettempdir())
    unpacking = Unpacking(file, limits, None)
    try:
        for piece in unpacking:
            spool.write(piece)
        spool.flush()
        return spool
    except InvalidArchive as wrong:
        spool.close()
        if isinstance(wrong, ArchiveLimit):
            raise
        raise InvalidArchive(why=f"{where}: {wrong.data.get('why', wrong)}", offset=wrong.data.get("offset", 0)) from wrong
    except BaseException:
        spool.close()
        raise
    finally:
        unpacking.close()


def _name(name: bytes) -> str:
    """A member's name as it is looked up: no ``./``, no leading or doubled slash; "" for one outside."""
    text = posixpath.normpath(os.fsdecode(name).lstrip("/") or ".")
    return "" if text == ".." or text.startswith("../") else text


def _member(name: str) -> str:
    """A member that a document names."""
    return _name(os.fsencode(name)) or "."


def _linked(name: str, target: str) -> str:
    """Where a symlink leads, "" if out of the archive; an absolute target starts at the archive's root."""
    if target.startswith("/"):
        return _name(os.fsencode(target))
    text = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return "" if text == ".." or text.startswith("../") else text


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:80] + "…")
