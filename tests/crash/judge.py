"""One judge for every way to crash: is everything there that was acknowledged, whole, and nothing else?

``states`` lists what the store showed after each commit of the undisturbed run; after a crash it must show one
of those between the last acknowledged and the one in flight. Files are looked at directly, not by asking ``check``,
which is then asked as well and must agree.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from typing import TYPE_CHECKING, Any

from layerlog import Store
from layerlog.eventstore.errors import StoreError
from layerlog.projections import trash
from layerlog.projections.items import every
from layerlog.projections.keys import prefix
from tests.crash.world import tar

if TYPE_CHECKING:
    from layerlog.view import View

    State = dict[str, Any]
    Tree = dict[str, tuple[Any, ...]]

PROBE = tar(("probe", "p" * 100))
_PASSING = ("created_ns", "order", "changed")


class Expected:
    """What may be seen: ``states`` in order of commits, and the trees that each layer had in some state."""

    def __init__(self, states: list[State], trees: dict[str, list[Tree]]) -> None:
        self.states, self.trees = states, trees


def describe(view: View) -> State:
    """All records as they should read again after a crash; sandboxes, which end with their process, left out."""
    with view.reading() as rows:
        boxes = {row["id"] for row in every(rows, "container") if row.get("flags", {}).get("Sandbox")}
        theirs = {row["layer"] for row in every(rows, "container") if row["id"] in boxes}
        state: State = {
            kind: {row["id"]: _lasting(row) for row in every(rows, kind) if row["id"] not in boxes | theirs}
            for kind in ("layer", "image", "container")
        }
        state["trash"] = sorted((row["kind"], row["id"]) for row in trash.every(rows) if row["kept"])
    return state


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    lasting = {name: value for name, value in row.items() if name not in _PASSING}
    return {**lasting, "opened": "opened" in row}


def trees_of(store: Store) -> dict[str, Tree]:
    """What each layer in place holds on disk."""
    return {layer_id: tree(store.driver.path(layer_id)) for layer_id in store.driver.list() if store.exists(layer_id, "layer")}


def tree(top: str) -> Tree:
    """Path -> kind, mode and content of everything below *top*; overlay's own folders in it left out."""
    found: Tree = {}
    contents = os.path.join(top, "diff") if os.path.isdir(os.path.join(top, "diff")) else top
    for where, folders, files in os.walk(contents):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            mode = os.lstat(path).st_mode
            what: object = ""
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISLNK(mode):
                what = os.readlink(path)
            found[os.path.relpath(path, contents)] = (mode, what)
    return found


def judge(root: str, driver: str, expected: Expected, first: int, last: int, full: bool = False) -> list[str]:
    """What is wrong with the store in *root*, which must show one of ``expected.states[first:last + 1]``.

    *full*: the disk was, so deleted things need not be restorable, as long as nothing says that they are.
    """
    try:
        with Store(root, driver=driver) as store:
            faults = _records(store, expected.states[first : last + 1], full)
            faults += contents(store, expected)
            # A segment that was being written goes with the next change: the judge looks for it after that.
            faults += [one for one in leftovers(store) if not one.endswith("journal/next.new")]
            faults += checked(store)
    except (StoreError, OSError) as error:
        return [f"refused to open: {type(error).__name__}: {error}"]
    return faults + goes_on(root, driver)


def _records(store: Store, allowed: list[State], full: bool) -> list[str]:
    state = describe(store)
    if state in allowed or (full and any(_equal_but_for_trash(state, one) for one in allowed)):
        return []
    nearest = min(allowed, key=lambda one: len(_difference(state, one)))
    return [f"shows no state that it may: {'; '.join(_difference(state, nearest))}"]


def _equal_but_for_trash(found: State, wanted: State) -> bool:
    return {**found, "trash": wanted["trash"]} == wanted and set(found["trash"]) <= set(wanted["trash"])


def _difference(found: State, wanted: State) -> list[str]:
    said = []
    for kind in ("layer", "image", "container"):
        differing = [item for item in sorted({*found[kind], *wanted[kind]}) if found[kind].get(item) != wanted[kind].get(item)]
        said += [f"{kind} {item}: {found[kind].get(item)} instead of {wanted[kind].get(item)}" for item in differing]
    if found["trash"] != wanted["trash"]:
        said.append(f"trash: {found['trash']} instead of {wanted['trash']}")
    return said


def _nearest(found: Tree, known: list[Tree]) -> str:
    """What is different from the tree that is most like it."""
    differences = [{path for path in {*found, *one} if found.get(path) != one.get(path)} for one in known]
    paths = min(differences, key=len)
    wanted = known[differences.index(paths)]
    return "; ".join(f"{path}: {found.get(path)} instead of {wanted.get(path)}" for path in sorted(paths))


