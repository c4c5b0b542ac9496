"""Look at what is here: ``tree``, ``ls``, ``ps``, ``inspect``, ``df``."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command, switch, text, texts
from layerlog.eventstore.errors import InvalidRequest, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.cli.gojson import Fields
    from layerlog.cli.run import Run
    from layerlog.cli.views.tree_rows import Row
    from layerlog.records import Image, Layer


def tree(run: Run) -> int:
    """The layer tree."""
    import time

    from layerlog.cli.views.tree_rows import tree_rows

    view = run.reader
    images = view.images()
    rows = tree_rows(view.layers(), images, view.containers(), view.mounts())
    if run.json:
        run.out_json([_row_json(row) for row in rows])
        return 0
    from layerlog.cli.views.show import show, width
    from layerlog.cli.views.tree import tree_view

    known = {row.layer.id for row in rows}
    loose = [image for image in images if image.layer not in known]
    if run["svg"]:
        return _save_svg(run, tree_view(rows, loose, headline(run), SVG_COLUMNS, time.time_ns()))
    show(tree_view(rows, loose, headline(run), width(), time.time_ns()))
    return 0


SVG_COLUMNS = 110


def _save_svg(run: Run, view: Any) -> int:
    """The picture, whole or not at all."""
    import os

    from layerlog.cli.views.svg import drawn

    aside = f"{run['svg']}.{os.urandom(6).hex()}.new"
    with open(aside, "x", encoding="utf-8") as file:  # never through a link that somebody else put there
        file.write(drawn(view, SVG_COLUMNS, "layerlog tree"))
    os.replace(aside, run["svg"])
    run.say(f"wrote {run['svg']}")
    return 0


def headline(run: Run) -> str:
    """Which store, which state."""
    import os
    import time

    from layerlog.cli.views import units
    from layerlog.cli.views.show import width

    root, home = run.values.get("journal") or run.store.root, os.path.expanduser("~")
    shown = "~" + root[len(home) :] if root.startswith(home + "/") else root
    view: Any = run.reader
    past = "" if view is run.store else f" · as it was {units.moment(view.time_ns, time.time_ns())}"
    rest = f" · {run.store.driver_name} · commit {view.sequence}{past}"
    room = max(width() - len(rest), 12)
    return (shown if len(shown) <= room else "…" + shown[1 - room :]) + rest


def _row_json(row: Row) -> Fields:
    from layerlog.cli.gojson import Fields

    found = Fields([("id", row.layer.id)])
    found.add("parent", row.layer.parent)
    found.add("names", row.layer.names)
    found.append(("size", row.size))
    found.append(("users", row.users))
    found.add("images", [Fields([("id", image.id), ("names", image.names)]) for image in row.images])
    found.add("containers", [Fields([("id", one.id), ("names", one.names)]) for one in row.containers])
    if row.mount is not None:
        found.append(("mount", Fields([("path", row.mount[0]), ("count", row.mount[1])])))
    return found


def ls(run: Run) -> int:
    """Images as a table."""
    from layerlog.cli.listing import image_rows, listed

    view = run.reader
    words, images = [*run["filter"], *(f"reference={word}" for word in run.arguments)], view.images()
    if words:
        from layerlog.cli.filters import images as filtered

        fits = filtered(view, words)
        images = [one for one in images if fits(one)]
    if run.json:
        from layerlog.cli.shapes import image as shape

        run.out_json([shape(one) for one in images])
        return 0
    if listed(run, images, lambda: image_rows(view, images)):
        return 0
    from layerlog.cli.views.show import show
    from layerlog.cli.views.tables import image_table

    show(image_table(view, images, whole=run["no_trunc"]))
    return 0


def ps(run: Run) -> int:
    """Containers as a table."""
    from layerlog.cli.listing import container_rows, listed

    view = run.reader
    found = view.containers()
    if run["filter"]:
        from layerlog.cli.filters import containers as filtered

        fits = filtered(view, run["filter"])
        found = [one for one in found if fits(one)]
    if run.json:
        from layerlog.cli.shapes import container as shape

        run.out_json([shape(one) for one in found])
        return 0
    if listed(run, found, lambda: container_rows(view, found)):
        return 0
    from layerlog.cli.views.show import show
    from layerlog.cli.views.tables import container_table

    show(container_table(view, containers=found, whole=run["no_trunc"]))
    return 0


def inspect(run: Run) -> int:
    """Everything recorded of some things, as JSON: indented on a terminal, a line each off it."""
    import json
    import sys

    from layerlog.cli.gojson import encode
    from layerlog.cli.shapes import record

    kind = run["type"] or None
    if kind not in (None, "layer", "image", "container"):
        raise InvalidRequest(f"no type {kind[:40]!r}: layer, image, container")
    status, view = 0, run.reader
    for asked in run.arguments:
        try:
            found = view.item(asked, kind)
        except NotFound as unknown:
            from layerlog.cli.friendly import complain

            status = complain(f"{asked}: {unknown}", f"layerlog why-gone {asked} tells what happened to it")
            continue
        line = encode(record(found))
        if run["format"]:
            from layerlog.cli.templates import expanded

            run.out(expanded(run["format"], {"kind": found.kind, **json.loads(line)}))
        else:
            run.out(json.dumps({"kind": found.kind, **json.loads(line)}, indent=2, ensure_ascii=False) if sys.stdout.isatty() else line)
    return status


def df(run: Run) -> int:
    """What takes the room."""
    if run["since"]:
        from layerlog.cli.asking import grown

        return grown(run)
    rows = _usage(run)
    if run.json:
        names = ("total", "active", "size", "freeable")
        run.out_json([{"type": row.what, **{name: getattr(row, name) for name in names}} for row in rows])
        return 0
    from layerlog.cli.views.show import show, width
    from layerlog.cli.views.tables import usage_table

    show(usage_table(rows, width()))
    return 0


def _usage(run: Run) -> list[Any]:
    from layerlog.cli.views.tables import Usage
    from layerlog.cli.views.tree_rows import tree_rows

    view = run.reader
    images, containers = view.images(), view.containers()
    rows = tree_rows(view.layers(), images, containers, view.mounts())
    items = [one for record in (*images, *containers) for one in record.big_data.values()]
    used = {one.image for one in containers}
    idle = {layer.id for layer in free_without(rows, images, used)}
    found = [
        Usage("Images", len(images), len(used & {one.id for one in images}), 0, sum(row.size or 0 for row in rows if row.layer.id in idle)),
        _layers("  shared layers", [row for row in rows if row.users > 1]),
        _layers("  unique layers", [row for row in rows if row.users == 1]),
        _layers("  unused layers", [row for row in rows if not row.users]),
        _unrecorded(run, [row.layer for row in rows if row.size is None or row.layer.opened]),
        Usage("Containers", len(containers), sum(1 for row in rows if row.mount and row.containers), 0, None),
        Usage("Data items", len(items), None, sum(size for _, size in dict(items).items()), None),
    ]
    if view is run.store:
        thrown = run.store.trash()
        found.append(Usage("Trash", len(thrown), None, sum(one.size for one in thrown), sum(one.size for one in thrown)))
        found.append(Usage("History", run.store.sequence, None, _journal_bytes(run), None))
    return found


def _layers(what: str, rows: list[Row]) -> Any:
    from layerlog.cli.views.tables import Usage

    size = sum(row.size or 0 for row in rows)
    return Usage(what, len(rows), None, size, size if rows and not rows[0].users else None)


def _unrecorded(run: Run, layers: list[Layer]) -> Any:
    """What programs wrote into mounted layers: the journal does not say how much, so it is measured; of a past state nobody can say."""
    from layerlog.cli.measuring import bytes_below
    from layerlog.cli.views.tables import Usage

    live = run.reader is run.store and not run.values.get("journal")
    found = 0
    for layer in layers if live else ():
        recorded = layer.contents.diff_size if layer.contents else 0
        found += max(bytes_below(run.store.driver.path(layer.id)) - recorded, 0)
    return Usage("  not recorded", len(layers), None, found, None)


def free_without(rows: list[Row], images: list[Image], used: set[str]) -> list[Layer]:
    """Layers that would go if all images without containers went."""
    by_id = {row.layer.id: row.layer for row in rows}
    needed: set[str] = set()
    tops = [image.layer for image in images if image.id in used] + [row.layer.id for row in rows if row.containers]
    for top in tops:
        while top in by_id and top not in needed:
            needed.add(top)
            top = by_id[top].parent
    return [row.layer for row in rows if row.users and row.layer.id not in needed]


def _journal_bytes(run: Run) -> int:
    """Bytes of the journal's files on disk."""
    import os

    folder = os.path.join(run.store.root, f"{run.store.driver_name}-layerlog", "journal")
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))


