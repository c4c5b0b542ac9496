"""Layers: make them, list them, look at one."""

from __future__ import annotations

from layerlog.cli import idmaps
from layerlog.cli.command import JSON, Command, switch, text, texts
from layerlog.eventstore.errors import DuplicateID, LayerUnknown, NotFound, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.records import Layer, Record


def create_layer(run: Run) -> int:
    """An empty layer. ``--readonly`` only says where it is kept in a split store (contract/cli.md §4)."""
    maps = idmaps.asked(run)
    made = run.store.create_layer(
        run.argument(0), id=run["id"], names=run["name"], label=run["label"], read_only=run["readonly"], **maps
    )
    return show_made(run, made)


def import_layer(run: Run) -> int:
    """A layer from a tar."""
    from layerlog.cli.run import file_or_stdin

    maps = idmaps.asked(run)
    with file_or_stdin(run["file"]) as stream:
        made = run.store.import_layer(
            stream, run.argument(0), id=run["id"], names=run["name"], label=run["label"], read_only=run["readonly"], **maps
        )
    return show_made(run, made)


def create_storage_layer(run: Run) -> int:
    """A layer in the driver only, without a record."""
    from layerlog.eventstore.ids import check_id, new_id

    layer_id, parent = check_id(run["id"]) if run["id"] else new_id(), run.argument(0)
    home = run.store.image_core if run["readonly"] else run.store
    if parent and not home.driver.found(check_id(parent)):
        raise LayerUnknown(asked=parent)
    with home.lease(layer_id, "create-storage-layer"):
        if home.has_layer(layer_id) or home.driver.exists(layer_id):  # the original removes what lies there
            raise DuplicateID(kind="layer", id=layer_id)
        above = home.chain(parent) or home.driver.chain_on_disk(parent) or [] if parent else []
        home.driver.create(layer_id, [parent, *above] if parent else [])
    if run.json:
        from layerlog.cli.gojson import Fields

        run.out_json(Fields([("id", layer_id), ("parent", parent)]))
    else:
        run.out(layer_id)
    return 0


def show_made(run: Run, made: Record) -> int:
    """The ID, then each name after a tab; or the record."""
    if run.json:
        from layerlog.cli.shapes import record

        run.out_json(record(made))
        return 0
    run.out(made.id)
    for name in made.names:
        run.out("\t" + name)
    return 0


def layers(run: Run) -> int:
    """All layers."""
    found = run.reader.layers()
    if run.json:
        from layerlog.cli.shapes import layer as shape

        run.out_json([shape(one) for one in found] or None)
        return 0
    if run["quick"] and not run["tree"]:
        for one in found:
            run.out(one.id)
        return 0
    from layerlog.cli.layer_lists import plain, tree

    if run.rich:
        from layerlog.cli.views.show import show
        from layerlog.cli.views.tables import layer_table

        show(layer_table(run.reader))
        return 0
    for line in (tree if run["tree"] else plain)(run.reader):
        run.out(line)
    return 0


def storage_layers(run: Run) -> int:
    """What the driver holds, recorded or not; a layer whose folders are still to be derived counts as there."""
    found = sorted({*run.store.driver.list(), *(layer.id for layer in run.store.layers())})
    if run.json:
        run.out_json(found)
        return 0
    for layer_id in found:
        run.out(layer_id)
    return 0


def layer(run: Run) -> int:
    """Some layers in detail; unknown ones only make the status 1."""
    found = [one for asked in run.arguments if (one := _known(run, asked)) is not None]
    if run.json:
        from layerlog.cli.shapes import layer as shape

        run.out_json([shape(one) for one in found])
    else:
        for one in found:
            for line in _lines(one):
                run.out(line)
    return 0 if len(found) == len(run.arguments) else unknown(run, "layer")


def unknown(run: Run, kind: str) -> int:
    """Status 1, at the friendly door with a word about what is not here."""
    if not run.compat:
        for asked in run.arguments:
            if not run.reader.exists(asked, kind):
                run.say(f"layerlog: no {kind} {asked}")
    return 1