def contents(store: Store, expected: Expected) -> list[str]:
    """Layers re-hash to their digests and hold a tree that they once had; big data is verified."""
    faults = []
    for layer in store.layers():
        try:
            if layer.contents is not None and not layer.opened:
                digest = hashlib.sha256(b"".join(store.diff(layer.id, compression=0))).hexdigest()
                if f"sha256:{digest}" != layer.contents.diff_digest:
                    faults.append(f"layer {layer.id} has another digest")
            elif layer.opened and not store.driver.exists(layer.id):
                faults.append(f"layer {layer.id} was opened for writing and has no folder")
            real = layer.contents is not None or layer.opened  # else its folders are derived, and may be there or not
            found = tree(store.driver.path(layer.id)) if real and store.driver.exists(layer.id) else None
            if found is not None and found not in expected.trees.get(layer.id, [found]):
                known = expected.trees[layer.id]
                faults.append(f"layer {layer.id} holds another tree: {_nearest(found, known)}")
        except (StoreError, OSError) as error:
            faults.append(f"layer {layer.id}: {type(error).__name__}: {error}")
    for kind, items in (("layer", store.layers()), ("image", store.images()), ("container", store.containers())):
        for item in items:
            for key in item.big_data:
                try:
                    store.big_data(kind, item.id, key)
                except (StoreError, OSError) as error:
                    faults.append(f"{kind} {item.id}: {key}: {type(error).__name__}: {error}")
    thrown = [one for one in store.trash() if one.kind == "layer" and "contents" in one.row["row"]]
    return faults + [f"{one.entry} may be restored but is not in the trash" for one in thrown if not store.driver.in_trash(one.entry)]


def leftovers(store: Store) -> list[str]:
    """Files that nothing claims, found without the store's own checks."""
    home, own = store.driver.home, store.folder()
    with store.reading() as rows:
        claimed = {row["id"] for row in every(rows, "layer")}
        thrown = {trash.entry_name(row["sequence"], row["id"]) for row in trash.every(rows) if row["kept"]}
        blobs = [digest for digest in store.blobs.digests() if next(rows.keys(prefix("blob", digest)), None) is None]
    if blobs:  # what a past state within retention refers to may still be asked for
        said = json.dumps([commit.events for commit in store.ledger.history()])
        blobs = [digest for digest in blobs if digest not in said]
    found = [f"staging/{name}" for name in _names(home, "staging")]
    found += [f"trash/{name}" for name in _names(home, "trash") if name not in thrown]
    found += [f"layer folder {name}" for name in store.driver.list() if name not in claimed]
    found += [f"blob {digest}" for digest in blobs]
    found += [f"leases/{name}" for name in _names(own, "leases") if name != ".room"]
    found += [f"blobs/aside/{name}" for name in _names(own, "blobs", "aside")]
    found += [f"l/{name}" for name in _names(home, "l") if not os.path.exists(os.path.join(home, "l", name))]
    for where, _, files in os.walk(own):
        found += [os.path.relpath(os.path.join(where, name), own) for name in files if ".new" in name or name.startswith("settled.")]
    with store.mount_rows() as rows:
        mounted = {row["id"] for row in every_mount(rows)}
    found += [f"mounted: {name}" for name in store.driver.list() if name not in mounted and store.driver.mounted(name)]
    return [f"left behind: {one}" for one in found]


def every_mount(rows: Any) -> Any:
    """Rows of what the run journal says is mounted."""
    from layerlog.projections import mounts

    return mounts.every(rows)


def _names(*parts: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except FileNotFoundError:
        return []


def checked(store: Store) -> list[str]:
    """``check`` has nothing to say about a store that is well."""
    return [f"check: {finding}" for finding in store.check()]


def goes_on(root: str, driver: str) -> list[str]:
    """New operations work, and leave nothing either."""
    try:
        with Store(root, driver=driver, retention=0) as store:
            before = describe(store)
            store.create_layer(id="probe-empty")
            store.import_layer(io.BytesIO(PROBE), id="probe")
            store.create_image("probe", id="probe-image", names=["probe"], big_data={"k": b"probe"})
            store.delete_image("probe")
            store.delete_layer("probe-empty")
            faults = leftovers(store)
            if describe(store) != before:
                faults.append(f"the probe left a trace: {_difference(describe(store), before)}")
    except (StoreError, OSError) as error:
        return [f"does not go on: {type(error).__name__}: {error}"]
    return [f"after the probe: {one}" for one in faults]
