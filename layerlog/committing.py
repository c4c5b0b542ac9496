"""Make an image of what a container holds: the image's layers, and one new layer of the container's changes."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen

from layerlog import change, oci
from layerlog.contents import Filled, driver_diff, ensure_created, open_diff, unnamed_file
from layerlog.decide import images as decide
from layerlog.decide import layers as decide_layers
from layerlog.decide.common import need_any as find_any
from layerlog.decide.lending import lowers
from layerlog.eventstore.errors import DuplicateID, InvalidImage
from layerlog.images_in import big_data_of, chain_rows
from layerlog.projections.items import get
from layerlog.records import Image, Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.core import Core


class Captured:
    """A layer's present contents, placed as a new immutable layer that waits for its commit."""

    __slots__ = ("chain", "diff_id", "layer_id", "made", "size")

    def __init__(self, layer_id: str, chain: list[str], diff_id: str, size: int, made: list[Any]) -> None:
        self.layer_id, self.chain, self.diff_id, self.size = layer_id, chain, diff_id, size
        self.made = made
        """Fields of its LayerCreated; empty when an equal layer is here already."""


@contextmanager
def captured(core: Core, source: str, doing: str) -> Iterator[Captured]:
    """Place a copy of what layer *source* holds over its parent; the caller commits inside the block.

    The diff is taken once, to a file without a name, so that its digest is of what is stored. The ID is
    derived from it as for a loaded layer: equal layers are stored once.
    """
    with core.reading() as rows:
        chain = lowers(rows, source)
        parent = _unmapped(get(rows, "layer", chain[0])) if chain else ""
    ensure_created(core, source)
    with core.lease(source, doing, shared=True), unnamed_file(core.driver.home) as spool:
        diff_id, size = _spool_diff(core, source, chain, spool)
        layer_id = oci.layer_id(parent, diff_id)
        with Filled(core.image_core, layer_id, parent, doing, wait=True) as filled:
            made: list[Any] = []
            present = core.layer_row(layer_id)
            if present is not None and present.get("contents", {}).get("diff_digest") != diff_id:
                raise DuplicateID(kind="layer", id=layer_id)  # somebody gave another layer this ID
            if present is None:
                spool.seek(0)
                made.append({"id": layer_id, "parent": parent, "contents": filled.apply(spool)})
                filled.place()
            yield Captured(layer_id, chain, diff_id, size, made)


def _unmapped(row: Any) -> str:
    """A layer, or the one that it is a copy of with other owners: diffs tell of owners inside."""
    return str(row.get("copy_of") or row["id"]) if row else ""


def commit_container(core: Core, asked: str, names: list[str], message: str) -> Image:
    """See ``Store.commit_container``."""
    core.must_write()
    container = core.container(asked)
    with core.reading() as rows:
        base = get(rows, "image", container.image) if container.image else None
    with captured(core, container.layer, "commit") as found:
        created = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        added = Added(found.diff_id, oci.LAYER_PLAIN, found.diff_id, found.size)
        history = {"created": created, "created_by": "layerlog commit", "comment": message}
        manifest, config = documents(core, base, found.chain, added, history)
        into = core.image_core
        items = big_data_of(into, manifest, config)
        image_id = oci.digest_of(config).partition(":")[2]
        digest = oci.digest_of(manifest)
        committed = change.commit(
            into,
            lambda rows: decide.loaded(rows, image_id, found.made, found.layer_id, names, big_data=items, digest=digest),
            f"commit {container.id} {names}",
        )
    return Image(change.outcome(into, committed, "image", image_id))


def snapshot(core: Core, asked: str, names: list[str], key: str = "") -> Layer:
    """An immutable layer of what a container, or a layer, holds now; its parent is the container's image's top layer.

    With *key* it is what ``layer_for`` finds. Durable on return.
    """
    core.must_write()
    row = need_any(core, asked)
    with captured(core, row, "snapshot") as found:
        committed = change.commit(
            core.image_core,
            lambda rows: decide_layers.captured(rows, found.layer_id, found.made, names, key),
            f"snapshot {asked} {names} {key}",
        )
    return Layer(change.outcome(core.image_core, committed, "layer", found.layer_id))


