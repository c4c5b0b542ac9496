"""Containers: make them, list them, look at one."""

from __future__ import annotations

from layerlog.cli import idmaps
from layerlog.cli.command import JSON, Command, switch, text, texts
from layerlog.eventstore.errors import NotFound, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.cli.run import Run
    from layerlog.records import Container


def create_container(run: Run) -> int:
    """A container on an image."""
    from layerlog.cli.layers import show_made
    from layerlog.cli.metadata import given

    maps: dict[str, Any] = idmaps.asked(run)
    if (userns := idmaps.userns(run)) is not None:
        maps = {"userns": userns}
    made = run.store.create_container(
        run.argument(0), id=run["id"], names=run["name"], metadata=given(run), volatile=run["volatile"], **maps
    )
    return show_made(run, made)


def containers(run: Run) -> int:
    """All containers."""
    found = run.reader.containers()
    if run.json:
        from layerlog.cli.shapes import container as shape

        run.out_json([shape(one) for one in found])
        return 0
    if run.rich:
        from layerlog.cli.views.show import show
        from layerlog.cli.views.tables import container_table

        show(container_table(run.reader))
        return 0
    for one in found:
        for line in [one.id, *(f"\tname: {name}" for name in one.names), *(f"\tdata: {key}" for key in one.big_data)]:
            run.out(line)
    return 0


def container(run: Run) -> int:
    """Some containers in detail; unknown ones only make the status 1."""
    found = [one for asked in run.arguments if (one := _known(run, asked)) is not None]
    if run.json:
        from layerlog.cli.shapes import container as shape

        run.out_json([shape(one) for one in found])
    else:
        for one in found:
            for line in _lines(run, one):
                run.out(line)
    if len(found) == len(run.arguments):
        return 0
    from layerlog.cli.layers import unknown

    return unknown(run, "container")


def _known(run: Run, asked: str) -> Container | None:
    view = run.reader
    try:
        return view.container(asked)
    except NotFound:
        return None


def _lines(run: Run, one: Container) -> list[str]:
    from layerlog.cli.images import size_line

    lines = [f"ID: {one.id}", *(f"Name: {name}" for name in one.names), f"Image: {one.image}"]
    try:
        lines += [f"Image name: {name}" for name in run.reader.image(one.image).names] if one.image else []
    except NotFound:  # an image deleted without safety checks; the container goes on
        pass
    lines += [size_line(run, "container", one.id), f"Layer: {one.layer}"]
    return lines + [f"Data: {key}" for key in one.big_data]


def container_parent_owners(run: Run) -> int:
    """Owners of the folders above a mounted, mapped container that its maps do not cover."""
    from layerlog.cli.layers import show_owners

    found = [one for asked in run.arguments if (one := _known(run, asked)) is not None]
    for one in found:
        try:
            uids, gids = run.store.parent_owners(one.id, "container") if one.uid_map or one.gid_map else ([], [])
        except StoreError as error:
            return run.fail(f"ContainerParentOwner: {str(error).removeprefix('ContainerParentOwner: ')}")
        show_owners(run, one.id, uids, gids, always=True)
    return 0 if len(found) == len(run.arguments) else 1


COMMANDS = (
    Command(
        "create-container createcontainer",
        create_container,
        "Create a new container from an image",
        "[options [...]] parentImageNameOrID",
        least=1,
        most=1,
        flags=(
            texts("--name -n", "Container name"),
            text("--id -i", "Container ID"),
            text("--metadata -m", "Metadata"),
            text("--metadata-file -f", "Metadata File"),
            switch("--volatile", "Mark as volatile"),
            JSON,
            *idmaps.FLAGS,
            idmaps.USERNS,
        ),
        about="Makes a container with a writable layer of its own on an image; '' as image makes one on nothing. "
        "A volatile container's files are not synced and do not outlive a boot. --userns auto takes subordinate IDs of the user "
        "containers (root-auto-userns-user in storage.conf) that no other container has, as many as the image needs.",
    ),
    Command(
        "containers",
        containers,
        "List containers",
        flags=(JSON,),
        reads=True,
        about="Every container with its names and data items. `layerlog ps` is the short table.",
    ),
    Command(
        "container",
        container,
        "Examine a container",
        "[options [...]] containerNameOrID [...]",
        least=1,
        flags=(JSON,),
        reads=True,
        about="ID, names, image, layer, data items and size of some containers.",
    ),
    Command(
        "container-parent-owners",
        container_parent_owners,
        "Compute the set of unmapped parent UIDs and GIDs of the container",
        "[options [...]] containerNameOrID [...]",
        least=1,
        flags=(JSON,),
        about="Owners of the folders above a mounted container that its ID maps do not cover.",
    ),
)
