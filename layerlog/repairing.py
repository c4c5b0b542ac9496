"""Repair at the size of the damage: layers, and data items, are fetched again by digest and take the place of what is damaged.

A layer that is repaired keeps its ID, names, parent and children: its contents come as its next generation, unpacked
aside, verified, synced, committed and swapped in, as an applied diff does (CRASH.md §3). Sources are tried in this
order: the layer's own files, when they still give the whole tar (wrong modes, strange files, what it inherited on vfs);
an equal layer of this store; then what the caller names.
"""

from __future__ import annotations

import os
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from layerlog import change, oci
from layerlog.blob_keeping import putting
from layerlog.contents import Filled, apply_to, ensure_created, give_owners
from layerlog.decide import layers as decide
from layerlog.eventstore.errors import BlobMissing, DigestMismatch, LayerMounted, LayerUnknown, StoreError
from layerlog.findings import CONTENT, MISSING
from layerlog.projections import images as image_rows
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every, get
from layerlog.records import Layer
from layerlog.repair_sources import Blocks, Itself, Offer, gives, open_offer
from layerlog.run_roots import every_mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.core import Core
    from layerlog.projections.items import Row


class Step:
    """One replacement: in words, and how."""

    __slots__ = ("act", "words")

    def __init__(self, words: str, act: Callable[[], object]) -> None:
        self.words, self.act = words, act


class Repair:
    """A plan: ``steps`` to take, ``left``: what nothing offers. After ``carry_out`` ``failed`` steps are in ``left``, too."""

    def __init__(self, offers: list[Offer]) -> None:
        self.steps: list[Step] = []
        self.left: list[str] = []
        self.left_layers: dict[str, str] = {}
        """ID and reason of the layers among them."""
        self.left_items: list[tuple[str, str, str]] = []
        """Kind, ID and key of the data items among them."""
        self.journal_damaged = False
        self.dangling: list[tuple[str, str, str]] = []
        """Kind and ID of what names something that has no record, and what it names."""
        self._offers = offers

    def lines(self) -> list[str]:
        """The plan, a line each."""
        return [*(step.words for step in self.steps), *(f"cannot be repaired: {one}" for one in self.left)] or ["nothing to repair"]

    def carry_out(self, core: Core) -> None:
        """Take each step; one that fails is told and the others are taken. What was done is a commit."""
        did: list[str] = []
        for step in self.steps:
            try:
                step.act()
                did.append(step.words)
            except (StoreError, OSError) as error:
                self.left.append(f"{step.words}: {error}")
        for offer in self._offers:
            offer.close()
        if did:
            mended = {"type": "StoreMended", "tool": "repair", "did": did, **({"lost": self.left} if self.left else {})}
            core.ledger.commit(lambda rows: [mended], envelope=core.terms.envelope)

    def next_command(self, done: bool, given: str = "") -> str:
        """What to run after this; *given*: the sources that the plan was made with."""
        if self.journal_damaged:
            return "layerlog journal salvage"
        if self.steps and not done:
            return f"layerlog repair{given} --yes"
        return "layerlog repair --give-up" if self.left else "layerlog check"


def plan_repair(core: Core, paths: list[str], asked: list[str], give_up: bool = False) -> Repair:
    """Look for damage (in the layers *asked* for, or everywhere) and for who can make up for it. Changes nothing.

    *give_up*: what nothing offers is planned away, at the size of the damage (giving_up.py), instead of being ``left``.

    Raises InvalidImage, StoreError for a path that cannot be read, LayerUnknown.
    """
    core = core.plainly()  # a commit for each step
    offers = [open_offer(path, core) for path in paths]
    found = Repair([Itself(core), *offers])
    found.dangling = dangling(core)
    found.journal_damaged = core.ledger.has_damage()
    only = {core.layer(one).id for one in asked}
    damaged = _damaged_layers(core)
    with core.reading() as rows:
        rows_of = {row["id"]: row for row in every(rows.own, "layer")}
    for layer_id in (one for one in rows_of if one in damaged and (not only or one in only)):  # in order of creation: base first
        _plan_layer(core, found, rows_of[layer_id], damaged[layer_id])
    if not only:
        planned = _plan_records(core, found)
        found.left += [f"{kind} {item}: its {what} has no record" for kind, item, what in found.dangling if what.split()[1] not in planned]
        _plan_blobs(core, found)
    if give_up:
        from layerlog import giving_up

        giving_up.give_up(core, found)
    return found


def dangling(core: Core) -> list[tuple[str, str, str]]:
    """(kind, ID, what it names in words) of every layer and container whose parent, layer or image has no record."""
    with core.reading() as rows:
        layers = every(rows.own, "layer")
        known = {row["id"] for row in every(rows, "layer")}
        found = [("layer", row["id"], f"parent {row['parent']}") for row in layers if row.get("parent") and row["parent"] not in known]
        for row in every(rows.own, "container"):
            if row.get("layer") not in known:
                found.append(("container", row["id"], f"layer {row.get('layer')}"))
            elif row.get("image") and get(rows, "image", row["image"]) is None:
                found.append(("container", row["id"], f"image {row['image']}"))
        for row in every(rows.own, "image"):
            missing = [one for one in image_rows.top_layers(row) if one not in known]
            found += [("image", row["id"], f"layer {one}") for one in missing]
    return found


