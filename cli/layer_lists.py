"""The original's two plain lists of layers (contract/cli.md §5)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.records import Container, Image, Layer
    from layerlog.view import View

BASE = "(base)"


def _users(view: View) -> tuple[dict[str, list[Image]], dict[str, Container]]:
    """Images by top layer (mapped copies too), containers by their layer."""
    images: dict[str, list[Image]] = {}
    for image in view.images():
        for layer_id in (image.layer, *image.mapped_layers):
            images.setdefault(layer_id, []).append(image)
    return images, {container.layer: container for container in view.containers()}


def plain(view: View) -> Iterator[str]:
    """ID, then indented names, images and the container."""
    images, containers = _users(view)
    for layer in view.layers():
        yield layer.id
        yield from (f"\tname: {name}" for name in layer.names)
        for image in images.get(layer.id, ()):
            yield f"\timage: {image.id}"
            yield from (f"\t\tname: {name}" for name in image.names)
        if (container := containers.get(layer.id)) is not None:
            yield f"\tcontainer: {container.id}"
            yield from (f"\t\tname: {name}" for name in container.names)


def tree(view: View) -> Iterator[str]:
    """The layers under ``(base)``, and under the ID of any parent that is missing."""
    images, containers = _users(view)
    mounts = {layer_id: path for layer_id, path, _ in view.mounts()}
    children: dict[str, list[Layer]] = {}
    layers = view.layers()
    for layer in layers:
        children.setdefault(layer.parent or BASE, []).append(layer)
    known = {layer.id for layer in layers}
    roots = [parent for parent in children if parent not in known]
    for root in sorted(roots, key=lambda parent: len(children[parent])):
        yield root
        yield from _below(root, children, lambda layer: _notes(layer, images, containers, mounts))


def _below(root: str, children: dict[str, list[Layer]], notes: Callable[[Layer], list[str]]) -> Iterator[str]:
    """Depth first without recursion: chains may be hundreds of layers deep."""
    stack = [(layer, "", place == len(children[root]) - 1) for place, layer in reversed(list(enumerate(children[root])))]
    while stack:
        layer, indent, last = stack.pop()
        yield f"{indent}{'└' if last else '├'}─{layer.id}"
        below = indent + ("  " if last else "│ ")
        yield from (below + note for note in notes(layer))
        under = children.get(layer.id, [])
        stack += [(child, below, place == len(under) - 1) for place, child in reversed(list(enumerate(under)))]


def _notes(layer: Layer, images: dict[str, list[Image]], containers: dict[str, Container], mounts: dict[str, str]) -> list[str]:
    found = [f"name: {name}" for name in layer.names]
    if layer.id in mounts:
        found.append(f"mount: {mounts[layer.id]}")
    for image in images.get(layer.id, ()):
        found += [f"image: {image.id}", *(f"image name: {name}" for name in image.names)]
    if (container := containers.get(layer.id)) is not None:
        found += [f"container: {container.id}", *(f"container name: {name}" for name in container.names)]
    return found
