"""Checks that several decisions share."""

from __future__ import annotations

from layerlog.eventstore.errors import (
    ContainerUnknown,
    DuplicateContainerName,
    DuplicateImageName,
    DuplicateName,
    ImageUnknown,
    ItemUnknown,
    LayerUnknown,
    NotFound,
    Pinned,
    StaleVersion,
)
from layerlog.projections import containers
from layerlog.projections.items import Row, every, find, get, holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.rows import Rows

KINDS = ("layer", "image", "container")
UNKNOWN: dict[str, type[NotFound]] = {"layer": LayerUnknown, "image": ImageUnknown, "container": ContainerUnknown}
_NAME_TAKEN: dict[str, type[DuplicateName]] = {
    "layer": DuplicateName,
    "image": DuplicateImageName,
    "container": DuplicateContainerName,
}


def lookup(rows: Rows, kind: str, asked: str) -> Row | None:
    """The row of *asked* within a kind, or None (contract/cli.md §3)."""
    return containers.find(rows, asked) if kind == "container" else find(rows, kind, asked)


def need(rows: Rows, kind: str, asked: str) -> Row:
    """The row of *asked* within a kind, or the kind's own NotFound."""
    row = lookup(rows, kind, asked)
    if row is None:
        raise UNKNOWN[kind](asked=asked)
    return row


def need_any(rows: Rows, asked: str, order: tuple[str, ...] = KINDS) -> tuple[str, Row]:
    """The first kind in *order* that knows *asked*, with the row."""
    for kind in order:
        row = lookup(rows, kind, asked)
        if row is not None:
            return kind, row
    raise ItemUnknown(asked=asked)


def need_own(rows: Rows, kind: str, asked: str) -> Row:
    """The same for what is to be changed: a thing of another store is not known here."""
    return need(rows.own, kind, asked)


def need_any_own(rows: Rows, asked: str, order: tuple[str, ...] = KINDS) -> tuple[str, Row]:
    """The first kind in *order* that knows *asked* as a thing of one's own."""
    return need_any(rows.own, asked, order)


def names_free(rows: Rows, kind: str, names: list[str]) -> None:
    """Raise the kind's DuplicateName if one of *names* has a holder; one's own names hide those of other stores."""
    for name in names:
        held_by = holder(rows.own, kind, name)
        if held_by is not None:
            raise _NAME_TAKEN[kind](kind=kind, name=name, holder_id=held_by)


def not_pinned(kind: str, row: Row) -> None:
    """Raise Pinned if something pinned the row."""
    if pins := row.get("pins"):
        raise Pinned(kind=kind, id=row["id"], pin=pins[0])


def event(type_: str, **fields: Any) -> Any:
    """An event with its empty fields left out."""
    return {"type": type_, **{name: value for name, value in fields.items() if value not in ("", [], {}, None, ())}}


def unchanged_since(rows: Rows, events: list[Any], expected: int) -> None:
    """Raise StaleVersion if anything that *events* touch was changed after commit *expected*."""
    for found in events:
        if found["type"] == "StoreWiped":
            for kind in KINDS:
                for row in every(rows.own, kind):
                    _unchanged(kind, row, expected)
            continue
        kinds = [found["kind"]] if "kind" in found else [kind for kind in KINDS if found["type"].lower().startswith(kind)]
        for kind in kinds:
            own = get(rows.own, kind, found["id"])
            if own is not None:
                _unchanged(kind, own, expected)


def _unchanged(kind: str, row: Row, expected: int) -> None:
    if row["changed"] > expected:
        raise StaleVersion(expected=expected, found=row["changed"], what=f"{kind} {row['id']}")
