"""A store as a few dictionaries: what each operation may do, and which refusals are just. Knows nothing of layerlog.

What the real store chooses (new IDs; which unused layers an image takes along, since somebody may be working on one) is
taken from its commit and checked for being allowed; everything else follows from the operation and the state before.
"""

from __future__ import annotations

import copy
from typing import Any

Operation = list[Any]
"""Name and arguments, as the worker logged them."""
Event = dict[str, Any]


class Wrong(AssertionError):
    """The store did what the model does not allow."""


def need(true: bool, why: str) -> None:
    if not true:
        raise Wrong(why)


class Model:
    """The state after some commit."""

    def __init__(self) -> None:
        self.layers: dict[str, str] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.containers: dict[str, dict[str, str]] = {}
        self.trash: dict[tuple[str, str], Any] = {}

    def state(self) -> dict[str, Any]:
        """What a read sees, to be compared."""
        images = {one: [row["names"], row["layer"], row["metadata"]] for one, row in self.images.items()}
        return {"layers": self.layers, "images": images, "containers": sorted(self.containers)}

    # --- one commit

    def apply(self, operation: Operation, events: list[Event]) -> None:
        """Do *operation* as the commit with *events* says it was done. Raises Wrong."""
        name, *arguments = operation
        need(not self.refusals(operation), f"{operation} was done in a state that refuses it: {self.refusals(operation)}")
        getattr(self, f"do_{name}")(events, *arguments)

    def do_create_layer(self, events: list[Event], parent: str) -> None:
        made = only(events, "LayerCreated")
        need(made.get("parent", "") == parent, "another parent")
        self.layers[made["id"]] = parent

    def do_import_layer(self, events: list[Event], seed: int) -> None:
        self.layers[only(events, "LayerCreated")["id"]] = ""

    def do_create_image(self, events: list[Event], layer: str, item: str) -> None:
        made = only(events, "ImageCreated")
        need(made.get("layer", "") == layer and set(made["big_data"]) == {"k"}, "another image")
        self.images[made["id"]] = {"names": [], "layer": layer, "metadata": ""}

    def do_create_container(self, events: list[Event], image: str) -> None:
        made, layer = only(events, "ContainerCreated"), only(events, "LayerCreated")
        top = self.images[image]["layer"] if image else ""
        need(layer.get("parent", "") == top and made["layer"] == layer["id"] and made.get("image", "") == image, "another container")
        self.layers[layer["id"]] = top
        self.containers[made["id"]] = {"layer": layer["id"], "image": image}

    def do_tag(self, events: list[Event], image: str, *names: str) -> None:
        for name in names:
            for row in self.images.values():
                if name in row["names"]:
                    row["names"] = [one for one in row["names"] if one != name]
            self.images[image]["names"] = [name, *self.images[image]["names"]]

    def do_set_metadata(self, events: list[Event], image: str, text: str) -> None:
        self.images[image]["metadata"] = text

    def do_set_big_data(self, events: list[Event], image: str, text: str) -> None:
        need(image in self.images, "no image")

    def do_apply_diff(self, events: list[Event], layer: str, seed: int) -> None:
        need(only(events, "LayerDiffApplied")["id"] == layer, "another layer")

    def do_delete_layer(self, events: list[Event], layer: str) -> None:
        self._throw_layers([only(events, "LayerDeleted")["id"]], {layer})

    def do_delete_image(self, events: list[Event], image: str) -> None:
        gone = [event["id"] for event in events if event["type"] == "LayerDeleted"]
        chain, at = set(), self.images[image]["layer"]
        while at and at in self.layers:
            chain.add(at)
            at = self.layers[at]
        self.trash["image", image] = self.images.pop(image)
        self._throw_layers(gone, chain)

    def do_delete_container(self, events: list[Event], container: str) -> None:
        row = self.containers.pop(container)
        self.trash["container", container] = row
        if row["layer"] in self.layers:
            self._throw_layers([row["layer"]], {row["layer"]})

    def do_restore(self, events: list[Event], item: str, kind: str) -> None:
        for event in events:
            one = event["type"].removesuffix("Restored").lower()
            row = self.trash.pop((one, event["id"]), None)
            need(row is not None, f"{event['id']} was restored and not in the trash")
            self._of_kind(one)[event["id"]] = copy.deepcopy(row)
        need(item in self._of_kind(kind), "something else was restored")

    def _of_kind(self, kind: str) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {"image": self.images, "container": self.containers}
        return self.layers if kind == "layer" else found[kind]

    def _throw_layers(self, gone: list[str], allowed: set[str]) -> None:
        need(set(gone) <= allowed, f"layers {set(gone) - allowed} went along")
        rest = {one: parent for one, parent in self.layers.items() if one not in gone}
        for one in gone:
            need(one not in rest.values(), f"layer {one} had children")
            need(all(row["layer"] != one for row in self.images.values()), f"layer {one} was an image's")
            need(all(row["layer"] != one for row in self.containers.values()), f"layer {one} was a container's")
            self.trash["layer", one] = self.layers[one]
        self.layers = rest

    # --- refusals

    def refusals(self, operation: Operation) -> set[str]:
        """The errors that are just in this state; none when the operation must succeed. InUse is just at any time."""
        name, *arguments = operation
        return set(getattr(self, f"no_{name}")(*arguments))

    def no_create_layer(self, parent: str) -> list[str]:
        if parent and parent not in self.layers:
            return ["ParentUnknown"]
        return ["ParentIsContainer"] if any(row["layer"] == parent for row in self.containers.values()) else []

    def no_import_layer(self, seed: int) -> list[str]:
        return []

    def no_create_image(self, layer: str, item: str) -> list[str]:
        return ["LayerUnknown"] if layer and layer not in self.layers else []

    def no_create_container(self, image: str) -> list[str]:
        if not image:
            return []
        if image not in self.images:
            return ["ImageUnknown"]
        return self.no_create_layer(self.images[image]["layer"])

    def no_tag(self, image: str, *names: str) -> list[str]:
        return [] if image in self.images else ["ImageUnknown", "ItemUnknown"]

    no_set_metadata = no_set_big_data = no_tag

    def no_apply_diff(self, layer: str, seed: int) -> list[str]:
        return [] if layer in self.layers else ["LayerUnknown"]

    def no_delete_layer(self, layer: str) -> list[str]:
        if layer not in self.layers:
            return ["LayerUnknown"]
        found = ["LayerHasChildren"] if layer in self.layers.values() else []
        found += ["LayerUsedByImage"] if any(row["layer"] == layer for row in self.images.values()) else []
        return found + (["LayerUsedByContainer"] if any(row["layer"] == layer for row in self.containers.values()) else [])

    def no_delete_image(self, image: str) -> list[str]:
        if image not in self.images:
            return ["ImageUnknown"]
        return ["ImageUsedByContainer"] if any(row["image"] == image for row in self.containers.values()) else []

    def no_delete_container(self, container: str) -> list[str]:
        return [] if container in self.containers else ["ContainerUnknown"]

    def no_restore(self, item: str, kind: str) -> list[str]:
        here = self._of_kind(kind)
        if (kind, item) not in self.trash:
            return ["NotInTrash", "DuplicateID"] if item in here else ["NotInTrash"]
        row = self.trash[kind, item]
        held = {name for image in self.images.values() for name in image["names"]}
        found = ["DuplicateImageName"] if kind == "image" and held & set(row["names"]) else []
        image = self.trash.get(("image", row["image"])) if kind == "container" and row["image"] not in self.images else None
        found += ["DuplicateImageName"] if image is not None and held & set(image["names"]) else []
        found += ["DuplicateID"] if item in here else []
        found += self.no_delete_layer(row["layer"]) if kind == "container" and row["layer"] in self.layers else []
        layer = row if kind == "layer" else row["layer"]
        while layer and layer not in self.layers:
            if ("layer", layer) not in self.trash:
                return [*found, "NotInTrash"]
            layer = self.trash["layer", layer]
        return found


def only(events: list[Event], type_: str) -> Event:
    found = [event for event in events if event["type"] == type_]
    need(len(found) == 1, f"{len(found)} events {type_}")
    return found[0]
