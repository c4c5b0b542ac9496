"""Hand-made records and views, with sane values for what a test does not care about."""

from __future__ import annotations

from typing import Any

from layerlog.history import Commit
from layerlog.records import Container, Image, Layer

DAY_NS = 86400 * 10**9
NOON_NS = 1_795_608_000 * 10**9
"""2026-11-25 12:00 UTC."""


def layer(layer_id: str, parent: str = "", size: int | None = None, **fields: Any) -> Layer:
    row: dict[str, Any] = {"id": layer_id, "created_ns": NOON_NS, "order": 0, "changed": 1, **fields}
    if parent:
        row["parent"] = parent
    if size is not None:
        row["contents"] = {"diff_digest": "sha256:" + "ab" * 32, "diff_size": size}
    return Layer(row)


def image(image_id: str, top: str = "", *names: str, **fields: Any) -> Image:
    return Image({"id": image_id, "created_ns": NOON_NS, "changed": 1, "layer": top, "names": list(names), **fields})


def container(container_id: str, own: str, of: str = "", *names: str) -> Container:
    return Container({"id": container_id, "created_ns": NOON_NS, "changed": 1, "layer": own, "image": of, "names": list(names)})


def commit(sequence: int, *events: dict[str, Any], at: int = NOON_NS, **envelope: Any) -> Commit:
    return Commit(sequence, at, {"uid": 0, "program": "layerlog", **envelope}, list(events))


def text(renderable: Any, width: int = 80) -> str:
    """What is seen at *width* columns without colour."""
    import io

    from rich.console import Console

    target = io.StringIO()
    Console(file=target, width=width, color_system=None, markup=False, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())
