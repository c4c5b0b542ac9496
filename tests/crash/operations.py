"""Every public operation on a store, by name: **a new one is one line here**, and every test of this folder runs it.

``test_operations.py`` fails while a public method of Store, of a transaction or of a sandbox is called by none of these.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from layerlog.eventstore.errors import NotSupported
from tests.crash import world

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog import Store

    Operation = Callable[[Store], object]


def _build(root: str) -> None:
    world.program(root, "built", "by layer_for")


def _sandbox(store: Store) -> None:
    with store.sandbox("image") as box:
        world.program(box.root, "made", "in a sandbox")


def _sandbox_commit(store: Store) -> None:
    with store.sandbox("image") as box:
        world.program(box.root, "made", "in a sandbox")
        box.commit(name="from-sandbox")


def _transaction(store: Store) -> None:
    with store.transaction(reason="release") as change:
        layer = change.create_layer("middle", id="in-tx")
        change.create_image(layer, id="tx-image", names=["app:2"])
        change.untag("app:1")
        change.set_big_data("image", "image", "tx", b"in a transaction")
        change.delete_layer("alone")


def _transaction_of_names(store: Store) -> None:
    with store.transaction() as change:
        box = change.create_container("image", id="tx-box")
        change.tag("image", "app:3")
        change.set_names("box", ["other-box-name"])
        change.add_names("middle", ["middle-name"])
        change.remove_names("base", ["base-name"])
        change.set_metadata(box, "in a transaction")
    with store.transaction() as change:
        change.delete_container(box)
    with store.transaction() as change:
        change.delete_container("box")
        change.delete_image("image")


def _sandbox_snapshot(store: Store) -> None:
    box = store.sandbox("image")
    world.program(box.root, "made", "in a sandbox")
    box.snapshot("snap")
    box.close()


def _folders(store: Store) -> None:
    for folder in (store.container_dir("box"), store.image_dir("image"), store.container_run_dir("box"), store.image_run_dir("image")):
        assert folder


def _shutdown(store: Store) -> None:
    store.mount("blank")
    store.shutdown(force=True)


def _dedup(store: Store) -> None:
    with suppress(NotSupported):  # where no file system shares blocks
        store.dedup()


def _files(store: Store) -> None:
    with store.digest_lock("sha256:" + "a" * 64):
        store.set_container_directory_file("box", "file", b"lasting")
        store.set_container_run_directory_file("box", "file", b"until the next boot")


def _save(store: Store) -> None:
    list(store.diff("middle", compression=2))


def _apply_to_mounted(store: Store) -> None:
    store.mount("other")
    store.apply_diff("other", io.BytesIO(world.MIDDLE))


def _mount_twice(store: Store) -> None:
    store.mount("blank")
    store.mount("blank")
    store.unmount("blank")
    store.unmount("blank")


OPERATIONS: dict[str, Operation] = {
    "create_layer": lambda store: store.create_layer("middle", id="new", names=["new-name"], metadata="m"),
    "import_layer": lambda store: store.import_layer(io.BytesIO(world.OTHER), "middle", id="new", names=["new-name"]),
    "import a layer of every kind": lambda store: store.import_layer(io.BytesIO(world.EVERY_KIND), "middle", id="new"),
    "apply a diff of every kind": lambda store: store.apply_diff("middle-copy", io.BytesIO(world.EVERY_KIND)),
    "apply_diff to an empty layer": lambda store: store.apply_diff("blank", io.BytesIO(world.OTHER)),
    "apply_diff to a filled layer": lambda store: store.apply_diff("other", io.BytesIO(world.MIDDLE)),
    "apply_diff to a mounted layer": _apply_to_mounted,
    "create_image": lambda store: store.create_image(
        "middle", id="new", names=["app:2"], big_data={"manifest": b"{}", "note": b"n" * 3000}
    ),
    "create_container": lambda store: store.create_container("image", id="new", name="new-name", big_data={"k": b"v"}),
    "set_big_data": lambda store: store.set_big_data("image", "image", "signature", b"s" * 2000),
    "replace big data": lambda store: store.set_big_data("image", "image", "note", b"another note"),
    "remove_big_data": lambda store: store.remove_big_data("image", "image", "note"),
    "set_names": lambda store: store.set_names("image", ["app:2", "app:3"]),
    "tag": lambda store: store.tag("image", "app:latest"),
    "untag": lambda store: store.untag("app:1"),
    "a change that needs a new segment": lambda store: store.set_metadata("box", "m" * 90_000, "container"),
    "set_metadata": lambda store: store.set_metadata("box", "changed", "container"),
    "load": lambda store: store.load(world.LAYOUT),
    "commit_container": lambda store: store.commit_container("box", name="committed"),
    "snapshot": lambda store: store.snapshot("box", name="snap"),
    "layer_for": lambda store: store.layer_for("key", "middle", _build),
    "sandbox": _sandbox,
    "sandbox with commit": _sandbox_commit,
    "mount and unmount": _mount_twice,
    "mount": lambda store: store.mount("blank"),
    "diff": _save,
    "delete_layer": lambda store: store.delete_layer("other"),
    "delete_layer, empty": lambda store: store.delete_layer("alone"),
    "delete_container": lambda store: store.delete_container("box"),
    "delete, whatever it is": lambda store: store.delete("box"),
    "restore a layer": lambda store: store.restore("thrown", "layer"),
    "restore an image": lambda store: store.restore("old:1"),
    "undo": lambda store: store.undo(last=3),
    "transaction": _transaction,
    "empty_trash": lambda store: store.empty_trash(),
    "wipe": lambda store: store.wipe(),
    "pin": lambda store: store.pin("image", "keep"),
    "redact": lambda store: store.redact(2, 5),
    "load_all": lambda store: store.load_all(world.LAYOUT),
    "import_dir": lambda store: store.import_dir(world.folder(), name="folder:1", parent="middle", changes=["ENV A=1"]),
    "import_tar": lambda store: store.import_tar(io.BytesIO(world.OTHER), name="tar:1"),
    "add_names": lambda store: store.add_names("other", ["a", "b"], "layer"),
    "remove_names": lambda store: store.remove_names("base", ["base-name"], "layer"),
    "folders of a container and an image": _folders,
    "files of a container": _files,
    "dedup": _dedup,
    "prune": lambda store: store.prune(everything=True),
    "apply a plan of prune": lambda store: store.apply_plan(store.plan_prune(everything=True)),
    "shutdown": _shutdown,
    "gc": lambda store: store.gc(),
    "with a key": lambda store: store.given(key="job-7").create_layer("middle", id="new"),
    "transaction of names": _transaction_of_names,
    "sandbox with snapshot": _sandbox_snapshot,
}
MAPS: dict[str, Any] = {field: [{"container_id": 0, "host_id": 100_000, "size": 65_536}] for field in ("uid_map", "gid_map")}
if world.UID == 0:  # who may give files away
    OPERATIONS["create_layer with other owners"] = lambda store: store.create_layer("middle", id="new", **MAPS)
    OPERATIONS["create_container with other owners"] = lambda store: store.create_container("image", id="new", **MAPS)
EPHEMERAL: dict[str, Operation] = {
    "delete_layer at once": lambda store: store.delete_layer("other"),
    "delete_container at once": lambda store: store.delete_container("box"),
    "wipe at once": lambda store: store.wipe(),
    "prune at once": lambda store: store.prune(everything=True),
    "free_expired": lambda store: store.free_expired(),
}
"""The same with retention 0: what is deleted is freed in the same call."""


def retention(name: str) -> float:
    """Retention of the store that runs an operation, in seconds."""
    return 0.0 if name in EPHEMERAL else 86400.0


def _delete_and_make_again(store: Store) -> None:
    store.import_layer(io.BytesIO(world.MIDDLE), id="other")


def _apply_with_key(store: Store) -> None:
    store.given(key="job-7").apply_diff("other", io.BytesIO(world.MIDDLE))


def _import_with_key(store: Store) -> None:
    store.given(key="job-7").import_layer(io.BytesIO(world.OTHER), "middle", id="new", names=["new-name"])


SEQUENCES: dict[str, list[Operation]] = {
    "delete, restore, delete": [
        lambda store: store.delete_layer("other"),
        lambda store: store.restore("other"),
        lambda store: store.delete_layer("other"),
    ],
    "delete and make again": [lambda store: store.delete_layer("other"), _delete_and_make_again],
    "apply and delete": [lambda store: store.apply_diff("other", io.BytesIO(world.MIDDLE)), lambda store: store.delete_layer("other")],
    "apply three times": [
        lambda store: store.apply_diff("other", io.BytesIO(world.MIDDLE)),
        lambda store: store.apply_diff("other", io.BytesIO(world.BASE)),
        lambda store: store.set_names("other", ["filled"]),
    ],
    "delete, free, import": [
        lambda store: store.delete_layer("other"),
        lambda store: store.empty_trash(),
        lambda store: store.import_layer(io.BytesIO(world.OTHER), "base", id="next"),
    ],
    "delete an image and its container": [lambda store: store.delete_container("box"), lambda store: store.delete_image("image")],
    "pin, unpin": [lambda store: store.pin("image", "keep"), lambda store: store.unpin("image")],
    "delete, make again, delete, restore the first": [
        lambda store: store.create_image("other", id="of-first", names=["first:1"]),
        lambda store: store.delete_image("of-first"),
        _delete_and_make_again,
        lambda store: store.delete_layer("other"),
        lambda store: store.restore("first:1"),
    ],
    "undo, and undo that": [
        lambda store: store.delete_container("box"),
        lambda store: store.undo(last=1),
        lambda store: store.undo(store.sequence),
    ],
    "apply_diff with a key, and again": [_apply_with_key, lambda store: store.delete_layer("middle-copy"), _apply_with_key],
    "import_layer with a key, and again": [_import_with_key, _import_with_key],
    "load, delete, load": [
        lambda store: store.load(world.LAYOUT),
        lambda store: store.delete_image("loaded:1"),
        lambda store: store.load(world.LAYOUT),
    ],
}
"""Several calls, each acknowledged: what one leaves unflushed must not hurt the next."""


BIRTH: dict[str, list[Operation]] = {
    "first layer of a new store": [lambda store: store.import_layer(io.BytesIO(world.OTHER), id="first")],
    "first big data of a new store": [lambda store: store.create_image(id="first", names=["app:1"], big_data={"k": b"first"})],
    "first load of a new store": [lambda store: store.load(world.LAYOUT)],
}
"""In a root that is an empty folder: the store itself comes to be."""


def steps(name: str) -> list[Operation]:
    """The calls of a name in any of the tables."""
    if name in SEQUENCES or name in BIRTH:
        return {**SEQUENCES, **BIRTH}[name]
    return [OPERATIONS[name] if name in OPERATIONS else EPHEMERAL[name]]
