"""Random histories that could have happened: each step is decided on the rows before it, as the library decides."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from layerlog.decide import containers, images, layers, names, restoring
from layerlog.eventstore.errors import StoreError
from layerlog.projections import trash
from layerlog.projections.items import every

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.eventstore.rows import Rows

KINDS = ("layer", "image", "container")
NAMES = ["a", "b:1", "b:2", "c/d", "\udcff\u00e9"]
BLOBS = [f"sha256:{number:064x}" for number in range(6)]


class History:
    """Steps of one seed: ``step(rows)`` gives the events of the next commit, sometimes none."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.steps: list[Callable[[Rows], list[Any]]] = [
            self.new_layer, self.new_layer, self.new_image, self.new_container, self.rename, self.rename, self.describe, self.big_data,
            self.fill, self.delete, self.delete, self.restore, self.pin, self.key, self.map, self.open, self.free, self.wipe,
        ]  # fmt: skip
        self.made = 0

    def __call__(self, rows: Rows) -> list[Any]:
        try:
            return self.draw.choice(self.steps)(rows)
        except StoreError:
            return []

    def new_id(self) -> str:
        self.made += 1
        return f"{self.draw.choice('abc')}{self.made}"

    def some(self, rows: Rows, kind: str) -> str:
        there = every(rows, kind)
        return str(self.draw.choice(there)["id"]) if there and self.draw.random() < 0.9 else "nobody"

    def names(self) -> list[str]:
        return self.draw.sample(NAMES, self.draw.randrange(3))

    def contents(self) -> dict[str, Any]:
        digest = self.draw.choice(BLOBS)
        found = {"diff_digest": digest, "diff_size": 1, "compressed_digest": self.draw.choice(BLOBS), "compressed_size": 1}
        return {**found, "compression": 2, "uids": [0], "gids": [0], "tar_split": {"blob": self.draw.choice(BLOBS), "size": 3}}

    def new_layer(self, rows: Rows) -> list[Any]:
        contents: dict[str, Any] = {"contents": self.contents()} if self.draw.random() < 0.5 else {}
        parent = self.some(rows, "layer") if self.draw.random() < 0.7 else ""
        return layers.create(rows, self.new_id(), parent, self.names(), **contents)

    def new_image(self, rows: Rows) -> list[Any]:
        data = {"manifest": {"blob": self.draw.choice(BLOBS), "size": 1}} if self.draw.random() < 0.5 else {}
        return images.create(rows, self.new_id(), self.some(rows, "layer"), self.names(), big_data=data)

    def new_container(self, rows: Rows) -> list[Any]:
        return containers.create(rows, self.new_id(), self.new_id(), self.some(rows, "image"), self.names())

    def rename(self, rows: Rows) -> list[Any]:
        kind = self.draw.choice(KINDS)
        return names.rename(rows, self.some(rows, kind), kind, self.draw.choice(["set", "add", "remove"]), self.names())

    def describe(self, rows: Rows) -> list[Any]:
        kind = self.draw.choice(KINDS)
        return names.set_metadata(rows, self.some(rows, kind), kind, self.draw.choice(["", "m", "n"]))

    def big_data(self, rows: Rows) -> list[Any]:
        kind, item = self.draw.choice(KINDS), self.draw.choice(["k", "manifest", "manifest-2"])
        if self.draw.random() < 0.3:
            return names.remove_big_data(rows, kind, self.some(rows, kind), item)
        return names.set_big_data(rows, kind, self.some(rows, kind), item, self.draw.choice(BLOBS), 1)

    def fill(self, rows: Rows) -> list[Any]:
        layer_id = self.some(rows, "layer")
        generation = next((row["generation"] for row in every(rows, "layer") if row["id"] == layer_id), 0)
        return layers.apply_diff(rows, layer_id, generation, self.contents(), self.draw.random() < 0.2)

    def delete(self, rows: Rows) -> list[Any]:
        kind, kept = self.draw.choice(KINDS), self.draw.random() < 0.8
        decide = {"layer": layers.delete, "image": images.delete, "container": containers.delete}[kind]
        return decide(rows, self.some(rows, kind), kept)

    def restore(self, rows: Rows) -> list[Any]:
        thrown = list(trash.every(rows))
        return restoring.restore(rows, self.draw.choice(thrown)["id"]) if thrown else []

    def pin(self, rows: Rows) -> list[Any]:
        kind = self.draw.choice(KINDS)
        decide = names.pin if self.draw.random() < 0.4 else names.unpin
        return decide(rows, self.some(rows, kind), kind, "word")

    def key(self, rows: Rows) -> list[Any]:
        return layers.captured(rows, self.some(rows, "layer"), [], [], f"key-{self.draw.randrange(5)}")

    def map(self, rows: Rows) -> list[Any]:
        there = every(rows, "image")
        chosen = {"type": "ImageMappedLayersSet", "id": self.some(rows, "image"), "mapped_layers": [self.some(rows, "layer")]}
        return [chosen] if there else []

    def open(self, rows: Rows) -> list[Any]:
        return [{"type": "LayerOpenedForWriting", "id": self.some(rows, "layer")}]

    def free(self, rows: Rows) -> list[Any]:
        thrown = list(trash.every(rows))
        if not thrown:
            return []
        row = self.draw.choice(thrown)
        return restoring.freed(rows, [trash.entry_name(row["sequence"], row["id"])])

    def wipe(self, rows: Rows) -> list[Any]:
        return containers.wipe(rows, kept=True)[0] if self.draw.random() < 0.05 else []
