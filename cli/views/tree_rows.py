"""The layer tree as rows, without any drawing: what ``tree`` shows, what its JSON holds, what tests compare.

A chain of layers stands in one column, as in a stack; only a fork indents. So a 300-layer image stays
readable at 80 columns, and a fork is seen as what it is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerlog.records import Container, Image, Layer


class Row:
    """One layer: the lines before it, what sits on it, how many images and containers need it."""

    __slots__ = ("below", "containers", "images", "layer", "lines", "mount", "root", "users")

    def __init__(self, layer: Layer, lines: str, below: str, root: bool) -> None:
        self.layer, self.root = layer, root
        self.lines = lines
        """Drawing before the ID."""
        self.below = below
        """Drawing on further lines of the same row."""
        self.images: list[Image] = []
        self.containers: list[Container] = []
        self.mount: tuple[str, int] | None = None
        """Path and count."""
        self.users = 0
        """Images and containers whose chain it is part of."""

    @property
    def size(self) -> int | None:
        """Recorded bytes; None for a layer without recorded contents."""
        return None if self.layer.contents is None else self.layer.contents.diff_size


def tree_rows(
    layers: Sequence[Layer], images: Iterable[Image], containers: Iterable[Container], mounts: Iterable[tuple[str, str, int]] = ()
) -> list[Row]:
    """Rows from the base up, in drawing order. A layer whose parent is missing stands as a root."""
    rows = _drawn(layers)
    by_id = {row.layer.id: row for row in rows}
    for image in images:
        for layer_id in (image.layer, *image.mapped_layers):
            if layer_id in by_id:
                by_id[layer_id].images.append(image)
        _count(by_id, {one for top in (image.layer, *image.mapped_layers) for one in _chain(by_id, top)})
    for container in containers:
        if container.layer in by_id:
            by_id[container.layer].containers.append(container)
        _count(by_id, set(_chain(by_id, container.layer)))
    for layer_id, path, count in mounts:
        if layer_id in by_id:
            by_id[layer_id].mount = (path, count)
    return rows


def _count(by_id: dict[str, Row], layer_ids: Iterable[str]) -> None:
    for layer_id in layer_ids:
        by_id[layer_id].users += 1


def _chain(by_id: dict[str, Row], layer_id: str) -> list[str]:
    """*layer_id* and its ancestors; ends at a missing one and at a loop (damage)."""
    found: dict[str, None] = {}
    while layer_id in by_id and layer_id not in found:
        found[layer_id] = None
        layer_id = by_id[layer_id].layer.parent
    return list(found)


def _drawn(layers: Sequence[Layer]) -> list[Row]:
    known = {layer.id for layer in layers}
    children: dict[str, list[Layer]] = {}
    for layer in layers:
        children.setdefault(layer.parent if layer.parent in known else "", []).append(layer)
    rows: list[Row] = []
    # (layer, drawing left of its own column, fork sign or "", whether it is the last of a fork), depth first
    stack: list[tuple[Layer, str, str]] = [(root, "", "root") for root in reversed(children.get("", ()))]
    while stack:
        layer, left, place = stack.pop()
        under = children.get(layer.id, [])
        lines, column = _lines(left, place, bool(under))
        rows.append(Row(layer, lines, column + ("│ " if under else "  "), place == "root"))
        if len(under) == 1:
            stack.append((under[0], column, "chain"))
        else:
            stack += [(child, column, "last" if child is under[-1] else "fork") for child in reversed(under)]
    return rows


def _lines(left: str, place: str, more: bool) -> tuple[str, str]:
    """Drawing of one layer, and of the column that its descendants stand in."""
    if place == "root":
        return left + ("┌ " if more else "─ "), left
    if place == "chain":
        return left + ("├ " if more else "└ "), left
    corner, below = ("├─", "│ ") if place == "fork" else ("└─", "  ")
    return left + corner + ("┬ " if more else "─ "), left + below


class Totals:
    """Sums over rows: bytes in layers that several need, that one needs, that none needs."""

    __slots__ = ("shared", "shared_layers", "unique", "unique_layers", "unused", "unused_layers")

    def __init__(self, rows: Iterable[Row]) -> None:
        self.shared = self.unique = self.unused = 0
        self.shared_layers = self.unique_layers = self.unused_layers = 0
        for row in rows:
            size = row.size or 0
            if row.users > 1:
                self.shared, self.shared_layers = self.shared + size, self.shared_layers + 1
            elif row.users:
                self.unique, self.unique_layers = self.unique + size, self.unique_layers + 1
            else:
                self.unused, self.unused_layers = self.unused + size, self.unused_layers + 1
