"""``tree``: the layers of a store with everything that sits on them."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Group

from layerlog.cli.views import palette, units
from layerlog.cli.views.text import Text
from layerlog.cli.views.tree_rows import Row, Totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from layerlog.records import Image

WIDE = 120
"""From this width on, age, digest and mount paths are shown, too."""


def tree_view(rows: Sequence[Row], loose: Sequence[Image], head: str, width: int, now_ns: int) -> RenderableType:
    """The tree at *width* columns. *loose* are images without layers, *head* says which store and state this is."""
    lines = [Text(head, style=palette.QUIET), Text(), *tree_lines(rows, width, now_ns)]
    if loose:
        lines += [Text(), Text("images without layers", style=palette.QUIET)]
        lines += [Text.assemble("  ", *_image_label(image)) for image in loose]
    lines += [Text(), *_totals(rows)]
    return Group(*lines)


def tree_lines(rows: Sequence[Row], width: int, now_ns: int) -> list[Text]:
    """The drawing alone."""
    lines: list[Text] = []
    left = max([cell_len(row.lines + units.short(row.layer.id)) for row in rows] + [len("LAYER")]) + 2
    wide = width >= WIDE
    if rows:
        lines.append(_title(left, wide))
    for row in rows:
        if row.root and row is not rows[0]:
            lines.append(Text())
        lines += _row(row, left, width, wide, now_ns)
    return lines


def _title(left: int, wide: bool) -> Text:
    words = f"{'LAYER':<{left}}{'SIZE':>8}  {'USED':>4}  " + (f"{'CREATED':<15}{'CONTENTS':<22}" if wide else "") + "WHAT SITS ON IT"
    return Text(words, style=palette.QUIET)


def _row(row: Row, left: int, width: int, wide: bool, now_ns: int) -> list[Text]:
    """First line with all columns; further lines with what did not fit beside."""
    size = "–" if row.size is None else units.size(row.size)
    used = f"×{row.users}" if row.users > 1 else "" if row.users else "none"
    line = Text.assemble(
        (row.lines, palette.QUIET),
        (units.short(row.layer.id), "" if row.users else palette.QUIET),
        " " * (left - cell_len(row.lines + units.short(row.layer.id))),
        (f"{size:>8}", "" if row.size else palette.QUIET),
        (f"  {used:>4}  ", palette.QUIET),
    )
    if wide:
        digest = row.layer.contents.diff_digest if row.layer.contents else ""
        line.append(f"{units.age(row.layer.created_ns, now_ns):<15}{digest[:19]:<22}", style=palette.QUIET)
    room = max(width - cell_len(line.plain), 16)
    indent = cell_len(line.plain)
    chunks = _filled(_labels(row, wide, room), room)
    lines = [Text.assemble(line, chunks[0])] if chunks else [line]
    lines += [Text.assemble((row.below, palette.QUIET), " " * (indent - cell_len(row.below)), chunk) for chunk in chunks[1:]]
    for one in lines:
        one.rstrip()
        one.no_wrap = True
        one.overflow = "ellipsis"
    return lines


def _labels(row: Row, wide: bool, room: int) -> list[Text]:
    found = [Text(name, style=palette.NAME) for name in row.layer.names]
    found += [Text.assemble(*_image_label(image)) for image in row.images]
    sign = (palette.CONTAINER_SIGN + " ", palette.CONTAINER)
    found += [Text.assemble(sign, *_names(one.names, one.id, palette.CONTAINER)) for one in row.containers]
    if row.mount is not None:
        path, count = row.mount
        times = f" ×{count}" if count > 1 else ""
        full = f"{palette.MOUNT_SIGN} {path}{times}"
        found.append(Text(full if wide and cell_len(full) <= room else f"{palette.MOUNT_SIGN} mounted{times}", style=palette.MOUNT))
    return found


def _image_label(image: Image) -> list[tuple[str, str]]:
    return [(palette.IMAGE_SIGN + " ", palette.IMAGE), *_names(image.names, image.id, palette.IMAGE)]


def _names(names: Sequence[str], item_id: str, style: str) -> list[tuple[str, str]]:
    """Names, or the ID of something without one."""
    return [(", ".join(names), style)] if names else [(units.short(item_id), palette.QUIET)]


def _filled(labels: Sequence[Text], room: int) -> list[Text]:
    """Labels in as few lines as *room* allows; a label that is too long is cut by an ellipsis at its front part's end."""
    lines: list[Text] = []
    for label in labels:
        if lines and cell_len(lines[-1].plain) + 2 + cell_len(label.plain) <= room:
            lines[-1].append("  ").append_text(label)
        else:
            cut = Text.assemble(label)
            cut.truncate(room, overflow="ellipsis")
            lines.append(cut)
    return lines


def _totals(rows: Sequence[Row]) -> list[Text]:
    """Two lines: what there is, and how it is shared."""
    totals = Totals(rows)
    images = {image.id for row in rows for image in row.images}
    containers = sum(len(row.containers) for row in rows)
    mounted = sum(1 for row in rows if row.mount)
    sizes = totals.shared + totals.unique + totals.unused
    parts = [units.count(len(rows), "layer"), units.size(sizes), units.count(len(images), "image"), units.count(containers, "container")]
    parts += [f"{mounted} mounted"] if mounted else []
    first = Text(" · ".join(parts), style=palette.TITLE)
    shares = []
    if totals.shared_layers:
        shares.append(f"shared {units.size(totals.shared)} in {units.count(totals.shared_layers, 'layer')}")
    if totals.unique_layers:
        shares.append(f"unique {units.size(totals.unique)} in {units.count(totals.unique_layers, 'layer')}")
    if totals.unused_layers:
        shares.append(f"unused {units.size(totals.unused)} in {units.count(totals.unused_layers, 'layer')}")
    return [first, Text(" · ".join(shares), style=palette.QUIET)] if shares else [first]
