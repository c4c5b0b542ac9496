"""What Store offers about mounts: counted in the run journal, shared by all processes of this boot."""

from __future__ import annotations

from contextlib import contextmanager

from layerlog import change, run_state
from layerlog.contents import ensure_created
from layerlog.core import Core
from layerlog.decide.common import need_any
from layerlog.decide.lending import lowers
from layerlog.decide.mapping import image_is_mapped
from layerlog.eventstore.errors import InUse, LayerUnknown, ReadOnlyStore
from layerlog.eventstore.leases import SHARED, describe
from layerlog.projections import layers as layer_rows
from layerlog.projections import mounts
from layerlog.projections.items import Row, get
from layerlog.recovery import MIGRATE_LEASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerlog.drivers.driver import MountOptions
    from layerlog.eventstore.locks import Lease

CONTAINER_FIRST = ("container", "layer", "image")


class MountOfReadOnlyStore(ReadOnlyStore):
    """A layer of an additional image store: its mount would be counted, and made, over there."""

    message = "mounting read/only store images is not allowed: called a write method on a read-only store"
    hint = "make a container on it: layerlog create-container IMAGE"


class MountMethods(Core):
    """Mount and unmount layers and containers."""

    def mount(self, asked: str, *, read_only: bool = False, label: str = "", options: Sequence[str] = ()) -> str:
        """Mount a container (by ID, name or layer), a layer, or an image's top layer read-only; return the mount point.

        Mounting again adds one to the count. The first writable mount of a layer is recorded in the
        journal. Raises ItemUnknown, ContentsDamaged, DriverError, InUse while the store moves to another driver.
        """
        self.must_write()
        row, owner = self._mountable(asked, read_only)
        layer_id = row["id"]
        ensure_created(self, layer_id)
        with self._changing_mounts(layer_id, "mount") as (lease, note):
            if self.layer_row(layer_id) is None:
                raise LayerUnknown(asked=asked)
            moving = self.leases.holder(MIGRATE_LEASE)
            if moving is not None:  # what is written from now on may be copied already
                raise InUse(id=MIGRATE_LEASE, holder=describe(moving))
            with self.reading() as rows:
                chain = lowers(rows, layer_id)  # refused before anything is committed
            if not read_only and "opened" not in row:
                if self.durable and not (owner or {}).get("flags", {}).get("Volatile"):
                    self.driver.sync_layer(layer_id)  # from this commit on a missing folder is damage, no longer derived
                change.commit(self.plainly(), lambda rows: _opened(get(rows, "layer", layer_id)))
            with self.mount_rows() as rows:
                counted = mounts.get(rows, layer_id)
            events: list[Row] = []
            if counted is not None:
                from layerlog.mount_states import stale

                if stale(self, counted):  # somebody unmounted it behind our back: counted once, from now on
                    events.append({"type": "Unmounted", "id": layer_id, "count": 0})
            from layerlog.run_roots import remember

            self.run_ledger  # noqa: B018 - made, where it is not there
            remember(self)
            shown = owner if owner and not (row.get("uid_map") or row.get("gid_map")) and self.idmapped_mounts else None
            try:
                path = self.driver.mount(layer_id, chain, _options(row, owner, shown, read_only, label, options))
                mounted = {"type": "Mounted", "id": layer_id, "path": path, "read_only": read_only, "namespace": run_state.namespace()}
                run_state.commit(self, [*events, mounted])
            except BaseException as error:
                self.after_failure(lease, error, note)  # mounted and not counted: taken away
                raise
        return path

    def _mountable(self, asked: str, read_only: bool) -> tuple[Row, Row | None]:
        """The layer's row, and the container's that owns it."""
        with self.reading() as rows:
            kind, row = need_any(rows, asked, CONTAINER_FIRST if read_only else CONTAINER_FIRST[:2])
            layer_id = row["id"] if kind == "layer" else row.get("layer", "")
            if kind == "image" and image_is_mapped(rows, row):
                layer_id = self._unmapped_top(row)
            layer = get(rows, "layer", layer_id)
            if layer is None:
                kind, layer = need_any(rows, layer_id, ("layer",))
            if "borrowed" in layer:
                raise MountOfReadOnlyStore if kind == "image" else LayerUnknown(asked=asked)
            owner = layer_rows.container_of(rows, layer_id)
            return layer, get(rows, "container", owner) if owner else None

    def _unmapped_top(self, image: Row) -> str:
        """The image's top layer, or a copy of it, as the host's own IDs own it; made if there is none."""
        from layerlog.mapping import Asked, base_of_container

        return base_of_container(self, image["id"], Asked(host_uids=True, host_gids=True))

    def unmount(self, asked: str, force: bool = False) -> bool:
        """Take one from the count, or all with *force*; True when the file system really went away.

        What another run root counts stays mounted, unless *force* is used.
        """
        self.must_write()
        layer_id = self._layer_of(asked)
        with self._changing_mounts(layer_id, "unmount") as (lease, note):
            with self.mount_rows() as rows:
                row = mounts.get(rows, layer_id)
            count = 0 if force or row is None else row["count"] - 1
            if row is not None:
                run_state.commit(self, [{"type": "Unmounted", "id": layer_id, "count": count}])
            if count > 0 or (not force and self._counted_elsewhere(layer_id)):
                return False
            try:
                self.driver.unmount(layer_id)
            except BaseException as error:
                self.after_failure(lease, error, note)
                raise
            return True

    def _counted_elsewhere(self, layer_id: str) -> bool:
        from layerlog.run_roots import counted_elsewhere

        return any(row["id"] == layer_id for row in counted_elsewhere(self))

    @contextmanager
    def _changing_mounts(self, layer_id: str, doing: str) -> Iterator[tuple[Lease, Row]]:
        """Share the lease of a layer and hold the lock of mounts. The note says so, beside others who share it, too: it alone tells
        recovery that a mount which this run root does not count was on its way here, and is not another run root's (CRASH.md, M3).
        """
        note = {"doing": doing, SHARED: True, "run_root": self.run_root, **self.holder_note()}
        with self.lease(layer_id, doing, shared=True, wait=True) as lease, run_state.mount_lock(self):
            lease.note(note)
            yield lease, note

    def mount_count(self, asked: str) -> int:
        """How often it is mounted."""
        layer_id = self._layer_of(asked)
        with self.mount_rows() as rows:
            row = mounts.get(rows, layer_id)
        return row["count"] if row else 0

    def mounted(self, asked: str) -> bool:
        """Whether the count is positive. Raises LayerUnknown."""
        return self.mount_count(asked) > 0

    def _layer_of(self, asked: str) -> str:
        with self.reading() as rows:
            kind, row = need_any(rows, asked, CONTAINER_FIRST)
            if kind == "layer" and "borrowed" in row:
                raise LayerUnknown(asked=asked)
            return str(row["id"] if kind == "layer" else row.get("layer", ""))


def _opened(row: Row | None) -> list[Row]:
    """Pure: the event of a first writable mount, if it is the first."""
    return [{"type": "LayerOpenedForWriting", "id": row["id"]}] if row is not None and "opened" not in row else []


def _options(row: Row, owner: Row | None, shown: Row | None, read_only: bool, label: str, options: Sequence[str]) -> MountOptions:
    """*shown*: the container under whose maps the mount is to show a layer that is stored without any."""
    from layerlog.drivers.driver import IDMap, MountOptions

    flags = (owner or {}).get("flags", {})
    return MountOptions(
        read_only=read_only,
        label=label or row.get("mount_label", ""),
        options=options,
        uid_maps=[IDMap(one["container_id"], one["host_id"], one["size"]) for one in (shown or {}).get("uid_map", ())],
        gid_maps=[IDMap(one["container_id"], one["host_id"], one["size"]) for one in (shown or {}).get("gid_map", ())],
        volatile=bool(flags.get("Volatile")),
    )
