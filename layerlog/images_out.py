"""Save images: as an OCI layout, an oci-archive or a docker-archive that other tools load.

The config is written as the bytes it came in, so that image ID and diffIDs stay the same. Layers are given
back bit for bit (tar-split) and held against their diffIDs while they are written. Compressed bytes are made
anew; where they turn out as the stored manifest has them, that manifest is written, else one that says what is
there. The same images give the same bytes, on every machine with the same zlib (or libzstd).
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from attrs import define, frozen

from layerlog import oci
from layerlog.contents import ensure_created, open_diff
from layerlog.drivers import compression as packing
from layerlog.eventstore.errors import ContentsDamaged, InvalidImage, InvalidRequest
from layerlog.image_targets import Target, open_target
from layerlog.images_in import Quiet, chain_rows
from layerlog.records import Image, Layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from layerlog.core import Core
    from layerlog.images_in import Progress

FORMATS = ("oci-archive", "oci", "docker-archive")
_CODES = {"none": packing.NONE, "gzip": packing.GZIP, "zstd": packing.ZSTD}
_MEDIA_TYPE = {packing.NONE: oci.LAYER_PLAIN, packing.GZIP: oci.LAYER_PLAIN + "+gzip", packing.ZSTD: oci.LAYER_PLAIN + "+zstd"}
_OF_THE_BYTES = ("io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/", "io.containers.estargz.")
"""Annotations of zstd:chunked and eStargz layers: digest, place and sizes of the table of contents in the compressed bytes."""
_INDEX_TYPE = oci.INDEX_TYPES[0]


@define
class Chosen:
    """An image to be saved, and under which names."""

    image: Image
    names: list[str]


@frozen
class Parts:
    """What an image is made of: its config as bytes, its layers base first with their diffIDs, its stored manifest if it has one."""

    config: bytes
    layers: list[Layer]
    diff_ids: list[str]
    manifest: bytes


def save(
    core: Core,
    path: str | BinaryIO,
    images: Iterable[str | Image] | str | Image,
    format: str = "oci-archive",
    compression: str | None = None,
    progress: Progress | None = None,
) -> list[Image]:
    """See ``Store.save``."""
    if format not in FORMATS:
        raise InvalidRequest(f"unknown format {format!r}: {', '.join(FORMATS)} are known")
    if compression is not None and compression not in _CODES:
        raise InvalidRequest(f"unknown compression {compression!r}: {', '.join(_CODES)} are known")
    if format == "docker-archive" and compression not in (None, "none"):
        raise InvalidRequest("the layers of a docker-archive are not compressed; compress the archive")
    if format == "oci" and not isinstance(path, str):
        raise InvalidRequest("a layout is a folder and cannot be written to a stream; save an oci-archive")
    chosen = _chosen(core, images)
    if not chosen:
        raise InvalidRequest("no image to save was named")
    told = progress or Quiet()
    with ExitStack() as stack:
        found = [(one, _parts(core, one.image, stack, told)) for one in chosen]
        with open_target(path, as_folder=format == "oci", room=core.folder()) as target:
            if format == "docker-archive":
                _write_docker(core, target, found, told)
            else:
                _write_oci(core, target, found, None if compression is None else _CODES[compression], told)
            target.finish()
    return [one.image for one in chosen]


def _chosen(core: Core, images: Iterable[str | Image] | str | Image) -> list[Chosen]:
    """Each image once. Asked for by a name it is saved under that name, else under all it has."""
    found: dict[str, Chosen] = {}
    for asked in [images] if isinstance(images, str | Image) else images:
        image = core.image(asked.id if isinstance(asked, Image) else asked)
        one = found.setdefault(image.id, Chosen(image, []))
        names = [asked] if asked in image.names and isinstance(asked, str) else image.names
        one.names = list(dict.fromkeys([*one.names, *names]))
    return list(found.values())


# --- what is to be written


def _parts(core: Core, image: Image, stack: ExitStack, progress: Progress) -> Parts:
    """The documents and layers of an image; its layers are kept from deletion until *stack* ends. Raises InvalidImage."""
    layers = [Layer(row) for row in chain_rows(core, image.layer)] if image.layer else []
    for layer in layers:  # all of them before the first lease is shared: making folders takes a lease alone
        ensure_created(core, layer.id)
    if not core.is_read_only:
        for layer in layers:
            stack.enter_context(core.lease(layer.id, "save", shared=True, wait=True))
    manifest = _item(core, image, "manifest")
    named = oci.config_digest(manifest)
    config = _item(core, image, named) if named else b""
    if not config:  # made by hand, not by a load or a commit
        diff_ids = [_diff_id(core, layer, progress) for layer in layers]
        return Parts(_config_of(image, diff_ids), layers, diff_ids, b"")
    diff_ids = oci.parse(config, oci.Config, f"config of image {image.id[:12]}").rootfs.diff_ids
    if len(diff_ids) != len(layers):
        raise InvalidImage(where=f"image {image.id[:12]}", why=f"{len(layers)} layers, but its config has {len(diff_ids)} diff_ids")
    return Parts(config, layers, diff_ids, manifest)


def _item(core: Core, image: Image, item: str) -> bytes:
    """A big-data item, empty when there is none."""
    return core.big_data("image", image.id, item) if item in image.big_data else b""


def _config_of(image: Image, diff_ids: list[str]) -> bytes:
    """A config for an image that has none."""
    from layerlog.image_sources import machine_architecture

    document = {"architecture": machine_architecture(), "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return oci.to_json(document)


def _diff_id(core: Core, layer: Layer, progress: Progress) -> str:
    """DiffID of a layer: as recorded, else of the tar that it gives now."""
    if layer.contents is not None and layer.contents.diff_digest and not layer.opened:
        return layer.contents.diff_digest
    progress.reading()
    digest = hashlib.sha256()
    for piece in _plain(core, layer):
        digest.update(piece)
        progress.advance(len(piece))
    return "sha256:" + digest.hexdigest()


def _plain(core: Core, layer: Layer) -> Iterator[bytes]:
    """The layer's tar, uncompressed."""
    return open_diff(core, layer, core.chain(layer.id), None, packing.NONE)