_SHOW = (switch("--quiet -q", "Only print IDs"), switch("--no-trunc", "Whole IDs"))
_FORMAT = "A Go template for each, such as '{{.ID}} {{.Names}}', or json"

COMMANDS = (
    Command(
        "tree",
        tree,
        "Draw the layers with all that sits on them",
        "",
        most=0,
        door=FRIENDLY,
        reads=True,
        flags=(text("--svg", "Draw it into that file, as a picture"),),
        about="""A stack of layers stands in one column, its base on top; a fork indents. ◆ is an image, ■ a container,
▸ a mount. USED counts the images and containers that need a layer: ×2 and more means that they share it.
SIZE is what the journal recorded when the layer was filled; – means that no diff was applied to it.

  layerlog tree --at yesterday""",
    ),
    Command(
        "ls",
        ls,
        "List images in a table",
        "[NAME...]",
        door=FRIENDLY,
        reads=True,
        flags=(
            *_SHOW,
            text("--format", _FORMAT),
            texts("--filter -f", "dangling=true, reference=app*, containers=false, before=X, since=X, until=24h, id=…"),
            switch("--all -a", "As podman and docker have it; all are listed anyway"),
        ),
        about="""Newest first. NAME is a name, a name without its tag, or a pattern. Sizes are recorded sizes of all layers of an image,
shared or not; `layerlog df` tells what is shared.
Fields for --format: ID, Names, Repository, Tag, Digest, Layers, Size, Created, CreatedAt.

  layerlog ls --filter dangling=true --quiet""",
    ),
    Command(
        "ps",
        ps,
        "List containers in a table",
        "",
        most=0,
        door=FRIENDLY,
        reads=True,
        flags=(
            *_SHOW,
            text("--format", _FORMAT),
            texts("--filter -f", "name=…, ancestor=IMAGE, status=mounted or unmounted, before=X, since=X, until=24h, id=…"),
            switch("--all -a", "As podman and docker have it; all are listed anyway"),
        ),
        about="""Newest first, with image and mount point. All of them: a store knows which are mounted, not which run.
Fields for --format: ID, Names, Image, ImageID, Status, Mount, Layer, Created, CreatedAt.

  layerlog ps --filter status=mounted --format '{{.Names}}: {{.Mount}}'""",
    ),
    Command(
        "inspect",
        inspect,
        "Show everything recorded of something",
        "X...",
        least=1,
        door=FRIENDLY,
        reads=True,
        flags=(
            text("--format -f", "A Go template, such as '{{.Names}}' or '{{json .BigDataNames}}'"),
            text("--type -t", "layer, image or container, where a word may mean several"),
        ),
        about="""X is an ID, a name or a unique prefix of an ID, of a layer, an image or a container. Always JSON, unless a format is given.

  layerlog inspect app:1 --format '{{.Layer}}'""",
    ),
    Command(
        "df",
        df,
        "Show what takes the room, or with --since what took it",
        "",
        most=0,
        door=FRIENDLY,
        reads=True,
        flags=(text("--since", "What grew since that point (a commit, 2h, yesterday, a time), and who did it"),),
        about="""Recorded sizes of layers that several images or containers share, that one needs, that none needs;
of data items, trash and journal. What programs wrote into mounted layers is not recorded: it is measured, and shown as such.

  layerlog df --since yesterday""",
    ),
)
