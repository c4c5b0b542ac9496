"""Evidence: what drivers and blobs still say of layers and images that no record knows.

overlay's own files name a layer's ancestors. Blobs that are manifests tell, with their configs, which layers stood on
which and what their diffs hash to; blobs that are tar-split records prove it, since they give back a tar whose digest
is compared. Nothing is changed here; ``decide/adopting.py`` decides what is made of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

from layerlog import oci
from layerlog.drivers.tarsplit import FILE, entries, reassemble
from layerlog.eventstore.errors import StoreError
from layerlog.projections.items import get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.decide.adopting import Evidence, KnownImage, Orphan
    from layerlog.drivers.driver import Driver
    from layerlog.eventstore.blobs import Blobs
    from layerlog.eventstore.rows import Rows

PROBED_FILES = 16
"""So many files of a tar-split record must have their size in a layer before its whole tar is tried."""
COMPRESSIONS = (("gzip", 2), ("zstd", 4), ("bzip2", 1), ("xz", 3))


def gather(rows: Rows, driver: Driver, blobs: Blobs) -> Evidence:
    """Everything that is known of the layers which *rows* do not have."""
    from layerlog.decide.adopting import Evidence

    orphans = [layer_id for layer_id in driver.list() if get(rows, "layer", layer_id) is None]
    documents, records = _sorted_blobs(blobs)
    images = list(_images(blobs, documents))
    known = {layer_id: (image, place) for image in images for place, layer_id in enumerate(image.layer_ids)}
    return Evidence([_orphan(driver, blobs, one, known.get(one), records) for one in orphans], images)


# --- blobs


def _sorted_blobs(blobs: Blobs) -> tuple[dict[str, bytes], dict[str, _Record]]:
    """Blobs that may be JSON documents, and those that are tar-split records; damaged ones are neither."""
    documents: dict[str, bytes] = {}
    records: dict[str, _Record] = {}
    for digest in blobs.digests():
        try:
            with blobs.open(digest) as file:
                start = file.read(2)
            if start == b"\x1f\x8b":
                with blobs.open(digest) as file:
                    records[digest] = _Record(file, blobs.size(digest))
            elif start[:1] == b"{" and blobs.size(digest) <= oci.DOCUMENT_BYTES_MAX:
                documents[digest] = blobs.read(digest)
        except (StoreError, OSError, EOFError):
            continue
    return documents, records


class _Record:
    """The first files that a tar-split record names, with their sizes, and the size of the blob."""

    def __init__(self, file: Any, size: int) -> None:
        self.size = size
        self.probes: list[tuple[bytes, int]] = []
        for entry in entries(file):
            if entry.kind == FILE and entry.size:
                self.probes.append((entry.name, entry.size))
                if len(self.probes) >= PROBED_FILES:
                    break

    def may_be_of(self, tree: str) -> bool:
        """Whether the files that it names first are there in their size."""
        for name, size in self.probes:
            try:
                found = os.lstat(os.path.join(os.fsencode(tree), os.path.normpath(b"/" + name).lstrip(b"/")))
            except OSError:
                return False
            if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                return False
        return True


def _images(blobs: Blobs, documents: dict[str, bytes]) -> Iterator[KnownImage]:
    """Images whose manifest and config are both here."""
    from layerlog.decide.adopting import KnownImage

    for digest, data in documents.items():
        try:
            manifest = oci.parse(data, oci.Manifest, digest)
            config = documents.get(manifest.config.digest)
            if config is None:
                continue
            diff_ids = oci.parse(config, oci.Config, manifest.config.digest).rootfs.diff_ids
        except StoreError:
            continue
        if len(diff_ids) != len(manifest.layers):
            continue
        layer_ids: list[str] = []
        for diff_id in diff_ids:
            layer_ids.append(oci.layer_id(layer_ids[-1] if layer_ids else "", diff_id))
        packed = [(layer.digest, layer.size, _compression(layer.mediaType)) for layer in manifest.layers]
        yield KnownImage((digest, len(data)), (manifest.config.digest, len(config)), layer_ids, list(diff_ids), packed)


def _compression(media_type: str) -> int:
    return next((code for word, code in COMPRESSIONS if word in media_type), 0)


# --- layers


def _orphan(driver: Driver, blobs: Blobs, layer_id: str, known: tuple[KnownImage, int] | None, records: dict[str, _Record]) -> Orphan:
    from layerlog.decide.adopting import Orphan

    chain = driver.chain_on_disk(layer_id)
    parent = chain[0] if chain else ("" if chain is not None else None)
    if known is None:
        contents = _proven(driver, blobs, layer_id, parent, records) if parent is not None else None
        return Orphan(layer_id, parent, contents, contents is not None, driver.stands_alone)
    image, place = known
    parent = image.layer_ids[place - 1] if place else ""
    packed, size, compression = image.packed[place]
    wanted = image.diff_ids[place]
    contents = _matching(driver, blobs, layer_id, wanted, records)
    found = contents or {"diff_digest": wanted, "diff_size": 0, "uids": [], "gids": [], "unproven": True}
    found.update(compressed_digest=packed, compressed_size=size, compression=compression)
    return Orphan(layer_id, parent, found, contents is not None, driver.stands_alone)


def _matching(driver: Driver, blobs: Blobs, layer_id: str, wanted: str, records: dict[str, _Record]) -> dict[str, Any] | None:
    """Contents proven by the record that gives the layer's tar with the digest that its image names."""
    for digest, record in records.items():
        if record.may_be_of(driver.own_tree(layer_id)):
            found = _given_back(driver, blobs, layer_id, digest, record)
            if found is not None and found["diff_digest"] == wanted:
                return found
    return None


