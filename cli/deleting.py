"""Delete layers, images and containers. Each argument is tried; failures are told and make the status 1."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, switch
from layerlog.eventstore.errors import ContainerUnknown, ImageUnknown, LayerUnknown, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog.cli.run import Run

_UNKNOWN: dict[type[StoreError], str] = {
    LayerUnknown: "identifier is not a layer",
    ImageUnknown: "identifier is not an image",
    ContainerUnknown: "identifier is not a container",
}


def _each(run: Run, act: Callable[[str], Any], described: bool = True) -> tuple[dict[str, Any], dict[str, str]]:
    """Results and error texts by argument. One that is given twice is told of once: at the compat door as the second time went."""
    results: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for asked in run.arguments if run.compat else dict.fromkeys(run.arguments):
        failures.pop(asked, None)
        try:
            results[asked] = act(asked)
        except StoreError as error:
            results.pop(asked, None)
            failures[asked] = _UNKNOWN.get(type(error), str(error)) if described else str(error)
            if not run.compat and error.advice():
                failures[asked] += f" ({error.advice()})"
    return results, failures


def _tell(run: Run, failures: dict[str, str]) -> int:
    if run.json:
        run.out_json({asked: failures.get(asked, "") for asked in run.arguments})
    else:
        for asked, message in failures.items():
            run.say(f"{asked}: {message}")
    return 1 if failures else 0


def delete(run: Run) -> int:
    """A container with its layer, else an image's record, else a layer; nobody is asked whether it is in use."""
    return _tell(run, _each(run, run.store.delete, described=False)[1])


def delete_layer(run: Run) -> int:
    """Layers that nothing uses."""
    return _tell(run, _each(run, run.store.delete_layer)[1])


def delete_container(run: Run) -> int:
    """Containers with their layers."""
    return _tell(run, _each(run, run.store.delete_container)[1])


def delete_image(run: Run) -> int:
    """Images with the layers that only they need; tells on stderr which layers went."""
    results, failures = _each(run, lambda asked: run.store.delete_image(asked, test=run["test"]))
    if run.json:
        shown = {asked: {"deleted-layers": layers} if layers else {} for asked, layers in results.items()}
        run.out_json({**shown, **{asked: {"error": message} for asked, message in failures.items()}})
    else:
        for asked, layers in results.items():
            for layer_id in layers:
                run.say(f"{asked}: {layer_id}")
        for asked, message in failures.items():
            run.say(f"{asked}: {message}")
    return 1 if failures else 0


_BACK = "What is deleted can come back within retention: layerlog restore."

COMMANDS = (
    Command(
        "delete",
        delete,
        "Delete a layer or image or container, with no safety checks",
        "[LayerOrImageOrContainerNameOrID [...]]",
        least=1,
        flags=(JSON,),
        about=f"Takes a container and its layer, else an image's record only, else a layer even if it is in use. {_BACK}",
    ),
    Command(
        "delete-layer deletelayer",
        delete_layer,
        "Delete a layer, with safety checks",
        "[LayerNameOrID [...]]",
        least=1,
        flags=(JSON,),
        about=f"Refuses a layer that has children, tops an image or belongs to a container. {_BACK}",
    ),
    Command(
        "delete-image deleteimage",
        delete_image,
        "Delete an image, with safety checks",
        "[ImageNameOrID [...]]",
        least=1,
        flags=(switch("--test -t", "Only test removal"), JSON),
        about=f"Refuses an image that a container uses; takes the layers that nothing else needs along and names them. {_BACK}",
    ),
    Command(
        "delete-container deletecontainer",
        delete_container,
        "Delete a container, with safety checks",
        "[ContainerNameOrID [...]]",
        least=1,
        flags=(JSON,),
        about=f"Unmounts and deletes containers with their layers and folders. {_BACK}",
    ),
)
