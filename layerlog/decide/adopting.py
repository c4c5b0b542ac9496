"""What is made of layers and images that lost their records. Pure: evidence in, events and losses out.

A layer is adopted when its place in the tree is known: by its image's config (its ID is derived from it), by the
driver's own files, or because its folder is a whole tree (vfs). What is not known well enough is lost+found's.
"""

from __future__ import annotations

from layerlog.decide.common import event
from layerlog.projections.items import get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows


class Orphan:
    """A layer in place that no record claims. ``parent`` None: not known. ``proven``: its tar has the digest in ``contents``."""

    __slots__ = ("contents", "id", "parent", "proven", "whole_tree")

    def __init__(self, layer_id: str, parent: str | None, contents: dict[str, Any] | None, proven: bool, whole_tree: bool) -> None:
        self.id, self.parent, self.contents, self.proven, self.whole_tree = layer_id, parent, contents, proven, whole_tree


class KnownImage:
    """An image whose manifest and config are among the blobs: (digest, size) of both, its layers base first.

    ``packed``: digest and size of each layer as the manifest has it, and the code of its compression.
    """

    __slots__ = ("config", "diff_ids", "layer_ids", "manifest", "packed")

    def __init__(
        self,
        manifest: tuple[str, int],
        config: tuple[str, int],
        layer_ids: list[str],
        diff_ids: list[str],
        packed: list[tuple[str, int, int]],
    ) -> None:
        self.manifest, self.config, self.layer_ids, self.diff_ids, self.packed = manifest, config, layer_ids, diff_ids, packed

    @property
    def id(self) -> str:
        return self.config[0].partition(":")[2]


class Evidence:
    """All that was found."""

    __slots__ = ("images", "orphans")

    def __init__(self, orphans: list[Orphan], images: list[KnownImage]) -> None:
        self.orphans, self.images = orphans, images


class Adoption:
    """What to do: ``events`` (base first), what they bring back in words, IDs for lost+found with the reason, and what stays lost."""

    __slots__ = ("did", "events", "lose", "lost")

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.did: list[str] = []
        self.lose: dict[str, str] = {}
        self.lost: list[str] = []


def adopt(rows: Rows, evidence: Evidence) -> Adoption:
    """Claim what can be claimed."""
    found = Adoption()
    waiting = {orphan.id: orphan for orphan in evidence.orphans if get(rows, "layer", orphan.id) is None}
    coming: set[str] = set()

    def there(layer_id: str) -> bool:
        return layer_id in coming or get(rows, "layer", layer_id) is not None

    moved = True
    while moved:
        moved = False
        for orphan in list(waiting.values()):
            if orphan.parent is None and not orphan.whole_tree:
                continue
            if orphan.parent and not there(orphan.parent) and (orphan.parent in waiting or not orphan.whole_tree):
                continue
            _claim(found, orphan, orphan.parent if orphan.parent and there(orphan.parent) else "")
            coming.add(orphan.id)
            del waiting[orphan.id]
            moved = True
    for orphan in waiting.values():
        missing = f"its parent {orphan.parent} is gone" if orphan.parent else "its parent is not known"
        found.lose[orphan.id] = missing
        found.lost.append(f"layer {orphan.id}: {missing}; its files are in lost+found")
    _images(rows, evidence.images, found, coming)
    return found


def _claim(found: Adoption, orphan: Orphan, parent: str) -> None:
    alone = orphan.whole_tree and (orphan.parent is None or parent != orphan.parent)
    contents = None if alone else orphan.contents
    if contents is None:
        found.events.append(event("LayerCreated", id=orphan.id, parent=parent, opened=True))
        why = "a tree of its own, since its parent is not known" if alone else "its contents as they are"
        found.did.append(f"layer {orphan.id}: adopted, {why}")
        return
    found.events.append(event("LayerCreated", id=orphan.id, parent=parent, contents=contents))
    how = f"its tar is {contents['diff_digest']}" if orphan.proven else "its contents could not be proven"
    found.did.append(f"layer {orphan.id}: adopted, {how}")


def _images(rows: Rows, images: list[KnownImage], found: Adoption, coming: set[str]) -> None:
    made: set[str] = set()
    for image in images:
        if image.id in made or get(rows, "image", image.id) is not None:
            continue
        missing = [one for one in image.layer_ids if one not in coming and get(rows, "layer", one) is None]
        if missing:
            found.lost.append(f"image {image.id}: its manifest is here, {len(missing)} of its {len(image.layer_ids)} layers are not")
            continue
        made.add(image.id)
        (manifest, manifest_size), (config, config_size) = image.manifest, image.config
        items = {config: (config, config_size), f"manifest-{manifest}": (manifest, manifest_size), "manifest": (manifest, manifest_size)}
        refs = {key: {"blob": digest, "size": size} for key, (digest, size) in items.items()}
        top = image.layer_ids[-1] if image.layer_ids else ""
        found.events.append(event("ImageCreated", id=image.id, layer=top, digest=manifest, big_data=refs))
        found.did.append(f"image {image.id}: adopted without its names ({len(image.layer_ids)} layers)")
