"""Images: make them, list them, look at one."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, switch, text, texts
from layerlog.eventstore.errors import InvalidDigest, InvalidRequest, NotFound, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.records import Image


def create_image(run: Run) -> int:
    """An image on a layer, or on none."""
    from layerlog.cli.layers import show_made
    from layerlog.cli.metadata import given

    try:
        made = run.store.create_image(run.argument(0), id=run["id"], names=run["name"], digest=run["digest"], metadata=given(run))
    except InvalidDigest as bad:
        from layerlog.cli.gojson import quoted

        why = f"{quoted(run['digest'])}: {_bad_digest(run['digest'])}"
        raise InvalidRequest(f"validating digests for new image: validating image digest {why}") from bad
    return show_made(run, made)


def images(run: Run) -> int:
    """All images."""
    return _list(run, run.reader.images(), None)


def images_by_digest(run: Run) -> int:
    """Images with a digest."""
    run.reader  # noqa: B018 an unusable store is told before a bad argument
    if why := _bad_digest(run.argument(0)):
        raise InvalidRequest(f"{run.argument(0)}: {why}")
    return _list(run, run.reader.images_by_digest(run.argument(0)), [])


def _bad_digest(word: str) -> str:
    """Why *word* is no digest, in the original's words; empty when it is one."""
    import re

    algorithm, _, digits = word.partition(":")
    length = {"sha256": 64, "sha384": 96, "sha512": 128}.get(algorithm)
    if not algorithm or not digits:
        return "invalid checksum digest format"
    if length is None:
        known = re.fullmatch(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", word)  # distribution's grammar
        return "unsupported digest algorithm" if known else "invalid checksum digest format"
    if len(digits.encode("utf-8", "surrogateescape")) != length:
        return "invalid checksum digest length"
    return "" if frozenset("0123456789abcdef").issuperset(digits) else "invalid checksum digest format"


def _list(run: Run, found: list[Image], none: list[Image] | None) -> int:
    """JSON (an empty list as *none*), IDs, or IDs with what belongs to them."""
    if run.json:
        from layerlog.cli.shapes import image as shape

        run.out_json([shape(one) for one in found] or none)
        return 0
    if run.rich and not run["quiet"]:
        from layerlog.cli.views.show import show
        from layerlog.cli.views.tables import image_table

        show(image_table(run.reader, found))
        return 0
    for one in found:
        run.out(one.id)
        if not run["quiet"]:
            lines = [f"\tname: {name}" for name in one.names]
            lines += [f"\tdigest: {digest}" for digest in one.digests]
            lines += [f"\tdata: {key}" for key in one.big_data]
            for line in lines:
                run.out(line)
    return 0


def image(run: Run) -> int:
    """Some images in detail; unknown ones only make the status 1."""
    found = [one for asked in run.arguments if (one := _known(run, asked)) is not None]
    if run.json:
        from layerlog.cli.shapes import image as shape

        run.out_json([shape(one) for one in found])
    else:
        for one in found:
            for line in _lines(run, one):
                run.out(line)
    if len(found) == len(run.arguments):
        return 0
    from layerlog.cli.layers import unknown

    return unknown(run, "image")


def _known(run: Run, asked: str) -> Image | None:
    view = run.reader
    try:
        return view.image(asked)
    except NotFound:
        return None


def _lines(run: Run, one: Image) -> list[str]:
    lines = [f"ID: {one.id}", *(f"Name: {name}" for name in one.names), f"Top Layer: {one.layer}"]
    lines += [f"Top Layer: {layer_id}" for layer_id in one.mapped_layers]
    lines += [f"Digest: {digest}" for digest in one.digests]
    lines += [f"Data: {key}" for key in one.big_data]
    lines.append(size_line(run, "image", one.id))
    return lines + (["Read Only: true"] if one.read_only else [])


def size_line(run: Run, kind: str, item_id: str) -> str:
    """``Size: N``, or why it is not known; the status stays 0."""
    if run.values.get("at"):
        return "Size unknown: only the present can be measured"
    try:
        return f"Size: {run.store.image_size(item_id) if kind == 'image' else run.store.container_size(item_id)}"
    except (StoreError, OSError) as error:
        return f"Size unknown: {error}"


COMMANDS = (
    Command(
        "create-image createimage",
        create_image,
        "Create a new image using layers",
        "[options [...]] topLayerNameOrID",
        most=1,
        flags=(
            texts("--name -n", "Image name"),
            text("--id -i", "Image ID"),
            text("--digest -d", "Image Digest"),
            text("--metadata -m", "Metadata"),
            text("--metadata-file -f", "Metadata File"),
            JSON,
        ),
        about="Makes an image of a layer and the layers below it, or of nothing. `layerlog load` makes one from an archive.",
    ),
    Command(
        "images",
        images,
        "List images",
        flags=(switch("--quiet -q", "Only print IDs"), JSON),
        reads=True,
        about="Every image with its names, digests and data items. `layerlog ls` is the short table.",
    ),
    Command(
        "images-by-digest imagesbydigest",
        images_by_digest,
        "List images by digest",
        "[options [...]] DIGEST",
        least=1,
        most=1,
        flags=(switch("--quiet -q", "Only print IDs"), JSON),
        reads=True,
        about="Images whose own digest, or the digest of one of whose manifests, is DIGEST.",
    ),
    Command(
        "image",
        image,
        "Examine an image",
        "[options [...]] imageNameOrID [...]",
        least=1,
        flags=(JSON,),
        reads=True,
        about="ID, names, layers, digests, data items and size of some images.",
    ),
)
