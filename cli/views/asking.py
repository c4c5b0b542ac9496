"""Holders of a name, changes by actor, differences of two states."""

from __future__ import annotations

from layerlog.cli.views import palette, units
from layerlog.cli.views.tables import bar, new_table
from layerlog.cli.views.text import Text
from layerlog.cli.views.tree_rows import tree_rows
from layerlog.cli.views.who import command_of, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from layerlog.asking import Doing, ItemDifference, Tenure
    from layerlog.growth import Grown
    from layerlog.history import Commit
    from layerlog.records import Layer
    from layerlog.view import View


def blame_view(found: Sequence[Tenure]) -> Table:
    """One holder a row, oldest first."""
    table = new_table("HOLDER", "FROM", "BY", "UNTIL", "ENDED BY")
    for one in found:
        ended = Text("holds it now", style=palette.ADDED) if one.until is None else Text(f"{one.ended_by}, {who(one.until.envelope)}")
        table.add_row(f"{one.kind} {units.short(one.id)}", _at(one.since), _by(one.since), _at(one.until), ended)
    return table


def _at(commit: Commit | None) -> Text:
    """Commit and time."""
    if commit is None:
        return Text()
    import time

    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(commit.time_ns // 10**9))
    return Text.assemble((f"{commit.sequence} ", palette.TITLE), (when, palette.QUIET))


def _by(commit: Commit) -> Text:
    return Text.assemble((who(commit.envelope), palette.NAME), (f" {command_of(commit.envelope).partition(' ')[0]}", palette.QUIET))


def who_view(found: Sequence[Doing], width: int) -> Table:
    """One actor a row; over time one actor and period, with a bar that shows its share of the busiest one's changes."""
    if any(one.period for one in found):
        return _who_over_time(found, max(min(width - 62, 40), 8))
    table = new_table("WHO", "CHANGES>", "NEW BYTES>", "FROM", "TO")
    for one in found:
        table.add_row(Text(one.actor, style=palette.NAME), f"{one.changes:,}", _new_bytes(one), _at(one.first), _at(one.last))
    return table


def _who_over_time(found: Sequence[Doing], room: int) -> Table:
    table = new_table("WHEN", "WHO", "CHANGES>", "", "NEW BYTES>")
    most, before = max(one.changes for one in found), ""
    for one in found:
        when = Text(one.period if one.period != before else "", style=palette.TITLE)
        before = one.period
        table.add_row(when, Text(one.actor, style=palette.NAME), f"{one.changes:,}", bar(one.changes / most, room), _new_bytes(one))
    return table


def _new_bytes(one: Doing) -> str:
    return units.size(one.bytes_added) if one.bytes_added else ""


SIGNS = {"came": "+", "went": "−", "changed": "~"}


def difference_lines(found: Sequence[ItemDifference]) -> Iterator[Text]:
    """One thing a line; at the end the sum."""
    for one in found:
        sign = SIGNS[one.what]
        line = Text.assemble((sign, palette.SIGN_STYLE[sign]), f" {one.kind} {', '.join(one.record.names) or units.short(one.id)}")
        if one.what == "changed":
            line.append(f": {', '.join(one.fields)}", style=palette.QUIET)
        if one.growth:
            line.append(f"  {'+' if one.growth > 0 else '−'}{units.size(abs(one.growth))}", style=palette.QUIET)
        yield line
    yield _sum(found)


def difference_tree(found: Sequence[ItemDifference], older: View, newer: View) -> Iterator[Text]:
    """The changed layers, and those under changed images and containers, in the tree of both states."""
    signs = {(one.kind, one.id): SIGNS[one.what] for one in found}
    layers: dict[str, Layer] = {layer.id: layer for view in (older, newer) for layer in view.layers()}
    images = {image.id: image for view in (older, newer) for image in view.images()}
    containers = {one.id: one for view in (older, newer) for one in view.containers()}
    shown: set[str] = {one.id for one in found if one.kind == "layer"}
    shown |= {images[one.id].layer if one.kind == "image" else containers[one.id].layer for one in found if one.kind != "layer"}
    for top in list(shown):
        while top in layers:
            shown.add(top)
            top = layers[top].parent
    kept = [layer for layer in layers.values() if layer.id in shown]
    growth = {(one.kind, one.id): one.growth for one in found}
    for row in tree_rows(kept, images.values(), containers.values()):
        line = _signed(signs.get(("layer", row.layer.id), " "))
        line.append(f" {row.lines}{units.short(row.layer.id)}").append(_grown(growth.get(("layer", row.layer.id), 0)), style=palette.QUIET)
        line.append("".join(f"  {name}" for name in row.layer.names), style=palette.NAME)
        for sign, style, kind, one in [
            *((palette.IMAGE_SIGN, palette.IMAGE, "image", image) for image in row.images),
            *((palette.CONTAINER_SIGN, palette.CONTAINER, "container", box) for box in row.containers),
        ]:
            line.append("  ").append_text(_signed(signs.get((kind, one.id), "")))
            line.append(f"{sign} {', '.join(one.names) or units.short(one.id)}", style=style)
        yield line
    for image in (images[one.id] for one in found if one.kind == "image" and images[one.id].layer not in layers):
        yield _signed(signs["image", image.id]).append(f" {palette.IMAGE_SIGN} {', '.join(image.names) or units.short(image.id)}")
    yield _sum(found)


def _signed(sign: str) -> Text:
    return Text(sign, style=palette.SIGN_STYLE.get(sign, ""))


def _grown(growth: int) -> str:
    return f"  {'+' if growth > 0 else '−'}{units.size(abs(growth))}" if growth else ""


def _sum(found: Sequence[ItemDifference]) -> Text:
    total = sum(one.growth for one in found)
    return Text(f"{units.count(len(found), 'difference')}, {'+' if total >= 0 else '−'}{units.size(abs(total))}", style=palette.TITLE)


def growth_table(found: Sequence[tuple[Grown, str]], rows: int) -> Table:
    """``df --since``: commits that changed how much is stored, biggest growth first, with words; then who."""
    table = new_table("BY", "COMMIT", "GREW>", "WHAT")
    ranked = sorted(found, key=lambda one: -one[0].growth)
    for one, words in ranked[:rows]:
        table.add_row(_by(one.commit), _at(one.commit), _bytes(one.growth), Text(words))
    if len(ranked) > rows:
        rest = sum(one.growth for one, _ in ranked[rows:])
        table.add_row("", "", _bytes(rest), Text(f"in {units.count(len(ranked) - rows, 'other commit')}", style=palette.QUIET))
    return table


def growth_by(found: Sequence[tuple[Grown, str]]) -> Text:
    """``+127 MB since then: ci/7 +120 MB, anna +7.0 MB``."""
    by: dict[str, int] = {}
    for one, _ in found:
        by[one.commit.by] = by.get(one.commit.by, 0) + one.growth
    parts = [f"{name} {_bytes(total)}" for name, total in sorted(by.items(), key=lambda item: -item[1])]
    return Text(f"{_bytes(sum(by.values()))} in all" + (f": {', '.join(parts)}" if parts else ""), style=palette.TITLE)


def _bytes(growth: int) -> str:
    return f"{'+' if growth >= 0 else '−'}{units.size(abs(growth))}"