def _checked(core: Core, layer: Layer, diff_id: str, progress: Progress) -> Iterator[bytes]:
    """The layer's tar. Raises ContentsDamaged at its end when it is not what *diff_id* says."""
    digest = hashlib.new(diff_id.partition(":")[0])
    for piece in _plain(core, layer):
        digest.update(piece)
        yield piece
        progress.advance(len(piece))
    if digest.hexdigest() != diff_id.partition(":")[2]:
        raise ContentsDamaged(layer_id=layer.id, path=core.driver.path(layer.id), why=f"its diff is not {diff_id}")


# --- OCI


def _write_oci(core: Core, target: Target, found: list[tuple[Chosen, Parts]], code: int | None, progress: Progress) -> None:
    """Layers, configs, manifests, and the index that names them."""
    written: dict[tuple[str, int], tuple[str, int]] = {}
    entries: list[dict[str, Any]] = []
    for folder in ("blobs", "blobs/sha256"):
        target.folder(folder)
    for chosen, parts in found:
        layers = _write_layers(core, target, parts, code, written, progress)
        target.blob([parts.config], _blob_name)
        manifest = _manifest(parts, layers)
        digest, size = target.blob([manifest], _blob_name)
        entry = {"mediaType": oci.MANIFEST, "digest": digest, "size": size}
        entries += [{**entry, "annotations": {oci.REF_NAME: name}} for name in chosen.names] or [entry]
    index = oci.to_json({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries})
    target.blob([index], lambda _: "index.json")
    target.blob([b'{"imageLayoutVersion":"1.0.0"}'], lambda _: "oci-layout")


