"""The free text of a layer, image or container."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, switch, text
from layerlog.eventstore.errors import InvalidRequest, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run


def given(run: Run) -> str:
    """What ``--metadata-file`` or ``--metadata`` gives; the file wins, and its content is kept byte for byte."""
    if run["metadata_file"]:
        with open(run["metadata_file"], "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    return str(run["metadata"])


def metadata(run: Run) -> int:
    """Show the text of each argument; an unknown one has none and makes the status 1."""
    found: dict[str, str | None] = {}
    view = run.reader  # a point in time that is none is told, and not taken for a thing that is none
    for asked in run.arguments:
        try:
            found[asked] = view.metadata(asked)
        except NotFound:
            found[asked] = None
    if run.json:
        run.out_json({asked: text for asked, text in found.items() if text is not None})
    else:
        for asked in run.arguments:
            shown = (found[asked] or "").removesuffix("\n")
            run.out(shown if run["quiet"] else f"{asked}: {shown}")
    return 1 if None in found.values() else 0


def set_metadata(run: Run) -> int:
    """Replace the text."""
    wanted = given(run)
    if not wanted:
        raise InvalidRequest("no new metadata provided")
    run.store.set_metadata(run.argument(0), wanted)
    return 0


COMMANDS = (
    Command(
        "metadata",
        metadata,
        "Retrieve layer, image, or container metadata",
        "[LayerOrImageOrContainerNameOrID [...]]",
        least=1,
        reads=True,
        flags=(switch("--quiet -q", "Omit names and IDs"), JSON),
        about="The free text that create-* or set-metadata stored.",
    ),
    Command(
        "set-metadata setmetadata",
        set_metadata,
        "Set layer, image, or container metadata",
        "[options [...]] layerOrImageOrContainerNameOrID",
        least=1,
        most=1,
        flags=(text("--metadata -m", "Metadata"), text("--metadata-file -f", "Metadata File")),
        about="Replaces the free text. Empty text cannot be set.",
    ),
)
