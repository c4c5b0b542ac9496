"""Findings: what is wrong with a store, how bad it is, how we know, and what to do next.

Checks collect: each yields all it finds and goes on. Wording of the drop-in messages: contract/cli.md §8.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from layerlog.eventstore.errors import BlobMissing, DigestMismatch
from layerlog.eventstore.journal import Journal
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every, get
from layerlog.projections.keys import prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core
    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row

COSMETIC, METADATA, CONTENT, MISSING = "cosmetic", "metadata", "content", "missing"
GRADES = (COSMETIC, METADATA, CONTENT, MISSING)
"""From harmless to worst: litter; records that contradict each other; bytes that changed; bytes that are gone."""


REPAIR = "layerlog repair --from PATH"
"""PATH: an archive, layout or other store that may have the same contents."""


@frozen
class Finding:
    """One thing that is wrong."""

    grade: str
    kind: str
    """layer, image, container; or store, for what belongs to none of them."""
    id: str
    message: str
    proof: str
    """What was expected and what was found, and where."""
    command: str
    """The one command to run next."""
    read_only: bool = False
    unknown: bool = False
    """It cannot be looked at by this user, and may be as it should be: nothing is to be mended."""

    def __str__(self) -> str:
        return self.message


def every_finding(core: Core, quick: bool, unreferenced_seconds: float) -> Iterator[Finding]:
    """Journal first, since damage there explains the rest; then records, contents, litter."""
    from layerlog.check_files import litter
    from layerlog.check_trees import contents

    yield from journal(core)
    yield from records(core, unreferenced_seconds)
    yield from big_data(core)
    yield from contents(core, quick)
    yield from litter(core)


def journal(core: Core) -> Iterator[Finding]:
    """Read every frame; damage that single-bit repair could mend loses nothing, other damage lost a commit."""
    opened = Journal.open(core.folder(), read_only=True, durable=True)
    try:
        for _ in opened.frames(opened.start()):
            pass
        damage = list(opened.damage.values())
    finally:
        opened.close()
    for one in damage:
        lost = f"commits {one.first_sequence} to {one.last_sequence}" if one.last_sequence >= one.first_sequence else "no commit"
        grade = CONTENT if one.mended else MISSING
        where = f"segment {one.segment}, bytes {one.offset} to {one.end}"
        proof = f"{where}: expected {one.expected}, found {one.found}; {'mended in memory' if one.mended else lost + ' lost'}"
        yield Finding(grade, "store", "journal", f"journal: damaged in {where}", proof, "layerlog journal salvage")


def records(core: Core, unreferenced_seconds: float) -> Iterator[Finding]:
    """Each parent, layer and image that a record names is there; layers that nothing needs are told."""
    with core.reading() as rows:
        layers, images, containers = (every(rows.own, kind) for kind in ("layer", "image", "container"))
        known = {row["id"] for row in every(rows, "layer")}  # also in stores that are looked into (contract/cli.md §9, 3)
        # By an image or a container, itself or below it: a child alone does not count (contract/semantics.md §10).
        needed = _needed_elsewhere(rows)
        for row in layers:
            if (parent := row.get("parent")) and parent not in known:
                proof = f"record of layer {row['id']} names parent {parent}, which has no record (layerlog why-gone {parent})"
                yield Finding(METADATA, "layer", row["id"], f"layer {parent}: layer is missing", proof, REPAIR)
        lent = [row for row in every(rows, "image") if row.get("read_only")]
        for row in (*images, *lent):
            chain = dict.fromkeys(one for top in _tops(row) for one in (top, *layer_rows.chain(rows, top)))
            needed.update(() if row.get("read_only") else chain)
            for layer_id in chain:
                if layer_id not in known:
                    message = f"image {row['id']}: layer {layer_id}: image layer is missing"
                    proof = f"record of image {row['id']} needs layer {layer_id}, which has no record"
                    yield Finding(METADATA, "image", row["id"], message, proof, REPAIR, bool(row.get("read_only")))
        for row in containers:
            own = row.get("layer", "")
            needed.update((own, *layer_rows.chain(rows, own)))
            yield from _container(row, known, image_there=not row.get("image") or get(rows, "image", row["image"]) is not None)
    yield from _unreferenced(layers, needed, unreferenced_seconds)


def _needed_elsewhere(rows: Rows) -> set[str]:
    """Layers that images and containers of the other half of a split store need."""
    found: set[str] = set()
    if rows.domain is not rows.own:
        for kind in ("image", "container"):
            for _, row in rows.domain.scan(prefix(kind)):
                for top in _tops(row):
                    found.update((top, *layer_rows.chain(rows, top)))
    return found


def _tops(image: Row) -> list[str]:
    return [one for one in (image.get("layer", ""), *image.get("mapped_layers", ())) if one]


def _container(row: Row, known: set[str], image_there: bool) -> Iterator[Finding]:
    container_id = row["id"]
    if not image_there:
        proof = f"record of container {container_id} names image {row['image']}, which has no record (layerlog why-gone {row['image']})"
        message = f"image {row['image']}: image missing"
        yield Finding(METADATA, "container", container_id, message, proof, REPAIR)
    if row.get("layer") not in known:
        asked = f"layerlog why-gone {row.get('layer')}"
        proof = f"record of container {container_id} names layer {row.get('layer')!r}, which has no record ({asked})"
        message = f"layer {row.get('layer')}: layer is missing"
        yield Finding(METADATA, "container", container_id, message, proof, REPAIR)


def _unreferenced(layers: list[Row], needed: set[str], seconds: float) -> Iterator[Finding]:
    now = time.time_ns()
    for row in layers:
        age = (now - row["created_ns"]) / 1e9
        if row["id"] not in needed and age > seconds:
            message = f"layer {row['id']}: layer not referenced by any images or containers"
            proof = f"no layer, image or container names it; it is {age / 3600:.1f} hours old"
            yield Finding(COSMETIC, "layer", row["id"], message, proof, f"layerlog delete-layer {row['id']}")


def big_data(core: Core) -> Iterator[Finding]:
    """Each item is there, of its recorded size, and has its digest."""
    verified: dict[str, str] = {}
    with core.reading() as rows:
        items = [
            (kind, row["id"], key, ref, bool(row.get("read_only")))
            for kind in ("layer", "image", "container")
            for row in every(rows, kind)
            for key, ref in row.get("big_data", {}).items()
        ]
    for kind, item_id, key, ref, read_only in items:
        digest = ref["blob"]
        if digest not in verified:
            verified[digest] = _why_bad(core, digest, ref["size"])
        if not verified[digest] or not _still_refers(core, kind, item_id, key, digest):
            continue
        missing = not core.blobs_with(digest).has(digest)
        wrong = f"{kind} data item is missing" if missing else f"{kind} data item has incorrect size"
        grade = MISSING if missing else CONTENT
        message = f"{kind} {item_id}: data item {quoted(key)}: {wrong}"
        proof = f"{core.blobs_with(digest).path(digest)}: {verified[digest]}"
        yield Finding(grade, kind, item_id, message, proof, REPAIR, read_only)
    yield from _kept_blobs(core, set(verified))


def _kept_blobs(core: Core, verified: set[str]) -> Iterator[Finding]:
    """What only the trash and past states refer to: a restore or an undo would give it back."""
    for digest in core.blobs.digests():
        if digest not in verified and (why := _why_bad(core, digest, -1)) and core.blobs.has(digest):
            message = f"store {digest}: kept big data has other contents"
            yield Finding(CONTENT, "store", digest, message, f"{core.blobs.path(digest)}: {why}", REPAIR)


def _still_refers(core: Core, kind: str, item_id: str, key: str, digest: str) -> bool:
    """It may have been deleted, and its blob collected, since we looked."""
    with core.reading() as rows:
        found = [get(part, kind, item_id) or {} for part in rows.parts_for(kind)]
    return any(row.get("big_data", {}).get(key, {}).get("blob") == digest for row in found)


def _why_bad(core: Core, digest: str, size: int) -> str:
    """Why a blob cannot be given back; *size* -1: any."""
    try:
        data = core.blobs_with(digest).read(digest)
    except BlobMissing:
        return "no such file"
    except (DigestMismatch, OSError) as error:
        return str(error)
    return "" if size in (len(data), -1) else f"{len(data)} bytes, recorded are {size}"


def quoted(word: str) -> str:
    """A key in double quotes, as the original prints it."""
    import json

    return json.dumps(word, ensure_ascii=False)


__all__ = ["CONTENT", "COSMETIC", "GRADES", "METADATA", "MISSING", "Finding", "every_finding", "quoted"]
