"""What a layer changes: list it, measure it, take it out as a tar, put a tar in."""

from __future__ import annotations

import os

from layerlog.cli.command import JSON, Command, switch, text
from layerlog.eventstore.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.cli.run import Run

WORDS = ("Modify", "Add", "Delete")
GZIP, BZIP2, XZ, UNCOMPRESSED = 2, 1, 3, 0


def changes(run: Run) -> int:
    """Paths that differ from the parent or from another layer."""
    from layerlog.cli.gojson import Fields, quoted

    found = run.store.changes(_layer(run, 0), _layer(run, 1) or None)
    if run.json:
        rows = [Fields([("Path", os.fsdecode(one.path)), ("Kind", one.kind)]) for one in found]
        run.out_json(rows or None)
        return 0
    if run.rich:
        from layerlog.cli.views.changes import change_line
        from layerlog.cli.views.show import show_lines

        show_lines(change_line(one.kind, os.fsdecode(one.path)) for one in found)
        return 0
    for one in found:
        run.out(f"{WORDS[one.kind]} {quoted(os.fsdecode(one.path))}")
    return 0


def diff_size(run: Run) -> int:
    """Bytes of the files that differ."""
    run.out(str(run.store.diff_size(_layer(run, 0), _layer(run, 1) or None)))
    return 0


def diff(run: Run) -> int:
    """The diff as a tar."""
    if run["xz"] or run["bzip2"]:
        raise NotSupported(f"unsupported compression format tar.{'xz' if run['xz'] else 'bz2'}")
    compression = GZIP if run["gzip"] else UNCOMPRESSED if run["uncompressed"] else None
    if run["file"]:
        with open(run["file"], "wb") as target:
            for block in run.store.diff(_layer(run, 0), _layer(run, 1) or None, compression):
                target.write(block)
        return 0
    stdout = run.stdout
    if not run.compat and stdout.isatty():
        raise NotSupported("a tar is no sight for a terminal; give --file, or send stdout elsewhere")
    for block in run.store.diff(_layer(run, 0), _layer(run, 1) or None, compression):
        stdout.write(block)
    stdout.flush()
    return 0


def _layer(run: Run, place: int) -> str:
    """The argument at *place*; for people a container stands for its layer (in the contract it is unknown)."""
    asked = run.argument(place)
    if run.compat or not asked or run.store.exists(asked, "layer") or not run.store.exists(asked, "container"):
        return asked
    return str(run.store.container(asked).layer)


def apply_diff(run: Run) -> int:
    """Unpack a tar over what the layer holds."""
    from layerlog.cli.run import file_or_stdin

    with file_or_stdin(run["file"]) as stream:
        run.store.apply_diff(run.argument(0), stream)
    return 0


def apply_staged(run: Run) -> int:
    """Make a folder's content the content of a layer, by way of staging; overlay only, as in the original."""
    if run.store.driver_name != "overlay":
        raise NotSupported("staging directories are supported by the overlay driver only")
    with _Blocks(_tar_of(run.argument(1))) as stream:
        run.store.apply_diff(run.argument(0), stream)  # type: ignore[arg-type]
    return 0


def _tar_of(folder: str) -> Iterator[bytes]:
    """The folder as a tar, by a writer thread so that memory stays bounded."""
    import tarfile
    import threading

    os.stat(folder)
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as sink, tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(os.listdir(folder)):
                archive.add(os.path.join(folder, name), arcname=name)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with open(reading, "rb") as source:
        while block := source.read(1 << 20):
            yield block
    thread.join()


class _Blocks:
    """A readable stream over blocks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def __enter__(self) -> _Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read(self, size: int = -1) -> bytes:
        """At most *size* bytes; all that is left without one."""
        if size < 0:
            found, self._rest = self._rest + b"".join(self._blocks), b""
            return found
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = block
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


_USAGE = "[options [...]] layerNameOrID [referenceLayerNameOrID]"
_REFERENCE = "The reference is the parent, or a layer you name."

COMMANDS = (
    Command(
        "changes",
        changes,
        "Compare two layers",
        _USAGE,
        least=1,
        most=2,
        flags=(JSON,),
        about=f"Lists added, modified and deleted paths of a layer. {_REFERENCE}",
    ),
    Command(
        "diffsize diff-size",
        diff_size,
        "Compare two layers",
        _USAGE,
        least=1,
        most=2,
        about=f"Bytes of the files that a layer adds or modifies. {_REFERENCE}",
    ),
    Command(
        "diff",
        diff,
        "Compare two layers",
        _USAGE,
        least=1,
        most=2,
        flags=(
            text("--file -f", "Write to file instead of stdout"),
            switch("--uncompressed -u", "Use no compression"),
            switch("--gzip -c", "Compress using gzip"),
            switch("--bzip2 --bz2 -b", "Compress using bzip2 (not currently supported)"),
            switch("--xz -x", "Compress using xz (not currently supported)"),
        ),
        about=f"A layer's changes as a tar, bit for bit the one that was applied where there was one. {_REFERENCE}",
    ),
    Command(
        "applydiff apply-diff",
        apply_diff,
        "Apply a diff to a layer",
        _USAGE,
        least=1,
        most=1,
        flags=(text("--file -f", "Read from file instead of stdin"),),
        about="Unpacks a tar (plain, gzip, bzip2, xz or zstd) over what the layer holds: all of it, or nothing.",
    ),
    Command(
        "applydiff-using-staging-dir",
        apply_staged,
        "Apply a diff to a layer using a staging directory",
        "layerNameOrID directory",
        least=2,
        most=2,
        about="Makes the content of a folder the content of a layer (overlay only).",
    ),
)