def need_any(core: Core, asked: str) -> str:
    """ID of the layer of a container, or of the layer, that *asked* means."""
    with core.reading() as rows:
        kind, row = find_any(rows, asked, ("container", "layer"))
        return str(row["layer"] if kind == "container" else row["id"])


def _spool_diff(core: Core, source: str, chain: list[str], spool: Any) -> tuple[str, int]:
    """Write a layer's diff as a plain tar; return its digest and size."""
    digest, size = hashlib.sha256(), 0
    for block in driver_diff(core, source, chain, None):
        digest.update(block)
        spool.write(block)
        size += len(block)
    return "sha256:" + digest.hexdigest(), size


@frozen
class Added:
    """The one layer that a new image has more: its diffID, and its archive's media type, digest and size."""

    diff_id: str
    kind: str
    digest: str
    size: int


def documents(
    core: Core,
    base: dict[str, Any] | None,
    chain: list[str],
    added: Added,
    history: dict[str, str],
    change_config: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: config,
) -> tuple[bytes, bytes]:
    """Manifest and config of the new image: the base image's, with one layer and one line of history (its empty words left out) more."""
    below, config = _of_base(core, base) or _of_layers(core, chain)
    line = {key: value for key, value in history.items() if value}
    config = change_config({**config, "created": history["created"], "history": [*(config.get("history") or []), line]})
    config["rootfs"] = {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], added.diff_id]}
    config_bytes = oci.to_json(config)
    layers = [*below, {"mediaType": added.kind, "digest": added.digest, "size": added.size}]
    new_manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": {"mediaType": oci.CONFIG, "digest": oci.digest_of(config_bytes), "size": len(config_bytes)},
        "layers": layers,
    }
    return oci.to_json(new_manifest), config_bytes


def _of_base(core: Core, base: dict[str, Any] | None) -> tuple[list[Any], dict[str, Any]] | None:
    """Layers of an image's manifest and its config; None where somebody made the image by hand, without them. Raises InvalidImage."""
    import json

    def item(key: str) -> bytes:
        found = (base or {}).get("big_data", {}).get(key)
        return core.blobs_with(found["blob"]).read(found["blob"]) if found else b""

    manifest = item("manifest")
    config = item(oci.config_digest(manifest)) if oci.config_digest(manifest) else b""
    if base is None or not config:
        return None
    where = f"image {base['id'][:12]}"
    number = len(oci.parse(manifest, oci.Manifest, f"manifest of {where}").layers)
    described = len(oci.parse(config, oci.Config, f"config of {where}").rootfs.diff_ids)
    if number != described:
        raise InvalidImage(where=where, why=f"{number} layers, but its config has {described} diff_ids")
    found = json.loads(config)
    return json.loads(manifest).get("layers") or [], {**found, "rootfs": {"diff_ids": [], **(found.get("rootfs") or {})}}


def _of_layers(core: Core, chain: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """The same for an image that has neither: what its layers say of themselves."""
    from layerlog.image_sources import machine_architecture

    described = [_described(core, row) for row in chain_rows(core, chain[0])] if chain else []
    layers = [{"mediaType": oci.LAYER_PLAIN, "digest": digest, "size": length} for digest, length in described]
    return layers, {"architecture": machine_architecture(), "os": "linux", "rootfs": {"diff_ids": [digest for digest, _ in described]}}


def _described(core: Core, row: dict[str, Any]) -> tuple[str, int]:
    """Digest and size of a layer's tar: as recorded, else of the tar that it gives now."""
    layer = Layer(row)
    if layer.contents is not None and not layer.opened:
        return layer.contents.diff_digest, layer.contents.diff_size
    ensure_created(core, layer.id)
    digest, size = hashlib.sha256(), 0
    for block in open_diff(core, layer, core.chain(layer.id), None, 0):
        digest.update(block)
        size += len(block)
    return "sha256:" + digest.hexdigest(), size
