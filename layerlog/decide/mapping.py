"""Decisions about ID maps: whose a new layer gets, and which of an image's layers a container can stand on.

Source: contract/semantics.md §6. ``shifting``: the driver can show a layer under any maps, so that layers are stored
without and only containers record theirs.
"""

from __future__ import annotations

from layerlog.decide.common import event
from layerlog.eventstore.errors import InvalidMappings
from layerlog.projections import images
from layerlog.projections.items import get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from layerlog.eventstore.events import MapEntry
    from layerlog.eventstore.rows import Rows
    from layerlog.projections.items import Row

FIELDS = ("uid_map", "gid_map")
ID_END = 1 << 32


class Asked:
    """What a caller asked for: maps, or the host's own IDs (*host_uids*, *host_gids*), or nothing, which inherits."""

    __slots__ = ("gid_map", "host_gids", "host_uids", "uid_map")

    def __init__(
        self, uid_map: Sequence[MapEntry] = (), gid_map: Sequence[MapEntry] = (), host_uids: bool = False, host_gids: bool = False
    ) -> None:
        self.uid_map, self.gid_map = checked(uid_map), checked(gid_map)
        self.host_uids, self.host_gids = host_uids, host_gids

    def __bool__(self) -> bool:
        return bool(self.uid_map or self.gid_map or self.host_uids or self.host_gids)

    def over(self, parent: Row | None) -> dict[str, list[MapEntry]]:
        """Maps of a layer on *parent*."""
        return {
            "uid_map": [] if self.host_uids else self.uid_map or list((parent or {}).get("uid_map", ())),
            "gid_map": [] if self.host_gids else self.gid_map or list((parent or {}).get("gid_map", ())),
        }


def checked(entries: Sequence[MapEntry]) -> list[MapEntry]:
    """The entries, if they fit together. Raises InvalidMappings for those that overlap, are empty or go beyond 32 bits."""
    for one in entries:
        shown = f"{one['container_id']}:{one['host_id']}:{one['size']}"
        starts = one["container_id"], one["host_id"]
        if one["size"] <= 0 or min(starts) < 0 or max(starts) + one["size"] > ID_END:
            raise InvalidMappings(f"the specified UID and/or GID mapping {shown} covers no IDs, or more than there are")
    for side in ("container_id", "host_id"):
        seen: list[MapEntry] = []
        for one in entries:
            start, end = one[side], one[side] + one["size"]
            if any(start < other[side] + other["size"] and other[side] < end for other in seen):
                shown = f"{one['container_id']}:{one['host_id']}:{one['size']}"
                raise InvalidMappings(
                    f"the specified UID and/or GID mapping {shown} conflicts with other mappings: invalid mappings specified"
                )
            seen.append(one)
    return list(entries)


def maps(row: Row | None) -> dict[str, list[MapEntry]]:
    """The maps that a row records."""
    return {field: list((row or {}).get(field, ())) for field in FIELDS}


def image_is_mapped(rows: Rows, image: Row) -> bool:
    """Whether its own top layer has ID maps: who does not ask for any wants a copy without."""
    return any(maps(get(rows, "layer", image.get("layer", ""))).values())


def top_for(rows: Rows, image: Row, asked: Asked, shifting: bool) -> tuple[str, bool]:
    """The layer of *image* that a container with those maps stands on, and whether it fits as it is.

    If it does not, it is the one to be copied, or to be given other owners in the container's own layer.
    """
    tops = images.top_layers(image)
    if not tops or not asked:
        return (tops[0] if tops else ""), True
    found = {top: get(rows, "layer", top) for top in tops}
    for top, row in found.items():
        if row is not None and maps(row) == asked.over(None):
            return top, True
    if shifting:
        for top, row in found.items():
            if row is not None and not any(maps(row).values()):
                return top, True
    return tops[0], False


def owner_maps(rows: Rows, layer: Row) -> Row:
    """The row whose maps tell who the owners in a layer's files stand for: its own, else that of its container."""
    if any(maps(layer).values()):
        return layer
    from layerlog.projections import layers

    owner = layers.container_of(rows, layer["id"])
    return (get(rows, "container", owner) if owner else None) or layer


def copy_of_top(rows: Rows, image_id: str, copy_id: str, top: Row, wanted: dict[str, list[MapEntry]], contents: Any) -> list[Any]:
    """A copy of an image's top layer under other maps, with the same parent, and the image's note of it."""
    image = get(rows.own, "image", image_id)
    if image is None or image.get("layer") != top["id"]:
        from layerlog.eventstore.errors import ImageUnknown

        raise ImageUnknown(asked=image_id)
    same = {"parent": top.get("parent", ""), "loan": top.get("loan"), "contents": contents}
    made = event("LayerCreated", id=copy_id, copy_of=top["id"], **same, **wanted)
    copies = [*image.get("mapped_layers", ()), copy_id]
    return [made, {"type": "ImageMappedLayersSet", "id": image_id, "mapped_layers": copies}]
