"""Data items of images, containers and layers: list, read, write, measure."""

from __future__ import annotations

import os

from layerlog.cli.command import JSON, Command, text
from layerlog.eventstore.errors import BigDataUnknown, InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run

CHUNK_BYTES = 1 << 20
_A = {"image": "an image", "container": "an container", "layer": "a layer"}
"""The original's grammar, which scripts that compare help texts know."""


def list_data(kind: str) -> Callable[[Run], int]:
    """Keys in order of first setting."""

    def action(run: Run) -> int:
        keys = run.reader.big_data_keys(kind, run.argument(0))
        if run.json:
            run.out_json(keys or None)
        else:
            for key in keys:
                run.out(key)
        return 0

    return action


def get_data(kind: str) -> Callable[[Run], int]:
    """The bytes of one item. A file is made before the item is looked up, as the original does."""

    def action(run: Run) -> int:
        if run["file"]:
            with open(run["file"], "wb") as target:
                return _copy(run, kind, target.write)
        stdout = run.stdout
        return _copy(run, kind, stdout.write)

    return action


def _copy(run: Run, kind: str, write: Callable[[bytes], object]) -> int:
    try:
        with run.reader.open_big_data(kind, run.argument(0), run.argument(1)) as source:
            while block := source.read(CHUNK_BYTES):
                write(block)
    except BigDataUnknown as missing:
        return run.fail(_missing(run, kind, missing))
    return 0


def _missing(run: Run, kind: str, missing: BigDataUnknown) -> str:
    """The three wordings of the original (contract/cli.md §6)."""
    owner, key = str(missing.data["id"]), str(missing.data["key"])
    if kind == "image":
        advice = "consider removing the image to resolve the issue"
        return f'locating item named "{key}" for image with ID "{owner}" ({advice}): file does not exist'
    if kind == "container":
        folder = os.path.join(run.store.root, f"{run.store.driver_name}-containers", owner)
        return f"open {os.path.join(folder, file_name(key))}: no such file or directory"
    return str(missing)


def file_name(key: str) -> str:
    """The file that the original would keep *key* in (contract/semantics.md §2)."""
    if key and frozenset("0123456789abcdefghijklmnopqrstuvwxyz.").issuperset(key):
        return key
    from base64 import b64encode

    return "=" + b64encode(key.encode("utf-8", "surrogateescape")).decode()


def get_size(kind: str) -> Callable[[Run], int]:
    """Bytes of one item."""

    def action(run: Run) -> int:
        try:
            run.out(str(run.reader.big_data_size(kind, run.argument(0), run.argument(1))))
        except BigDataUnknown as missing:
            raise InvalidRequest("size is not known") from missing
        return 0

    return action


def get_digest(kind: str) -> Callable[[Run], int]:
    """SHA-256 of one item."""

    def action(run: Run) -> int:
        try:
            run.out(run.reader.big_data_digest(kind, run.argument(0), run.argument(1)))
        except BigDataUnknown as missing:
            raise InvalidRequest("could not compute digest of item") from missing
        return 0

    return action


def set_data(kind: str) -> Callable[[Run], int]:
    """Store one item from a file or stdin."""

    def action(run: Run) -> int:
        from layerlog.cli.run import file_or_stdin

        with file_or_stdin(run["file"]) as source:
            run.store.set_big_data(kind, run.argument(0), run.argument(1), source)
        return 0

    return action


def _commands(kind: str) -> list[Command]:
    """The family of one kind; layers have neither size nor digest commands."""
    owner = "layerID" if kind == "layer" else f"{kind}NameOrID"
    item, a_kind = f"[options [...]] {owner} dataName", _A[kind]
    both = [
        Command(
            f"list-{kind}-data list{kind}data",
            list_data(kind),
            f"List data items that are attached to {a_kind}",
            f"[options [...]] {kind}NameOrID",
            least=1,
            most=1,
            flags=(JSON,),
            reads=True,
            about="Keys, in the order in which they were first set.",
        ),
        Command(
            f"get-{kind}-data get{kind}data",
            get_data(kind),
            f"Get data that is attached to {a_kind}",
            item,
            least=2,
            most=2,
            lax=True,
            flags=(text("--file -f", "Write data to file"),),
            reads=True,
            about="The raw bytes of one item, on stdout or into a file.",
        ),
        Command(
            f"set-{kind}-data set{kind}data",
            set_data(kind),
            f"Set data that is attached to {a_kind}" + (" (with sometimes wrong digest)" if kind == "image" else ""),
            item,
            least=2,
            most=2,
            lax=True,
            flags=(text("--file -f", "Read data from file"),),
            about="Stores the bytes of stdin or of a file; an item of the same key is replaced.",
        ),
    ]
    if kind == "layer":
        return both
    return [
        *both,
        Command(
            f"get-{kind}-data-size get{kind}datasize",
            get_size(kind),
            f"Get size of data that is attached to {a_kind}",
            item,
            least=2,
            most=2,
            lax=True,
            reads=True,
            about="Bytes of one item.",
        ),
        Command(
            f"get-{kind}-data-digest get{kind}datadigest",
            get_digest(kind),
            f"Get digest of data that is attached to {a_kind}",
            item,
            least=2,
            most=2,
            lax=True,
            reads=True,
            about="SHA-256 of one item.",
        ),
    ]


COMMANDS = (*_commands("image"), *_commands("container"), *_commands("layer"))
