"""Random sequences of store operations against a model of dictionaries, with undo, reopening and a look at the past."""

from __future__ import annotations

import copy
import shutil
import tempfile
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from layerlog import Store
from layerlog.eventstore.errors import Conflict, NotFound, StoreError
from tests.layerlog.litter import left_behind

WORDS = st.sampled_from(["a", "b", "c", "d/e:1"])
Thing = dict[str, Any]


class StoreAgainstModel(RuleBasedStateMachine):
    """``model``: kind -> ID -> names, metadata, big data, layer. A rule that the model refuses must be refused by the store."""

    items = Bundle("items")

    @initialize()
    def make(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="layerlog-model-")
        self.store = Store(f"{self.folder}/root", f"{self.folder}/run", "vfs")
        self.model: dict[str, dict[str, Thing]] = {"layer": {}, "image": {}, "container": {}}
        self.pasts: list[tuple[int, dict[str, dict[str, Thing]]]] = []

    def done(self) -> None:
        self.pasts.append((self.store.sequence, copy.deepcopy(self.model)))

    def holder(self, kind: str, name: str) -> str | None:
        return next((one for one, thing in self.model[kind].items() if name in thing["names"]), None)

    def add(self, kind: str, item: Any, **more: Any) -> tuple[str, str]:
        self.model[kind][item.id] = {"names": item.names, "metadata": "", "data": {}, **more}
        return kind, item.id

    def there(self, kind: str, item_id: str) -> bool:
        return item_id in self.model[kind]

    # --- rules

    @rule(target=items, parent=items, names=st.lists(WORDS, max_size=1))
    def create_on(self, parent: tuple[str, str], names: list[str]) -> tuple[str, str]:
        """A layer on a layer, an image on a layer, a container on an image."""
        kind, item_id = parent
        made = {"layer": "image", "image": "container", "container": "layer"}[kind]
        refused = not self.there(kind, item_id) or any(self.holder(made, name) for name in names)
        try:
            if made == "image":
                item: Any = self.store.create_image(item_id, names=names)
            elif made == "container":
                item = self.store.create_container(item_id, names=names)
            else:
                refused = any(self.holder(made, name) for name in names)
                item = self.store.create_layer(names=names)
        except (NotFound, Conflict):
            assert refused
            return parent
        assert not refused
        if made == "container":
            self.add("layer", self.store.layer(item.layer))
        self.add(made, item, layer=getattr(item, "layer", ""), image=getattr(item, "image", ""))
        self.done()
        return made, item.id

    @rule(target=items, on=st.none() | items)
    def create_layer(self, on: tuple[str, str] | None) -> tuple[str, str]:
        parent = on[1] if on and on[0] == "layer" and self.there(*on) else ""
        if any(thing["layer"] == parent for thing in self.model["container"].values()):
            parent = ""
        made = self.add("layer", self.store.create_layer(parent), parent=parent)
        self.done()
        return made

    @rule(item=items, names=st.lists(WORDS, max_size=2, unique=True))
    def set_names(self, item: tuple[str, str], names: list[str]) -> None:
        kind, item_id = item
        try:
            self.store.set_names(item_id, names, kind)
        except NotFound:
            assert not self.there(kind, item_id)
            return
        for thing in self.model[kind].values():
            thing["names"] = [name for name in thing["names"] if name not in names]
        self.model[kind][item_id]["names"] = names
        self.done()

    @rule(item=items, text=WORDS)
    def describe(self, item: tuple[str, str], text: str) -> None:
        kind, item_id = item
        if self.there(kind, item_id):
            self.store.set_metadata(item_id, text, kind)
            self.store.set_big_data(kind, item_id, "key", text.encode())
            self.model[kind][item_id]["metadata"] = text
            self.model[kind][item_id]["data"] = {"key": text.encode()}
            self.done()

    @rule(item=items)
    def delete(self, item: tuple[str, str]) -> None:
        """What the store deleted must be what may go; what it refused must be needed."""
        kind, item_id = item
        try:
            getattr(self.store, f"delete_{kind}")(item_id)
        except NotFound:
            assert not self.there(kind, item_id)
        except Conflict:
            assert self.needed(kind, item_id)
        else:
            assert not self.needed(kind, item_id)
            gone = self.model[kind].pop(item_id)
            if kind == "container":
                del self.model["layer"][gone["layer"]]
            elif kind == "image":
                self.drop_chain(gone["layer"])
            self.done()

    def needed(self, kind: str, item_id: str) -> bool:
        layers, images, containers = (self.model[one].values() for one in ("layer", "image", "container"))
        if kind == "image":
            return any(one["image"] == item_id for one in containers)
        if kind == "layer":
            used = any(one["layer"] == item_id for one in (*images, *containers))
            return used or any(one.get("parent") == item_id for one in layers)
        return False

    def drop_chain(self, layer_id: str) -> None:
        """An image takes along the layers that only it needed."""
        while layer_id and not self.needed("layer", layer_id) and not self.has_child(layer_id):
            layer_id = self.model["layer"].pop(layer_id).get("parent", "")

    def has_child(self, layer_id: str) -> bool:
        return bool(self.store.children(layer_id))

    @rule()
    def undo_and_redo(self) -> None:
        """Undoing the last change gives the state before it; undoing that gives it back."""
        try:
            done = self.store.undo(last=1)
        except StoreError:
            return
        self.store.undo(done.sequence)
        self.done()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(f"{self.folder}/root", f"{self.folder}/run")
        assert self.store.recovered == []

    # --- what always holds

    def seen(self, view: Any) -> dict[str, dict[str, tuple[list[str], str, dict[str, bytes]]]]:
        return {
            kind: {
                one.id: (one.names, one.metadata, {key: view.big_data(kind, one.id, key) for key in one.big_data})
                for one in getattr(view, f"{kind}s")()
            }
            for kind in self.model
        }

    @staticmethod
    def expected(model: dict[str, dict[str, Thing]]) -> dict[str, dict[str, tuple[list[str], str, dict[str, bytes]]]]:
        return {
            kind: {item_id: (one["names"], one["metadata"], one["data"]) for item_id, one in things.items()}
            for kind, things in model.items()
        }

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        if hasattr(self, "store"):
            assert self.seen(self.store) == self.expected(self.model)

    @invariant()
    def the_past_stays_as_it_was(self) -> None:
        if hasattr(self, "store"):
            for sequence, model in self.pasts[-3:]:
                assert self.seen(self.store.at(sequence)) == self.expected(model)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            litter = left_behind(self.store)
            self.store.close()
            shutil.rmtree(self.folder)
            assert litter == []


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