def _damaged_layers(core: Core) -> dict[str, str]:
    """ID -> what is wrong with the contents of a layer."""
    from layerlog.check_trees import contents

    found: dict[str, str] = {}
    for one in contents(core, quick=False):
        if one.kind == "layer" and one.grade in (CONTENT, MISSING):
            found.setdefault(one.id, str(one.message).partition(": ")[2])
    return found


def _plan_layer(core: Core, found: Repair, row: Row, why: str) -> None:
    layer_id, wanted = row["id"], row.get("contents", {}).get("diff_digest", "")
    if "opened" in row or not wanted:
        found.left.append(f"layer {layer_id}: {why}; what programs wrote into it is nowhere else")
        found.left_layers[layer_id] = why
        return
    layer, chain = Layer(row), core.chain(layer_id)
    if core.driver.exists(layer_id) and row["contents"].get("tar_split") and gives(core, layer, chain, wanted):
        words = f"layer {layer_id}: {why}; unpacked again from its own files"
        found.steps.append(Step(words, lambda: refill(core, layer_id, lambda: _own(core, layer, chain), wanted)))
        return
    for offer in found._offers:
        stream = offer.layer(wanted)
        if stream is not None:
            stream.close()
            words = f"layer {layer_id}: {why}; fetched from {offer.where}"
            found.steps.append(Step(words, partial(refill, core, layer_id, partial(offer.layer, wanted), wanted)))
            return
    found.left.append(f"layer {layer_id}: {why}; nothing offers {wanted}")
    found.left_layers[layer_id] = why


def _own(core: Core, layer: Layer, chain: list[str]) -> IO[bytes]:
    from layerlog.contents import open_diff

    return Blocks(open_diff(core, layer, chain, None, 0))  # type: ignore[return-value] # read is all that is used


def refill(core: Core, layer_id: str, open_stream: Callable[[], IO[bytes] | None], wanted: str) -> None:
    """Give a layer its contents again, from nothing: staged, verified, synced, committed, swapped. Durable on return.

    Raises LayerMounted (it or a layer above it is mounted), DigestMismatch, InUse, DriverError; then nothing changed.
    """
    core.must_write()
    with core.reading() as rows:
        chain = layer_rows.chain(rows, layer_id)
    for one in chain[:1]:
        ensure_created(core, one)
    with core.lease(layer_id, "repair") as lease, putting(core):
        _not_mounted(core, layer_id)
        row = core.layer_row(layer_id)
        if row is None:
            raise LayerUnknown(asked=layer_id)
        generation = row["generation"]
        note = {"doing": "repair", "generation": generation + 1, **core.holder_note()}
        lease.rewrite(note)
        try:
            if _is_rotten(core, record := row["contents"].get("tar_split", {}).get("blob", "")):
                _lose(core, record)  # an equal one would be taken for whole
            staged = core.driver.stage(layer_id, chain)
            give_owners(staged, core.layer_row(chain[0]) if chain else None, row)
            stream = open_stream()
            if stream is None:
                raise BlobMissing(digest=wanted)
            with stream:
                made = apply_to(core, staged, stream)
            if made["diff_digest"] != wanted:
                raise DigestMismatch(where=f"layer {layer_id[:12]}", expected=wanted, found=made["diff_digest"])
            kept = {name: row["contents"][name] for name in ("compressed_digest", "compressed_size", "compression", "toc_digest")
                    if row["contents"].get(name)}  # fmt: skip
            staged.sync()
            change.commit(core, lambda rows: _refilled(decide.apply_diff(rows, layer_id, generation, {**made, **kept}, False)))
            core.driver.swap(layer_id)
        except BaseException as error:
            core.after_failure(lease, error, note)
            raise


def _is_rotten(core: Core, digest: str) -> bool:
    """Whether a blob is there and is not what its name says."""
    if not digest or not core.blobs.has(digest):
        return False
    try:
        core.blobs.read(digest)
    except DigestMismatch:
        return True
    return False


def _refilled(events: list[Any]) -> list[Any]:
    """The layer holds this diff and nothing else: ``check`` may compare its whole tree."""
    return [{**event, "anew": True} for event in events]


def _not_mounted(core: Core, layer_id: str) -> None:
    """Raise LayerMounted when the layer, or one that stands on it, is mounted: the kernel reads the folders that are swapped."""
    counted = {row["id"]: row["path"] for row in every_mount(core)}
    with core.reading() as rows:
        for one, path in counted.items():
            if layer_id in (one, *layer_rows.chain(rows, one)):
                raise LayerMounted(id=one, path=path)


# --- records of layers that an image names and that are gone


