"""Lists for scripts: ``--quiet`` and ``--format`` of ``ls`` and ``ps``, in the fields that podman and docker have."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from layerlog.cli.run import Run
    from layerlog.records import Container, Image, Record
    from layerlog.view import View


def listed(run: Run, found: Sequence[Record], rows: Callable[[], list[dict[str, Any]]]) -> bool:
    """Print IDs, or each row by the template; False where neither was asked for and a table is wanted."""
    if run["quiet"] and not run["format"]:
        for one in found:
            run.out(one.id)
        return True
    if run["format"]:
        from layerlog.cli.templates import expanded

        for row in rows():
            run.out(expanded(run["format"], row))
        return True
    return False


def image_rows(view: View, images: Sequence[Image]) -> list[dict[str, Any]]:
    """A row of fields for each image, in the order given."""
    from layerlog.cli.views.tables import chain_sizes

    layers = {layer.id: layer for layer in view.layers()}
    found = []
    for image in images:
        number, size = chain_sizes(layers, image.layer)
        first = image.names[0] if image.names else "<none>"
        repository, tag = split(first)
        size += sum(bytes_ for _, bytes_ in image.big_data.values())
        row = {"ID": image.id, "Names": image.names, "Repository": repository, "Tag": tag, "Digest": image.digest, "Layers": number}
        found.append({**row, "Size": size, "Layer": image.layer, **_times(image)})
    return found


def split(name: str) -> tuple[str, str]:
    """Repository and tag of a name; a colon before the last slash is a port."""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "<none>" if name == "<none>" else "latest")


def container_rows(view: View, containers: Sequence[Container]) -> list[dict[str, Any]]:
    """A row of fields for each container, in the order given."""
    images = {image.id: image for image in view.images()}
    mounts = {layer_id: path for layer_id, path, _ in view.mounts()}
    found = []
    for one in containers:
        image = images.get(one.image)
        of = image.names[0] if image and image.names else one.image
        status, mount = ("mounted", mounts[one.layer]) if one.layer in mounts else ("unmounted", "")
        row = {"ID": one.id, "Names": one.names, "Image": of, "ImageID": one.image, "Status": status, "Mount": mount}
        found.append({**row, "Layer": one.layer, **_times(one)})
    return found


def _times(one: Record) -> dict[str, str]:
    import time

    from layerlog.cli.gojson import time as shown
    from layerlog.cli.views.units import age

    return {"Created": age(one.created_ns, time.time_ns()), "CreatedAt": shown(one.created_ns)}
