"""Load an image: its layers unpacked and verified one by one, then everything appears in one commit.

Every layer is unpacked under its own lease, base first. A layer that is here already, or that another
load commits while this one waits for its lease, is adopted. IDs are derived as skopeo derives them, so
equal layers are stored once.
"""

from __future__ import annotations

import io
import os
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

from layerlog import change, oci
from layerlog.blob_keeping import putting
from layerlog.contents import Filled
from layerlog.decide import images as decide
from layerlog.drivers.compression import NAMES
from layerlog.eventstore.errors import DigestMismatch, DuplicateID, InvalidImage
from layerlog.eventstore.ids import check_names
from layerlog.image_sources import Found, Source, Sum, open_source
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import get
from layerlog.records import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core


class Progress(Protocol):
    """What a load, an import or a save reports while it works. A save counts uncompressed bytes."""

    def reading(self) -> None:
        """What will be unpacked, or written, is read before, to know its digest; how much that is nobody knows yet."""

    def layer(self, place: int, count: int, digest: str, size: int, present: bool) -> None:
        """Layer *place* of *count* begins; *size* bytes are to be read (0: nobody knows); *present*: it is there already."""

    def advance(self, count: int) -> None:
        """*count* more bytes of the current layer were read."""

    def left_out(self, items: list[Any]) -> None:
        """What this user could not set, path by path."""


class Quiet:
    """Progress for nobody."""

    def reading(self) -> None: ...

    def layer(self, place: int, count: int, digest: str, size: int, present: bool) -> None: ...

    def advance(self, count: int) -> None: ...

    def left_out(self, items: list[Any]) -> None: ...


def load(
    core: Core, path: str | IO[bytes], names: list[str], progress: Progress | None = None, platform: str = "", image: str = ""
) -> Image:
    """Load the only image of *path*, or the one called *image*; *names* replace its own tags. See ``Store.load``."""
    with _opened(core, path) as source:
        found = source.images(platform, image)
        if len(found) > 1:
            tags = ", ".join(name for one in found for name in one.names)
            raise InvalidImage(where=source.where, why=f"it holds {len(found)} images ({tags}); choose one, or load them all with load_all")
        return _load_one(core, source, found[0], names, progress or Quiet())


def load_all(core: Core, path: str | IO[bytes], progress: Progress | None = None, platform: str = "") -> list[Image]:
    """Load every image of an archive under its own tags, a commit each."""
    with _opened(core, path) as source:
        return [_load_one(core, source, one, [], progress or Quiet()) for one in source.images(platform)]


@contextmanager
def _opened(core: Core, path: str | IO[bytes]) -> Iterator[Source]:
    core.must_write()
    source = open_source(os.fspath(path) if isinstance(path, os.PathLike) else path, core.folder(), core.limits)
    try:
        yield source
    finally:
        source.close()


def _load_one(core: Core, source: Source, found: Found, names: list[str], progress: Progress) -> Image:
    wanted = names or check_names(found.names)
    image_id = oci.digest_of(found.config).partition(":")[2]
    with ExitStack() as stack:
        stack.enter_context(putting(core))
        made: list[Any] = []
        chain: list[str] = []
        for place, (descriptor, diff_id) in enumerate(zip(found.layers, found.diff_ids, strict=True)):
            layer_id = oci.layer_id(chain[0] if chain else "", diff_id)
            present = _adopt(core, stack, layer_id, diff_id)
            progress.layer(place, len(found.layers), descriptor.digest, descriptor.size, present)
            if not present:
                fields = _unpack(core, stack, source, found, descriptor, diff_id, layer_id, chain, progress)
                if fields is not None:
                    made.append(fields)
            chain.insert(0, layer_id)
        items = big_data_of(core, found.manifest, found.config)
        top, digest = chain[0] if chain else "", oci.digest_of(found.manifest)
        committed = change.commit(
            core,
            lambda rows: decide.loaded(rows, image_id, made, top, wanted, big_data=items, digest=digest),
            f"load {image_id} {wanted}",
        )
    return Image(change.outcome(core, committed, "image", image_id))


def _adopt(core: Core, stack: ExitStack, layer_id: str, diff_id: str) -> bool:
    """Pin a layer that is here already with that content. Raises DuplicateID if the ID holds something else."""
    if core.layer_row(layer_id) is None:
        return False
    with ExitStack() as attempt:
        attempt.enter_context(core.lease(layer_id, "load", shared=True, wait=True))
        row = core.layer_row(layer_id)
        if row is None:
            return False
        if row.get("contents", {}).get("diff_digest") != diff_id:
            raise DuplicateID(kind="layer", id=layer_id)
        stack.push(attempt.pop_all())
    return True


def _unpack(
    core: Core,
    stack: ExitStack,
    source: Source,
    found: Found,
    descriptor: oci.Descriptor,
    diff_id: str,
    layer_id: str,
    chain: list[str],
    progress: Progress,
) -> Any:
    """Unpack and place one layer; None when somebody else committed it while we waited."""
    filled = stack.enter_context(Filled(core, layer_id, chain[0] if chain else "", "load", wait=True, chain=list(chain)))
    row = core.layer_row(layer_id)
    if row is not None:
        return None
    packed = oci.packed_as(descriptor.mediaType)
    if packed is None:
        raise InvalidImage(where=descriptor.digest, why=f"{descriptor.mediaType[:80]!r} is no layer that can be unpacked")
    sha256 = descriptor.digest.startswith("sha256:")
    with source.open_layer(descriptor) as stream:
        whole = stream if sha256 or not found.verify_layers else io.BufferedReader(Sum(stream, descriptor))
        contents = filled.apply(whole, progress.advance, progress.left_out)
    if found.verify_layers and packed not in ("", NAMES[contents["compression"]]):
        why = f"its media type says {packed}, its content is {NAMES[contents['compression']]}"
        raise InvalidImage(where=descriptor.digest, why=why)
    if found.verify_layers and sha256 and contents["compressed_digest"] != descriptor.digest:
        raise DigestMismatch(where=f"layer {descriptor.digest[:19]}", expected=descriptor.digest, found=contents["compressed_digest"])
    if contents["diff_digest"] != diff_id:
        raise DigestMismatch(where=f"layer {descriptor.digest[:19]}, unpacked", expected=diff_id, found=contents["diff_digest"])
    filled.place()
    return {"id": layer_id, "parent": chain[0] if chain else "", "contents": contents}


def big_data_of(core: Core, manifest: bytes, config: bytes) -> dict[str, Any]:
    """Store manifest and config under the keys that podman and skopeo look for them."""
    items = {oci.digest_of(config): config, f"manifest-{oci.digest_of(manifest)}": manifest, "manifest": manifest}
    stored = {item: core.blobs.put(data) for item, data in items.items()}
    return {item: {"blob": digest, "size": size} for item, (digest, size) in stored.items()}


def chain_rows(core: Core, layer_id: str) -> list[dict[str, Any]]:
    """Rows of a layer and its ancestors, base first."""
    with core.reading() as rows:
        found = [get(rows, "layer", one) for one in (layer_id, *layer_rows.chain(rows, layer_id))]
    return [row for row in reversed(found) if row is not None]