def _write_layers(
    core: Core, target: Target, parts: Parts, code: int | None, written: dict[tuple[str, int], tuple[str, int]], progress: Progress
) -> list[dict[str, Any]]:
    """Write each layer once; their descriptors."""
    before = _stored_layers(parts)
    found = []
    for place, (layer, diff_id) in enumerate(zip(parts.layers, parts.diff_ids, strict=True)):
        wanted = code if code is not None else _packed_before(before, place, diff_id)
        _tell(progress, parts, place, (diff_id, wanted) in written)
        if (diff_id, wanted) not in written:
            pieces = packing.compressed(_checked(core, layer, diff_id, progress), wanted)
            written[diff_id, wanted] = target.blob(pieces, _blob_name)
        digest, size = written[diff_id, wanted]
        kept = _annotated(before[place], digest) if before else {}
        found.append({"mediaType": _MEDIA_TYPE[wanted], "digest": digest, "size": size, **kept})
    return found


def _annotated(stored: dict[str, Any], digest: str) -> dict[str, Any]:
    """The annotations of a stored layer descriptor; without those that tell where in its bytes something is, where these are others now."""
    annotations = stored.get("annotations")
    if isinstance(annotations, dict) and stored.get("digest") != digest:
        annotations = {key: value for key, value in annotations.items() if not key.startswith(_OF_THE_BYTES)}
    return {"annotations": annotations} if annotations else {}


def _tell(progress: Progress, parts: Parts, place: int, present: bool) -> None:
    """Layer *place* of an image begins; *present*: another image brought it."""
    contents = parts.layers[place].contents
    progress.layer(place, len(parts.layers), parts.diff_ids[place], contents.diff_size if contents is not None else 0, present)


def _stored_layers(parts: Parts) -> list[dict[str, Any]]:
    """The layer descriptors of the stored manifest; none if it has another number of them."""
    layers = json.loads(parts.manifest).get("layers") if parts.manifest else []
    return layers if isinstance(layers, list) and len(layers) == len(parts.layers) else []


def _packed_before(before: list[dict[str, Any]], place: int, diff_id: str) -> int:
    """How the layer was compressed in the stored manifest; bzip2 and xz, which no image has, become gzip."""
    if not before or before[place].get("digest") == diff_id:
        return packing.NONE
    return packing.ZSTD if str(before[place].get("mediaType", "")).endswith("zstd") else packing.GZIP


def _manifest(parts: Parts, layers: list[dict[str, Any]]) -> bytes:
    """The stored manifest when it is true of what was written, else the same with other layers."""
    stored = json.loads(parts.manifest) if parts.manifest else {}
    is_oci = stored.get("mediaType", oci.MANIFEST) == oci.MANIFEST and stored.get("config", {}).get("mediaType") == oci.CONFIG
    if is_oci and [one.get("digest") for one in _stored_layers(parts)] == [one["digest"] for one in layers]:
        return parts.manifest
    config = {"mediaType": oci.CONFIG, "digest": oci.digest_of(parts.config), "size": len(parts.config)}
    kept = {"annotations": stored["annotations"]} if is_oci and "annotations" in stored else {}
    return oci.to_json({"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": config, "layers": layers, **kept})


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


# --- docker


def _write_docker(core: Core, target: Target, found: list[tuple[Chosen, Parts]], progress: Progress) -> None:
    """Plain layers named by their diffIDs, configs named by theirs, and manifest.json."""
    entries = []
    names: dict[str, str] = {}
    for chosen, parts in found:
        for place, (layer, diff_id) in enumerate(zip(parts.layers, parts.diff_ids, strict=True)):
            _tell(progress, parts, place, diff_id in names)
            if diff_id not in names:
                names[diff_id] = diff_id.partition(":")[2] + ".tar"
                target.blob(_checked(core, layer, diff_id, progress), lambda _, name=names[diff_id]: name)  # type: ignore[misc]
        config_name = oci.digest_of(parts.config).partition(":")[2] + ".json"
        target.blob([parts.config], lambda _, name=config_name: name)  # type: ignore[misc]
        tags = sorted({tag for name in chosen.names if (tag := _repo_tag(name))})
        entries.append({"Config": config_name, "RepoTags": tags or None, "Layers": [names[one] for one in parts.diff_ids]})
    target.blob([oci.to_json(entries)], lambda _: "manifest.json")


def _repo_tag(name: str) -> str:
    """A name as docker reads it, ``:latest`` where it has no tag; "" for one that names a digest or nothing."""
    if not name or "@" in name:
        return ""
    return name if ":" in name.rpartition("/")[2] else name + ":latest"
