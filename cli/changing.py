"""Change what is here in the words of podman and docker: ``commit``, ``tag``, ``untag``, ``rename``, ``rm``, ``rmi``."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command, switch, text, texts
from layerlog.eventstore.errors import InvalidRequest, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run


def commit(run: Run) -> int:
    """An image of what a container holds now."""
    from layerlog.cli.moving import show_images

    made = run.store.commit_container(run.argument(0), [*run.arguments[1:], *run["name"]], message=run["message"])
    return show_images(run, [made])


def tag(run: Run) -> int:
    """More names for an image, in one change."""
    image = run.store.image(run.argument(0))
    run.store.add_names(image.id, run.arguments[1:], "image")
    return 0


def untag(run: Run) -> int:
    """Take names from images; the images stay."""
    with run.store.image_core.transaction() as change:
        for name in run.arguments:
            change.untag(name)
    return 0


def rename(run: Run) -> int:
    """One name for another; by ID, the new name for all old ones."""
    asked, name = run.arguments
    if run["kind"] not in ("", "layer", "image", "container"):
        raise InvalidRequest(f"no kind {run['kind'][:40]!r}: layer, image, container")
    found = run.store.item(asked, run["kind"] or None)
    names = [name if one == asked else one for one in found.names] if asked in found.names else [name]
    holder = next((one for one in (name,) if name != asked and run.store.exists(name, found.kind)), None)
    if holder is not None and not run["force"]:
        other = run.store.item(name, found.kind)
        if other.id != found.id:
            raise InvalidRequest(f"the name {name!r} is taken by {found.kind} {other.id[:12]}; --force takes it away")
    run.store.set_names(found.id, names, found.kind)
    return 0


def _each(run: Run, act: Callable[[str], list[str]], asked_for: list[str]) -> int:
    """Delete each that is asked for; print what went, complain about what did not."""
    from layerlog.cli.friendly import complain

    status = 0
    gone: dict[str, list[str]] = {}
    if not asked_for and not run["all"]:
        raise InvalidRequest("name at least one, or give --all")
    for asked in dict.fromkeys(asked_for):
        try:
            gone[asked] = act(asked)
        except StoreError as error:
            status = complain(f"{asked}: {error}", error.advice(), error.exit_code)
    if run.json:
        run.out_json(gone)
    else:
        for asked, lines in gone.items():
            run.out(asked)
            for line in lines:
                run.say(f"  with {line}")
    return status


def rm(run: Run) -> int:
    """Containers go."""

    def act(asked: str) -> list[str]:
        found = run.store.container(asked)
        if not run["force"] and run.store.mounted(found.id):
            where = next(path for layer_id, path, _ in run.store.mounts() if layer_id == found.layer)
            raise InvalidRequest(f"it is mounted at {where}; --force deletes it all the same")
        run.store.delete_container(found.id)
        return []

    return _each(run, act, [one.id for one in run.store.containers()] if run["all"] else run.arguments)


def rmi(run: Run) -> int:
    """Names or images go; with --force the containers on them first, in the same breath."""

    def act(asked: str) -> list[str]:
        image = run.store.image(asked)
        gone: list[str] = []
        if len(image.names) > 1 and not run["force"]:  # as podman and docker: one name of several goes alone
            if asked not in image.names:
                raise InvalidRequest(f"it has {len(image.names)} names ({', '.join(image.names[:3])}); --force deletes it all the same")
            with run.store.image_core.transaction() as change:
                change.untag(asked)
            return ["that name only; the image has others"]
        if run["force"]:
            for one in run.store.containers():
                if one.image == image.id:
                    run.store.delete_container(one.id)
                    gone.append(f"container {one.names[0] if one.names else one.id[:12]}")
        return gone + [f"layer {layer_id[:12]}" for layer_id in run.store.delete_image(image.id)]

    every = [name for one in run.store.images() for name in one.names or [one.id]] if run["all"] else []
    return _each(run, act, every or run.arguments)


_BACK = "It can come back within retention: layerlog restore."

COMMANDS = (
    Command(
        "commit",
        commit,
        "Make an image of what a container holds now",
        "CONTAINER [NAME...]",
        least=1,
        door=FRIENDLY,
        flags=(texts("--name -n", "Name for the image (repeatable)"), text("--message -m", "Comment, kept in the image's history")),
        about="The new image has the layers of the container's image and one more, of the container's changes. The container goes on.",
    ),
    Command(
        "tag",
        tag,
        "Give an image more names",
        "IMAGE NAME...",
        least=2,
        door=FRIENDLY,
        about="A name that another image holds moves; the history remembers whose it was.",
    ),
    Command(
        "untag",
        untag,
        "Take names from images",
        "NAME...",
        least=1,
        door=FRIENDLY,
        about="All in one change. An image without names stays.",
    ),
    Command(
        "rename",
        rename,
        "Give something another name",
        "X NEW",
        least=2,
        most=2,
        door=FRIENDLY,
        flags=(
            text("--kind", "layer, image or container, where the word may mean several"),
            switch("--force -f", "Take the name from whatever of that kind holds it"),
        ),
        about="X is a name: it is replaced by NEW. X is an ID: NEW replaces all its names. Refused if NEW is taken.",
    ),
    Command(
        "rm",
        rm,
        "Delete containers",
        "CONTAINER...",
        door=FRIENDLY,
        flags=(switch("--force -f", "Mounted ones, too; they are unmounted"), switch("--all -a", "All containers")),
        about=f"With their layers and folders. One that is mounted is refused without --force. {_BACK}",
    ),
    Command(
        "rmi",
        rmi,
        "Delete images",
        "IMAGE...",
        door=FRIENDLY,
        flags=(
            switch("--force -f", "Delete the containers on them, too, and images that have more than one name"),
            switch("--all -a", "All images"),
        ),
        about="A name that is one of several is taken from its image, as podman and docker do; else the image goes, with the layers that "
        f"nothing else needs. Refused while a container uses it. {_BACK}\n\n"
        '  layerlog rmi app:1.3 --reason "superseded"',
    ),
)
