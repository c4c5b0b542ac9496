"""The documents of the OCI image format, and what of docker's they share.

Only what a store needs is declared; documents are kept and written back as the bytes they came in.
Source: OCI image-spec v1.1 (descriptor.md, manifest.md, image-index.md, config.md); docker image spec v1.2.
"""

# ruff: noqa: N815  fields have the names that the documents have
from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

import cattrs
from attrs import field, frozen

from layerlog.eventstore.errors import InvalidDigest, InvalidImage
from layerlog.eventstore.ids import chain_id, check_digest

INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
MANIFEST, CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
CONFIG_TYPES = (CONFIG, "application/vnd.docker.container.image.v1+json", "")
OLD_CONFIG = "application/octet-stream"
"""What some registries made of the media type of a config; docker takes it, in manifests of its own, for one."""
LAYER_PLAIN = "application/vnd.oci.image.layer.v1.tar"
LAYER_TYPES = (
    LAYER_PLAIN,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
"""Without what their ends say of compression."""
REF_NAME = "org.opencontainers.image.ref.name"
DOCKER_NAME = "io.containerd.image.name"
"""The whole name, where docker and containerd put only the tag into REF_NAME."""
DOCUMENT_BYTES_MAX = 16 << 20

T = TypeVar("T")


@frozen
class Platform:
    architecture: str = ""
    os: str = ""
    variant: str = ""


@frozen
class Descriptor:
    """What points to a blob: its media type, digest and size in bytes."""

    digest: str
    size: int
    mediaType: str = ""
    annotations: dict[str, str] = field(factory=dict)
    platform: Platform | None = None


@frozen
class Index:
    manifests: list[Descriptor] = field(factory=list)
    mediaType: str = ""


@frozen
class Manifest:
    config: Descriptor
    layers: list[Descriptor] = field(factory=list)
    mediaType: str = ""
    schemaVersion: int = 2


@frozen
class RootFS:
    diff_ids: list[str] = field(factory=list)
    type: str = "layers"


@frozen
class Config:
    rootfs: RootFS = field(factory=RootFS)
    architecture: str = ""
    os: str = ""
    created: str | None = None


@frozen
class DockerArchiveEntry:
    """One image in a docker-archive's manifest.json."""

    Config: str
    Layers: list[str] | None = None
    RepoTags: list[str] | None = None


_converter = cattrs.Converter()


def _strict_string(value: Any, _: type) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {type(value).__name__}")
    return value


def _strict_int(value: Any, _: type) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"expected a whole number, found {value!r}")
    return value


_converter.register_structure_hook(str, _strict_string)
_converter.register_structure_hook(int, _strict_int)


def parse(data: bytes, shape: type[T], where: str) -> T:
    """Read a JSON document into *shape*; every digest in it is checked. Raises InvalidImage naming *where*."""
    try:
        found = _converter.structure(_without_nulls(json.loads(data)), shape)
    except (ValueError, TypeError, RecursionError, cattrs.BaseValidationError) as wrong:
        raise InvalidImage(where=where, why=f"not a valid {shape.__name__.lower()} document ({_first_cause(wrong)})") from wrong
    for digest in _digests(found):
        try:
            check_digest(digest)
        except InvalidDigest as wrong:
            raise InvalidImage(where=where, why=f"{digest[:80]!r} is not a digest") from wrong
    return found


def config_digest(manifest: bytes) -> str:
    """Digest of the config that a manifest names; empty for what is no manifest with one (docker's schema 1, made by hand)."""
    try:
        return str(json.loads(manifest)["config"]["digest"]) if manifest else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _without_nulls(document: Any) -> Any:
    """A document without members that are null: what Go writes for an empty list or map is as good as absent."""
    if isinstance(document, dict):
        return {key: _without_nulls(value) for key, value in document.items() if value is not None}
    return [_without_nulls(one) for one in document] if isinstance(document, list) else document


def _first_cause(wrong: BaseException) -> str:
    while isinstance(wrong, BaseExceptionGroup):
        wrong = wrong.exceptions[0]
    return f"{type(wrong).__name__}: {wrong}"[:160]


def _digests(found: object) -> list[str]:
    if isinstance(found, Index):
        return [one.digest for one in found.manifests]
    if isinstance(found, Manifest):
        return [found.config.digest, *(one.digest for one in found.layers)]
    return list(found.rootfs.diff_ids) if isinstance(found, Config) else []


def kind_of(data: bytes, descriptor: Descriptor) -> str:
    """Media type of a manifest or index: the descriptor's, which must not be contradicted by the document.

    A document that could be read as both, by two tools as two images, is refused (CVE-2021-41190). Raises InvalidImage.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidImage(where=descriptor.digest, why="not a valid manifest document")
    own = document.get("mediaType") or ""
    if not isinstance(own, str) or (own and descriptor.mediaType and own != descriptor.mediaType):
        why = f"its media type is {str(own)[:80]!r}, its descriptor says {descriptor.mediaType[:80]!r}"
        raise InvalidImage(where=descriptor.digest, why=why)
    if "manifests" in document and ("layers" in document or "config" in document):
        raise InvalidImage(where=descriptor.digest, why="it is a manifest and an index at once")
    return own or descriptor.mediaType or (INDEX_TYPES[0] if "manifests" in document else MANIFEST)


def packed_as(media_type: str) -> str | None:
    """The compression that a layer's media type speaks of: none, gzip or zstd; "" where it says nothing, None for no layer."""
    if not media_type:
        return ""
    for kind in LAYER_TYPES:
        if media_type == kind:
            return "none"
        for suffix, name in (("+gzip", "gzip"), (".gzip", "gzip"), ("+zstd", "zstd"), (".zstd", "zstd")):
            if media_type == kind + suffix:
                return name
    return None


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


layer_id = chain_id


def to_json(document: Any, sort_keys: bool = True) -> bytes:
    """Bytes of a document of ours: sorted keys, no blanks, so that equal images have equal digests."""
    return json.dumps(document, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
