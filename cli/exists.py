"""``exists``: the cheapest question, and the one that scripts ask most."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run


def exists(run: Run) -> int:
    """Status 1 if any is missing or not of one of the kinds asked for."""
    kinds = [kind for kind in ("layer", "image", "container") if run[kind]] or ["layer", "image", "container"]
    found = {asked: any(run.reader.exists(asked, kind) for kind in kinds) for asked in run.arguments}
    if run.json:
        run.out_json(found)
    elif not run["quiet"]:
        for asked, there in found.items():
            run.out(f"{asked}: {'true' if there else 'false'}")
    return 0 if all(found.values()) else 1


COMMANDS = (
    Command(
        "exists",
        exists,
        "Check if a layer or image or container exists",
        "[LayerOrImageOrContainerNameOrID [...]]",
        least=1,
        reads=True,
        opens="layerlog.opened:Opened",
        flags=(
            switch("--image -i", "Only succeed if the match is an image"),
            switch("--layer -l", "Only succeed if the match is a layer"),
            switch("--container -c", "Only succeed if the match is a container"),
            switch("--quiet -q", "Don't print names"),
            JSON,
        ),
        about="Prints true or false for each argument; the status is 0 if all exist (as the kind asked for).",
    ),
)