def _known(run: Run, asked: str) -> Layer | None:
    view = run.reader
    try:
        return view.layer(asked)
    except NotFound:
        return None


def _lines(one: Layer) -> list[str]:
    lines = [f"ID: {one.id}"]
    for title, entries in (("UID", one.uid_map), ("GID", one.gid_map)):
        lines += [f"{title} mapping: (container={row['container_id']}, host={row['host_id']}, size={row['size']})" for row in entries]
    lines += [f"Parent: {one.parent}"] if one.parent else []
    lines += [f"Name: {name}" for name in one.names]
    return lines + (["Read Only: true"] if one.read_only else [])


def layer_parent_owners(run: Run) -> int:
    """Owners of the folders above a mounted, mapped layer that its maps do not cover."""
    found = [one for asked in run.arguments if (one := _known(run, asked)) is not None]
    for one in found:
        try:
            uids, gids = run.store.parent_owners(one.id) if one.uid_map or one.gid_map else ([], [])
        except StoreError as error:
            return run.fail(f"LayerParentOwner: {str(error).removeprefix('LayerParentOwner: ')}")
        show_owners(run, one.id, uids, gids, always=False)
    return 0 if len(found) == len(run.arguments) else 1


def show_owners(run: Run, item_id: str, uids: list[int], gids: list[int], always: bool) -> None:
    """One result of ``*-parent-owners``; *always* prints empty lists, too."""
    if run.json:
        from layerlog.cli.gojson import Fields

        run.out_json(Fields([("ID", item_id), ("UIDs", uids or None), ("GIDs", gids or None)]))
        return
    run.out(f"ID: {item_id}")
    for title, ids in (("UIDs", uids), ("GIDs", gids)):
        if ids or always:
            run.out(f"{title}: [{' '.join(map(str, ids))}]")


CREATE = (
    text("--label -l", "Mount Label"),
    texts("--name -n", "Layer name"),
    text("--id -i", "Layer ID"),
    switch("--readonly -r", "Mark as read-only"),
    JSON,
    *idmaps.FLAGS,
)
_PARENT = "[options [...]] [parentLayerNameOrID]"

COMMANDS = (
    Command(
        "create-layer createlayer",
        create_layer,
        "Create a new layer",
        _PARENT,
        most=1,
        flags=CREATE,
        opens="layerlog.layer_store:LayerStore",
        about="Makes an empty layer, on a parent or on nothing, and prints its ID and names.",
    ),
    Command(
        "import-layer importlayer",
        import_layer,
        "Import a new layer",
        _PARENT,
        most=1,
        flags=(*CREATE, text("--file -f", "Read from file instead of stdin")),
        about="Makes a layer of a tar (plain, gzip, bzip2, xz or zstd) from a file or stdin. If the tar is damaged, nothing is left.",
    ),
    Command(
        "create-storage-layer",
        create_storage_layer,
        "Create a new layer in the storage driver only",
        _PARENT,
        most=1,
        flags=tuple(flag for flag in CREATE if flag.key != "name"),
        about="For tests of drivers: a layer without a record. `gc` takes it away.",
    ),
    Command(
        "layers",
        layers,
        "List layers",
        flags=(switch("--tree -t", "Use a tree"), switch("--quick -q", "Just the IDs"), JSON),
        reads=True,
        about="Every layer with its names, the images whose top layer it is, and the container that owns it. `layerlog tree` draws them.",
    ),
    Command(
        "storage-layers", storage_layers, "List storage layers", flags=(JSON,), about="What lies in the driver's folder, recorded or not."
    ),
    Command(
        "layer",
        layer,
        "Examine a layer",
        "[options [...]] layerNameOrID [...]",
        least=1,
        flags=(JSON,),
        reads=True,
        about="ID, maps, parent and names of some layers.",
    ),
    Command(
        "layer-parent-owners",
        layer_parent_owners,
        "Compute the set of unmapped parent UIDs and GIDs of the layer",
        "[options [...]] layerNameOrID [...]",
        least=1,
        flags=(JSON,),
        about="Owners of the folders above a mounted layer that its ID maps do not cover: what a user namespace must be able to pass.",
    ),
)
