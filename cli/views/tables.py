"""Short tables: images, containers, layers, disk usage."""

from __future__ import annotations

import time

from rich.table import Table

from layerlog.cli.views import palette, units
from layerlog.cli.views.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import OverflowMethod

    from layerlog.mount_states import MountState
    from layerlog.records import Container, Image, Layer
    from layerlog.view import View


def new_table(*titles: str) -> Table:
    """No frame; a title that ends in ``>`` is aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=palette.QUIET)
    for title in titles:
        right = title.endswith(">")
        first = title == titles[0]
        overflow: OverflowMethod = "fold" if first else "ellipsis"
        table.add_column(title.rstrip(">"), justify="right" if right else "left", no_wrap=not first, overflow=overflow)
    return table


def names_text(names: Sequence[str], style: str) -> Text:
    return Text.lines(names, style) if names else Text("<none>", style=palette.QUIET)


def chain_sizes(layers: dict[str, Layer], top: str) -> tuple[int, int]:
    """Number and recorded bytes of a layer and its ancestors."""
    seen: set[str] = set()
    total = 0
    while top in layers and top not in seen:
        seen.add(top)
        contents = layers[top].contents
        total += contents.diff_size if contents else 0
        top = layers[top].parent
    return len(seen), total


def image_table(view: View, images: Sequence[Image], now_ns: int | None = None, whole: bool = False) -> Table:
    """``ls``: images with their names, newest first; *whole* shows whole IDs."""
    table = new_table("NAME", "ID", "LAYERS>", "SIZE>", "CREATED")
    layers = {layer.id: layer for layer in view.layers()}
    now = now_ns if now_ns is not None else time.time_ns()
    for image in sorted(images, key=lambda image: -image.created_ns):
        number, size = chain_sizes(layers, image.layer)
        size += sum(item_size for _, item_size in image.big_data.values())
        created = units.age(image.created_ns, now)
        item_id = image.id if whole else units.short(image.id)
        table.add_row(names_text(image.names, palette.IMAGE), item_id, str(number), units.size(size), created)
    return table


def container_table(view: View, now_ns: int | None = None, containers: Sequence[Container] | None = None, whole: bool = False) -> Table:
    """``ps``: containers (by default all) with their images and mount points, newest first; *whole* shows whole IDs."""
    table = new_table("NAME", "ID", "IMAGE", "CREATED", "MOUNTED")
    images = {image.id: image for image in view.images()}
    mounts = {layer_id: path for layer_id, path, _ in view.mounts()}
    now = now_ns if now_ns is not None else time.time_ns()
    for one in sorted(view.containers() if containers is None else containers, key=lambda one: -one.created_ns):
        image = images.get(one.image)
        of = Text(image.names[0] if image and image.names else units.short(one.image), style=palette.IMAGE)
        mount = Text(mounts.get(one.layer, ""), style=palette.MOUNT)
        item_id = one.id if whole else units.short(one.id)
        table.add_row(names_text(one.names, palette.CONTAINER), item_id, of, units.age(one.created_ns, now), mount)
    return table


def layer_table(view: View, now_ns: int | None = None) -> Table:
    """``layers``: in order of creation."""
    table = new_table("LAYER", "PARENT", "SIZE>", "CREATED", "NAMES AND USERS")
    users: dict[str, list[Text]] = {}
    for image in view.images():
        called = ", ".join(image.names) or units.short(image.id)
        users.setdefault(image.layer, []).append(Text(f"{palette.IMAGE_SIGN} {called}", style=palette.IMAGE))
    for one in view.containers():
        called = ", ".join(one.names) or units.short(one.id)
        users.setdefault(one.layer, []).append(Text(f"{palette.CONTAINER_SIGN} {called}", style=palette.CONTAINER))
    now = now_ns if now_ns is not None else time.time_ns()
    for layer in view.layers():
        words = [Text(name, style=palette.NAME) for name in layer.names] + users.get(layer.id, [])
        size = units.size(layer.contents.diff_size) if layer.contents else "–"
        table.add_row(units.short(layer.id), units.short(layer.parent), size, units.age(layer.created_ns, now), Text("  ").join(words))
    return table


class Usage:
    """One line of ``df``."""

    __slots__ = ("active", "freeable", "size", "total", "what")

    def __init__(self, what: str, total: int, active: int | None, size: int, freeable: int | None) -> None:
        self.what, self.total, self.active, self.size, self.freeable = what, total, active, size, freeable


def usage_table(rows: Sequence[Usage], width: int) -> Table:
    """``df``, with a bar that shows each share of the whole."""
    table = new_table("TYPE", "TOTAL>", "ACTIVE>", "SIZE>", "FREEABLE>", "")
    whole = sum(row.size for row in rows) or 1
    room = max(min(width - 52, 40), 8)
    for row in rows:
        active = "" if row.active is None else str(row.active)
        freeable = "" if row.freeable is None else units.size(row.freeable)
        size = units.size(row.size) if row.size else ""
        table.add_row(row.what, f"{row.total:,}", active, size, freeable, bar(row.size / whole, room))
    return table


def bar(share: float, room: int) -> Text:
    """A bar of *room* columns, filled by eighths."""
    eighths = round(share * room * 8)
    full, part = divmod(eighths, 8)
    filled = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return Text(filled, style="cyan")


def mount_table(found: Sequence[MountState]) -> Table:
    """``mounts``: one a row."""
    table = new_table("WHAT", "COUNT>", "STATE", "WHERE")
    for one in found:
        style = palette.QUIET if one.state in ("ok", "elsewhere") else palette.REMOVED
        table.add_row(Text(one.name or units.short(one.id)), str(one.count), Text(one.state, style=style), Text(one.path))
    return table
