"""``copy``: files and folders into a layer, out of one, or from one to another (contract/cli.md §6).

A word with a colon means ``LAYER:PATH``. The layer is mounted for the time of the copy, and PATH is resolved
inside it: neither ``..`` nor a symlink of the layer leads out (the original follows both to the host's files).
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from layerlog.cli.command import JSON, Command, text
from layerlog.eventstore.errors import InvalidRequest, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.eventstore.events import MapEntry


class Place:
    """Where a word points: a path, inside ``root`` when it lies in a layer, and the maps of that layer."""

    def __init__(self, path: str, root: str = "", uid_map: list[MapEntry] | None = None, gid_map: list[MapEntry] | None = None) -> None:
        self.path, self.root = path, root
        self.uid_map, self.gid_map = uid_map or [], gid_map or []

    @property
    def shown(self) -> str:
        """The path on the host."""
        return self.root + self.path


def copy(run: Run) -> int:
    """Copy every source to the last argument."""
    from layerlog.cli.gojson import quoted
    from layerlog.cli.transfer import Transfer

    owner = _owner(run["chown"])
    with ExitStack() as mounts:
        *sources, target = [_place(run, mounts, word, last=place == len(run.arguments) - 1) for place, word in enumerate(run.arguments)]
        for source in sources:
            try:
                Transfer(source, target, owner).run()
            except (OSError, ValueError) as refused:
                return run.fail(f"error copying {quoted(source.shown)} to {quoted(target.shown)}: {_why(refused)}")
    return 0


def _why(error: OSError | ValueError) -> str:
    """``stat PATH: no such file or directory``."""
    if not isinstance(error, OSError) or not error.errno:
        return str(error)
    why = os.strerror(error.errno).lower()
    return f"stat {os.fsdecode(error.filename)}: {why}" if error.filename is not None else why


def _place(run: Run, mounts: ExitStack, word: str, last: bool) -> Place:
    """What *word* means; its layer is mounted until *mounts* closes."""
    layer, colon, path = word.partition(":")
    if not colon:
        return Place(word)
    from layerlog.cli.gojson import quoted

    try:
        found = run.store.layer(layer)
    except NotFound as unknown:
        raise InvalidRequest(f"error finding layer {quoted(layer)}: {unknown}") from unknown
    root = run.store.mount(found.id, read_only=not last, label=found.mount_label)
    mounts.callback(run.store.unmount, found.id)
    return Place("/" + os.path.normpath("/" + path).lstrip("/"), root, found.uid_map, found.gid_map)


def _owner(word: str) -> tuple[int, int] | None:
    """``UID[:GID]``, numbers only; one number stands for both."""
    if not word:
        return None
    uid, _, gid = word.partition(":")
    for what, number in (("UID", uid), ("GID", gid or uid)):
        if not (number.isascii() and number.isdigit() and int(number) < 2**32):
            from layerlog.cli.gojson import quoted

            raise InvalidRequest(f"bad {what}: strconv.ParseUint: parsing {quoted(number)}: invalid syntax")
    return int(uid), int(gid or uid)


COMMANDS = (
    Command(
        "copy",
        copy,
        "Copy files or directories into a layer, possibly from another layer",
        "[options [...]] [sourceLayerNameOrID:]/path [...] targetLayerNameOrID:/path",
        least=2,
        flags=(text("--chown -o", "Set owner on new copies"), JSON),
        about="A word with a colon is LAYER:PATH. A folder is copied as content of the target, a file to the name of the target.",
    ),
)
