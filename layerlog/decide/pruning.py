"""Decisions about what may go: what nobody named, nobody uses and nobody holds.

In the habits of podman and docker: a container that is not mounted is stopped; an image without names is dangling; a
layer that no image and no container needs is left over from a build. Nothing is chosen that the safe deletes refuse,
nothing that is pinned, and nothing of another store.
"""

from __future__ import annotations

from layerlog.decide import containers, images, layers
from layerlog.decide.common import unchanged_since
from layerlog.decide.netting import preview
from layerlog.eventstore.errors import Conflict, NotFound, StaleVersion
from layerlog.eventstore.rows import Overlay
from layerlog.projections import images as image_rows
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every, get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container as In
    from collections.abc import Iterator, Sequence

    from layerlog.decide.layers import Events
    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row

CONTAINERS, IMAGES, LAYERS = KINDS = ("container", "image", "layer")


class PlanOutdated(StaleVersion):
    """Somebody began to use what a plan would delete. Data: ``expected``, ``what``."""

    message = "the plan was made on commit {expected}; since then: {what}"


class Going:
    """One thing that would be deleted, and why. ``with_image``: the image whose deletion takes this layer along."""

    __slots__ = ("id", "kind", "names", "size", "why", "with_image")

    def __init__(self, kind: str, id: str, names: Sequence[str], why: str, size: int = 0, with_image: str = "") -> None:
        self.kind, self.id, self.names, self.why = kind, id, list(names), why
        self.size = size
        """Recorded bytes that its deletion gives back."""
        self.with_image = with_image


def plan(rows: Rows, kinds: In[str], everything: bool, before_ns: int, mounted: In[str]) -> list[Going]:
    """What would go, in the order in which it can: containers, images with the layers that only they need, layers.

    *everything*: also images that have names, if no container uses them, and layers that have names or a build key.
    *before_ns*: only what was created before. *mounted*: IDs of layers in use.
    """
    seen = rows.with_own(Overlay(rows.own))
    found: list[Going] = []
    if CONTAINERS in kinds:
        found += _containers(seen, before_ns, mounted)
    if IMAGES in kinds:
        found += _images(seen, everything, before_ns, mounted)
    if LAYERS in kinds:
        found += _layers(seen, everything, before_ns, mounted)
    return found


def _own(seen: Rows) -> Overlay:
    own = seen.own
    assert isinstance(own, Overlay)
    return own


def _containers(seen: Rows, before_ns: int, mounted: In[str]) -> Iterator[Going]:
    for row in every(seen.own, "container"):
        layer = get(seen.own, "layer", row.get("layer", "")) or {}
        if row.get("pins") or layer.get("pins") or row.get("layer") in mounted or row["created_ns"] >= before_ns:
            continue
        preview(_own(seen), containers.delete(seen, row["id"], True))
        yield Going("container", row["id"], row.get("names", ()), "not mounted", _bytes(layer))


def _images(seen: Rows, everything: bool, before_ns: int, mounted: In[str]) -> Iterator[Going]:
    for row in every(seen.own, "image"):
        if (row.get("names") and not everything) or row.get("pins") or row["created_ns"] >= before_ns:
            continue
        if next(iter(image_rows.containers_of(seen.domain, row["id"])), None) is not None:
            continue
        before = {layer_id: get(seen, "layer", layer_id) for top in image_rows.top_layers(row) for layer_id in _stack(seen, top)}
        events = images.delete(seen, row["id"], True, busy=mounted)
        preview(_own(seen), events)
        items = sum(ref["size"] for ref in row.get("big_data", {}).values())
        yield Going("image", row["id"], row.get("names", ()), "no container" if row.get("names") else "no name", items)
        for layer_id in (one["id"] for one in events if one["type"] == "LayerDeleted"):
            layer = before.get(layer_id) or {}
            yield Going("layer", layer_id, layer.get("names", ()), "only its image needs it", _bytes(layer), row["id"])


def _layers(seen: Rows, everything: bool, before_ns: int, mounted: In[str]) -> Iterator[Going]:
    needed = {layer_id for row in every(seen.domain, "image") for top in image_rows.top_layers(row) for layer_id in _stack(seen, top)}
    needed |= {layer_id for row in every(seen.domain, "container") for layer_id in _stack(seen, row.get("layer", ""))}
    left = [row for row in every(seen.own, "layer") if row["id"] not in needed]
    for row in sorted(left, key=lambda row: -len(layer_rows.chain(seen, row["id"]))):
        kept = (row.get("names") or row.get("keys")) and not everything
        if kept or row.get("pins") or row["id"] in mounted or row["created_ns"] >= before_ns or layer_rows.children(seen.domain, row["id"]):
            continue
        preview(_own(seen), layers.delete(seen, row["id"], True))
        yield Going("layer", row["id"], row.get("names", ()), "nothing needs it", _bytes(row))


def _stack(rows: Rows, top: str) -> list[str]:
    return [top, *layer_rows.chain(rows, top)] if top else []


def _bytes(layer: Row) -> int:
    return int(layer.get("contents", {}).get("diff_size", 0))


def removal(rows: Rows, going: Sequence[Going], kept: bool, expected: int, mounted: In[str]) -> Events:
    """Events that delete exactly *going*; nothing of it may have been changed or come into use since commit *expected*.

    Raises StaleVersion, PlanOutdated.
    """
    seen = rows.with_own(Overlay(rows.own))
    events: Events = []
    with_image: dict[str, set[str]] = {}
    for one in going:
        with_image.setdefault(one.with_image, set()).add(one.id)
    for one in going:
        if one.with_image:
            continue
        for layer_id in [one.id] if one.kind == "layer" else [(get(rows, "container", one.id) or {}).get("layer", "")]:
            if layer_id in mounted:
                raise PlanOutdated(expected=expected, what=f"{one.kind} {one.id} was mounted")
        try:
            step = _delete(seen, one, kept, mounted)
        except (Conflict, NotFound) as refused:
            raise PlanOutdated(expected=expected, what=f"{one.kind} {one.id}: {refused}") from refused
        unchanged_since(seen, step, expected)
        taken = {event["id"] for event in step if event["type"] == "LayerDeleted"}
        if one.kind == "image" and taken != with_image.get(one.id, set()):
            other = min(taken ^ with_image.get(one.id, set()))
            raise PlanOutdated(expected=expected, what=f"what needs layer {other} is not what it was")
        preview(_own(seen), step)
        events += step
    return events


def _delete(seen: Rows, one: Going, kept: bool, mounted: In[str]) -> Events:
    if one.kind == "container":
        return containers.delete(seen, one.id, kept)
    return images.delete(seen, one.id, kept, mounted) if one.kind == "image" else layers.delete(seen, one.id, kept)