def _plan_records(core: Core, found: Repair) -> set[str]:
    """Layers that an image's config names and that have no record: made again under the same ID. Those that can be."""
    planned: set[str] = set()
    with core.reading() as rows:
        known = {row["id"] for row in every(rows, "layer")}
        images = every(rows.own, "image")
    for image in images:
        if not [one for one in image_rows.top_layers(image) if one not in known] and _whole_chain(core, image, known):
            continue
        parents = ""
        for layer_id, diff_id in _config_layers(core, image):
            parent, parents = parents, layer_id
            if layer_id in known or layer_id in planned:
                continue
            offer = _offering(found, diff_id)
            if offer is None or (parent and parent not in known and parent not in planned):
                break
            planned.add(layer_id)
            words = f"image {image['id']}: layer {layer_id} made again from {offer.where}"
            found.steps.append(Step(words, partial(_made_again, core, offer, layer_id, parent, diff_id)))
    return planned


def _whole_chain(core: Core, image: Row, known: set[str]) -> bool:
    with core.reading() as rows:
        tops = image_rows.top_layers(image)
        chain = [one for top in tops for one in (top, *layer_rows.chain(rows, top))]
        return all(one in known for one in chain) and all((get(rows, "layer", one) or {}).get("parent", one) for one in chain[-1:])


def _offering(found: Repair, diff_id: str) -> Offer | None:
    for offer in found._offers:
        stream = offer.layer(diff_id)
        if stream is not None:
            stream.close()
            return offer
    return None


def _config_layers(core: Core, image: Row) -> Iterator[tuple[str, str]]:
    """(layer ID, diffID) as the image's config gives them, base first; nothing when the config cannot be read."""
    config = image.get("big_data", {}).get(f"sha256:{image['id']}")
    if config is None:
        return
    try:
        diff_ids = oci.parse(core.blobs_with(config["blob"]).read(config["blob"]), oci.Config, f"image {image['id'][:12]}").rootfs.diff_ids
    except StoreError:
        return
    parent = ""
    for diff_id in diff_ids:
        parent = oci.layer_id(parent, diff_id)
        yield parent, diff_id


def _made_again(core: Core, offer: Offer, layer_id: str, parent: str, diff_id: str) -> None:
    stream = offer.layer(diff_id)
    if stream is None:
        raise BlobMissing(digest=diff_id)
    with Filled(core, layer_id, parent, "repair") as filled, stream:
        contents = filled.apply(stream)
        if contents["diff_digest"] != diff_id:
            raise DigestMismatch(where=f"layer {layer_id[:12]}", expected=diff_id, found=contents["diff_digest"])
        filled.place()
        change.commit(core, lambda rows: decide.create(rows, layer_id, parent, contents=contents))


# --- data items


def _plan_blobs(core: Core, found: Repair) -> None:
    """Blobs that are missing or have other contents: fetched, or, where only the past refers to them, put into lost+found."""
    with core.reading() as rows:
        owners: dict[str, list[tuple[str, str, str]]] = {}
        for kind in ("layer", "image", "container"):
            for row in every(rows.own, kind):
                for key, ref in row.get("big_data", {}).items():
                    owners.setdefault(ref["blob"], []).append((kind, row["id"], key))
    for digest in dict.fromkeys([*owners, *core.blobs.digests()]):
        try:
            core.blobs_with(digest).read(digest)
            continue
        except (StoreError, OSError) as error:
            why = "is missing" if isinstance(error, BlobMissing) else "has other contents"
        shown = ", ".join(f"{kind} {item_id}: data item {key}" for kind, item_id, key in owners.get(digest, ()))
        words = f"{shown or f'kept data item {digest}'} {why}"
        offer = next((one for one in found._offers if one.blob(digest) is not None), None)
        if offer is not None:
            found.steps.append(Step(f"{words}; fetched from {offer.where}", partial(_put, core, offer, digest)))
        elif digest in owners:
            found.left.append(f"{words}; nothing offers {digest}")
            found.left_items += owners[digest]
        elif core.blobs.has(digest) and not _is_tar_split(core, digest):
            found.steps.append(Step(f"{words}; to lost+found", partial(_lose, core, digest)))


def _is_tar_split(core: Core, digest: str) -> bool:
    """Whether a layer needs it: its repair makes a new one, after which nothing refers to this."""
    with core.reading() as rows:
        return any(row.get("contents", {}).get("tar_split", {}).get("blob") == digest for row in every(rows.own, "layer"))


def _put(core: Core, offer: Offer, digest: str) -> None:
    data = offer.blob(digest)
    if data is None:
        raise BlobMissing(digest=digest)
    found = oci.digest_of(data)
    if found != digest:
        raise DigestMismatch(where=offer.where, expected=digest, found=found)
    with putting(core):
        if core.blobs.has(digest):
            _lose(core, digest)
        core.blobs.put(data)


def _lose(core: Core, digest: str) -> None:
    """Put a damaged blob aside: its bytes may still be of use to somebody."""
    from layerlog.eventstore import disk

    folder = core.folder("lost+found", "blobs")
    disk.make_folders_below(core.folder(), folder)
    disk.rename(core.blobs.path(digest), os.path.join(folder, f"{digest.partition(':')[2]}.{os.urandom(4).hex()}"))
    disk.sync_folder(folder)
