"""Sandboxes and shared builds: containers and layers whose life is bound to a lease.

A sandbox is a container that is gone when its block ends, and also when its process was killed: the next
open finds the dead lease and deletes it. ``layer_for`` lets one builder among all processes make a layer
for a key, while the others wait and then share it.
"""

from __future__ import annotations

import hashlib

from layerlog import change
from layerlog.decide import containers as decide
from layerlog.eventstore.errors import LayerUnknown
from layerlog.eventstore.ids import new_id
from layerlog.mounting import MountMethods
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import get
from layerlog.records import Container, Image, Layer, Record
from layerlog.recovery import SANDBOX_LEASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.core import Core
    from layerlog.drivers.changes import Change
    from layerlog.eventstore.locks import Lease
    from layerlog.store import Store

KEY_LEASE = ".key-"
_open: set[Lease] = set()
"""Of sandboxes without a block that were not closed: who keeps no more than its path still has it, as long as this process lives."""


class Sandbox:
    """A mounted container that ends with the block. ``root`` is its file system."""

    def __init__(self, store: Store, base: str) -> None:
        self._store = store = store.plainly()
        self._id = new_id()
        self._lease = store.leases.take(SANDBOX_LEASE + self._id, {"doing": "sandbox", **store.holder_note()})
        try:
            self.container: Container = store.create_container(layer=base, id=self._id, flags={"Sandbox": True})
            self.root: str = store.mount(self._id)
            _open.add(self._lease)
        except BaseException:
            self.close()
            raise

    def changes(self) -> Iterator[Change]:
        """What differs from the layer it was made on."""
        return self._store.changes(self.container.layer)

    def commit(self, name: str = "", message: str = "") -> Image:
        """Make an image of it; the sandbox goes on."""
        return self._store.commit_container(self._id, name=name, message=message)

    def snapshot(self, name: str = "") -> Layer:
        """Make an immutable layer of it; the sandbox goes on."""
        from layerlog.committing import snapshot

        return snapshot(self._store, self._id, [name] if name else [])

    def close(self) -> None:
        """Delete the container, then let the lease go."""
        _open.discard(self._lease)  # first: who is interrupted from here on leaves it to the next
        remove_sandbox(self._store, self._id)
        self._lease.release()

    def __enter__(self) -> Sandbox:
        _open.discard(self._lease)  # the block keeps it
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remove_sandbox(core: Core, container_id: str) -> None:
    """Delete a sandbox's container for good, if it is there; mounted or not."""
    if core.exists(container_id, "container"):
        home = core.container_core(container_id)
        layer_id = home.container(container_id).layer
        change.remove(home, lambda rows: decide.delete(rows, container_id, kept=False), f"sandbox {container_id} ends")
        if not home.durable:
            from layerlog.volatile_layers import unmark_volatile

            unmark_volatile(home, layer_id)


class SandboxMethods(MountMethods):
    """Create sandboxes, shared layers and snapshots."""

    def sandbox(self, base: str | Record = "") -> Sandbox:
        """A mounted container on a layer or image; gone when its block ends, even by SIGKILL."""
        self.must_write()
        return Sandbox(self, self._base_layer(base))  # type: ignore[arg-type]

    def snapshot(self, asked: str | Record, *, name: str = "") -> Layer:
        """An immutable layer of what a container or layer holds now. Durable on return."""
        from layerlog.committing import snapshot

        return snapshot(self, asked.id if isinstance(asked, Record) else asked, [name] if name else [])

    def layer_for(self, key: str, parent: str | Record = "", build: Callable[[str], object] | None = None) -> Layer:
        """The layer made for *key* on *parent*; if there is none, ``build(root)`` fills a sandbox and it becomes that layer.

        One builder among all processes; the others wait for it, then share. A build that raises leaves nothing,
        and the next one in line tries. Raises LayerUnknown when there is none and no *build* is given.
        """
        from layerlog.committing import snapshot

        self.must_write()
        base = self._base_layer(parent)
        wanted = f"{base}:{key}"
        lease_id = KEY_LEASE + hashlib.sha256(wanted.encode("utf-8", "surrogateescape")).hexdigest()
        found = self._made_for(wanted)
        if found is not None:
            return found
        with self.lease(lease_id, f"build layer for {key}", wait=True):
            found = self._made_for(wanted)
            if found is not None:
                return found
            if build is None:
                raise LayerUnknown(asked=key)
            with self.sandbox(base) as box:
                build(box.root)
                return snapshot(self.plainly(), box.container.id, [], wanted)

    def _made_for(self, wanted: str) -> Layer | None:
        with self.reading() as rows:
            layer_id = layer_rows.made_for(rows, wanted)
            row = get(rows, "layer", layer_id) if layer_id else None
        return Layer(row) if row is not None else None

    def _base_layer(self, base: str | Record) -> str:
        """ID of a layer, or of an image's top layer."""
        if isinstance(base, Image):
            return base.layer
        if isinstance(base, Record):
            return base.id
        if not base:
            return ""
        found = self.item(base)
        return found.layer if isinstance(found, Image) else found.id
