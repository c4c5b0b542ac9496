"""Images in and out: ``load``, ``save`` and ``import``."""

from __future__ import annotations

import os

from layerlog.cli.command import FRIENDLY, Command, switch, text, texts
from layerlog.eventstore.errors import InvalidRequest, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from layerlog.cli.run import Run
    from layerlog.records import Image


def load(run: Run) -> int:
    """Load an image, with a bar on a terminal; print IDs and names on stdout."""
    from layerlog.cli.views.progress import LoadProgress
    from layerlog.image_refs import Asked, parse

    shown = run.argument(0)
    asked = Asked("", "") if shown == "-" else parse(shown)
    source: Any = _stdin() if shown == "-" else asked.path
    if run["all"] and (run["name"] or asked.image):
        raise InvalidRequest("--all loads every image under its own tags; name one image, or give it a name, without --all")
    store = run.store
    with LoadProgress(shown, run["verbose"]) as progress:
        if run["all"]:
            loaded = store.load_all(source, progress=progress, platform=run["platform"])
        else:
            loaded = [store.load(source, run["name"], image=asked.image, progress=progress, platform=run["platform"])]
    if not run["quiet"]:
        run.say(f"{shown}: {progress.summary()}")
    tell_left_out(run, progress.notes)
    return show_images(run, loaded)


def _stdin() -> BinaryIO:
    """The bytes on stdin. Raises InvalidRequest where somebody would have to type them."""
    import sys

    if sys.stdin.isatty():
        raise InvalidRequest("an archive is wanted on stdin, and nobody types one: layerlog ... - < FILE")
    return sys.stdin.buffer


def show_images(run: Run, images: list[Image]) -> int:
    """ID and names of each, or records as JSON."""
    if run.json:
        from layerlog.cli.shapes import image as shape

        run.out_json([shape(one) for one in images])
        return 0
    for one in images:
        run.out(one.id)
        for name in one.names:
            run.out("\t" + name)
    return 0


ONLY_ROOT = "what only root can set (owners, devices, privileged attributes)"


def tell_left_out(run: Run, notes: list[tuple[bytes, str]], why: str = ONLY_ROOT) -> None:
    """Say what this user could not set, or what a layer cannot hold: a count, or path by path with ``--verbose``."""
    if not notes:
        return
    if run["verbose"]:
        for path, what in notes:
            run.say(f"left out: {what} of /{os.fsdecode(path)}")
        return
    paths = len({path for path, _ in notes})
    run.say(f"left out on {paths} paths {why}; --verbose names them")


def save(run: Run) -> int:
    """Write images as an archive or layout that other tools load, with a bar on a terminal; ``-`` writes to stdout."""
    from layerlog.cli.views.progress import SaveProgress

    images, path = (run.arguments, run["output"]) if run["output"] else (run.arguments[:-1], run.arguments[-1])
    if not images:
        raise InvalidRequest("say which image, and where to: save IMAGE... PATH (- is stdout)")
    if path == "-" and run.stdout.isatty():
        raise NotSupported("an archive is no sight for a terminal; give a path, or send stdout elsewhere")
    store, wanted = run.store, run["compression"] or None
    with SaveProgress(path) as progress:
        store.save(run.stdout if path == "-" else path, images, format=run["format"], compression=wanted, progress=progress)
    if not run["quiet"]:
        run.say(f"{path}: {progress.summary()}")
    return 0


def import_(run: Run) -> int:
    """Make an image of a folder, or of a tar of a root file system (``-``: on stdin)."""
    from layerlog.cli.views.progress import LoadProgress

    source, names = run.argument(0), [*run["name"], *([run.argument(1)] if run.argument(1) else [])]
    about = {"parent": run["parent"], "changes": run["change"], "message": run["message"], "platform": run["platform"]}
    store = run.store
    with LoadProgress(source, run["verbose"]) as progress:
        if source != "-" and os.path.isdir(source):
            made = store.import_dir(source, names, progress=progress, **about)
        else:
            with _stdin() if source == "-" else open(source, "rb") as file:
                made = store.import_tar(file, names, progress=progress, **about)
    if not run["quiet"]:
        run.say(f"{source}: {progress.summary()}")
    tell_left_out(run, progress.notes, "what a layer cannot hold (sockets, .wh. names) or only root can set")
    return show_images(run, [made])


COMMANDS = (
    Command(
        "load",
        load,
        "Load an image from an archive or layout",
        "PATH[:IMAGE]|- [--name NAME]...",
        least=1,
        most=1,
        door=FRIENDLY,
        flags=(
            texts("--name -n", "Name for the image (repeatable); without one, its own tags are used"),
            text("--platform", "Which image of a multi-platform index: OS/ARCHITECTURE[/VARIANT]"),
            switch("--all -a", "Load every image of the archive under its own tags"),
            switch("--quiet -q", "No summary"),
        ),
        about="""PATH is an OCI layout (a folder), an oci-archive or a docker-archive, compressed or not, or - for stdin;
layers may be plain, gzip or zstd. :IMAGE, a name in the archive or @0, @1, ..., chooses one of several.
Every digest is verified while it streams. Layers that are here already are shared. Image, layers and
names appear together when all is durable, or not at all.

  layerlog load python-app.tar --name app:1.3
  docker save app:1 | layerlog load -""",
    ),
    Command(
        "save",
        save,
        "Write an image as an archive or layout",
        "IMAGE... PATH|-",
        least=1,
        door=FRIENDLY,
        flags=(
            text("--format", "oci (a folder), oci-archive or docker-archive", default="oci-archive"),
            text("--output -o", "Write here; then all arguments are images"),
            text("--compression", "Of layers: none, gzip or zstd; else as the image had them"),
            switch("--quiet -q", "No summary"),
        ),
        about="""Layers that came from a tar are written bit for bit as they came; the same images give the same bytes. An older file
is replaced when the new one is complete. - writes to stdout.

  layerlog save app:1 worker:1 both.tar
  layerlog save app:1 - --format docker-archive | docker load""",
    ),
    Command(
        "import",
        import_,
        "Make an image of a folder or of a tar of a root file system",
        "DIR|FILE|- [NAME] [--name NAME]...",
        least=1,
        most=2,
        door=FRIENDLY,
        flags=(
            texts("--name -n", "Name for the image (repeatable)"),
            text("--parent", "Image or layer to put it on; its files come over those of the parent"),
            texts("--change -c", "Instruction for the image's config: 'CMD [\"/bin/sh\"]', 'ENV A=1', 'USER 1000', ... (repeatable)"),
            text("--message -m", "Comment for the image's history"),
            text("--platform", "OS/ARCHITECTURE that the image says it is for; else this machine's"),
            switch("--quiet -q", "No summary"),
        ),
        about="""Owners, modes, times, xattrs, hard links, holes and devices of a folder are kept; sockets, and files whose names
mean deletions in an image (.wh.NAME), are left out and counted. A folder that changes while it is read is refused, and
nothing is there. The same folder gives the same image, stored once. A tar may be plain, gzip, bzip2, xz or zstd.

  layerlog import ./rootfs --name base:1 --change 'CMD ["/bin/sh"]'
  layerlog import ./app --parent base:1 --name app:1
  docker export c1 | layerlog import - exported:1""",
    ),
)