def _proven(driver: Driver, blobs: Blobs, layer_id: str, parent: str | None, records: dict[str, _Record]) -> dict[str, Any] | None:
    """Contents of a layer that no image names: its ID is derived from them, or its tar names just the files that it has."""
    for digest, record in records.items():
        if not record.may_be_of(driver.own_tree(layer_id)):
            continue
        found = _given_back(driver, blobs, layer_id, digest, record)
        if found is None:
            continue
        derived = oci.layer_id(parent or "", found["diff_digest"]) == layer_id
        if derived or (record.probes and not driver.stands_alone and _names_all(blobs, digest, driver.own_tree(layer_id))):
            return {**found, "compressed_digest": found["diff_digest"], "compressed_size": found["diff_size"], "compression": 0}
    return None


def _names_all(blobs: Blobs, digest: str, tree: str) -> bool:
    """Whether every regular file of a tree stands in the record."""
    with blobs.open(digest) as file:
        named = {os.path.normpath(b"/" + entry.name) for entry in entries(file) if entry.kind == FILE}
    top = os.fsencode(tree)
    return all(
        os.path.normpath(b"/" + os.path.relpath(os.path.join(where, name), top)) in named
        for where, _, names in os.walk(top)
        for name in names
        if stat.S_ISREG(os.lstat(os.path.join(where, name)).st_mode)
    )


def _given_back(driver: Driver, blobs: Blobs, layer_id: str, digest: str, record: _Record) -> dict[str, Any] | None:
    """Digest, size and owners of the tar that the record gives with the files of a layer; None where they do not belong together."""
    from layerlog.drivers.tarstream import Feed, TarReader

    total, size = hashlib.sha256(), 0
    uids: set[int] = set()
    gids: set[int] = set()

    def counted(blocks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size
        for block in blocks:
            total.update(block)
            size += len(block)
            yield block

    try:
        with blobs.open(digest) as file:
            stream = counted(reassemble(driver, layer_id, file))
            reader = TarReader(Feed(stream), keep_raw=False)
            while (member := reader.next()) is not None:
                if b".wh." not in member.name:
                    uids.add(member.uid)
                    gids.add(member.gid)
            for _ in reader.tail():
                pass
            for _ in stream:
                pass
    except (StoreError, OSError, EOFError):
        return None
    return {
        "diff_digest": f"sha256:{total.hexdigest()}",
        "diff_size": size,
        "uids": sorted(uids),
        "gids": sorted(gids),
        "tar_split": {"blob": digest, "size": record.size},
    }
