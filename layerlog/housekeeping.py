"""What Store offers for the store as a whole: gc, shutdown, and who owns the folders above a mount."""

from __future__ import annotations

import os

from layerlog.blob_keeping import collect
from layerlog.decide.common import need
from layerlog.eventstore import disk
from layerlog.eventstore.errors import Conflict, DiskError, InUse, JournalError
from layerlog.eventstore.safety import names_in
from layerlog.losing import LOSING, lose_unclaimed
from layerlog.projections import layers as layer_rows
from layerlog.projections import mounts
from layerlog.projections.items import Row, get
from layerlog.trashing import TrashMethods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.eventstore.events import MapEntry


class LayerStillMounted(Conflict):
    """Data: ``paths``."""

    message = "a layer is mounted: layer is in use by a container"
    hint = "mounted: {paths}; layerlog unmount takes one from a count, --force unmounts everything"


class Collected:
    """What ``gc`` did."""

    __slots__ = ("blob_bytes", "folders", "lost", "trash")

    def __init__(self, lost: list[str], folders: list[str], blob_bytes: int, trash: int) -> None:
        self.lost = lost
        """Where layers that no record claims were moved to."""
        self.folders = folders
        """Folders of containers and images without a record that were removed."""
        self.blob_bytes = blob_bytes
        self.trash = trash
        """How many trash entries were freed."""


class HousekeepingMethods(TrashMethods):
    """Keep a store tidy without losing anything that somebody may miss."""

    def gc(self) -> Collected:
        """Tidy up: expired trash and unreferenced blobs are freed, userdata folders without a record removed.

        Layers on disk that no record claims go to ``lost+found/``, never further: they may be somebody's data,
        or ours behind damage. Live mounts are left alone. Raises JournalError, changing nothing, while the
        journal has a gap.
        """
        self.must_write()
        if self.ledger.has_damage():
            raise JournalError("the journal has damaged records: what looks unclaimed may belong to one of them")
        lost = [place for layer_id in self.driver.list() if (place := self._lose_if_unclaimed(layer_id))]
        freed = self.free_expired()
        return Collected(lost, self._remove_orphaned_folders(), collect(self), len(freed))

    def _lose_if_unclaimed(self, layer_id: str) -> str | None:
        """Under the ID's lease, so that nobody is just making it; what a dead one was at is settled by taking its lease."""
        if self.has_layer(layer_id):
            return None
        try:
            with self.lease(layer_id, LOSING) as lease:
                lease.sync()
                return lose_unclaimed(self, layer_id) or None
        except InUse:
            return None
        except DiskError as full:
            if full.errno not in disk.NO_ROOM:
                raise
            return None  # it can wait until there is room to say so

    def _remove_orphaned_folders(self) -> list[str]:
        import shutil

        removed = []
        for kind in ("container", "image"):
            for parent in (self.root, self.run_root):
                folder = os.path.join(parent, f"{self.driver_name}-{kind}s")
                for item_id in names_in(folder):
                    with self.reading() as rows:
                        known = get(rows, kind, item_id) is not None
                    if not known:
                        shutil.rmtree(os.path.join(folder, item_id))
                        removed.append(os.path.join(folder, item_id))
        return removed

    def shutdown(self, force: bool = False) -> list[str]:
        """Unmount everything (with *force*) or raise LayerStillMounted; the mount points that went away."""
        self.must_write()
        from layerlog.run_roots import counted_here

        mounted = [row for half in self.halves for row in counted_here(half)]
        if mounted and not force:
            raise LayerStillMounted(paths=", ".join(row["path"] for row in mounted))
        for row in mounted:
            self.forget_mount(row["id"])
        return [row["path"] for row in mounted]

    def parent_owners(self, asked: str, kind: str = "layer") -> tuple[list[int], list[int]]:
        """Owners, as UIDs and GIDs, of the folders above a mounted, ID-mapped layer that its maps do not cover."""
        with self.reading() as rows:
            row = need(rows, kind, asked)
            layer = row if kind == "layer" else get(rows, "layer", row["layer"])
        if layer is None or not (layer.get("uid_map") or layer.get("gid_map")):
            return [], []
        with self.mount_rows() as rows:
            mount: Row | None = mounts.get(rows, layer["id"])
        if mount is None:
            raise Conflict("LayerParentOwner: layer is not mounted")
        uids: set[int] = set()
        gids: set[int] = set()
        folder = os.path.dirname(mount["path"])
        while folder != os.path.dirname(folder):
            found = os.stat(folder)
            uids.add(found.st_uid)
            gids.add(found.st_gid)
            folder = os.path.dirname(folder)
        return _outside(uids, layer.get("uid_map", ())), _outside(gids, layer.get("gid_map", ()))

    def chain_sizes(self, layer_id: str) -> list[tuple[str, int]]:
        """(ID, bytes of the recorded diff) of a layer and its ancestors, nearest first."""
        with self.reading() as rows:
            found = [get(rows, "layer", one) or {"id": one} for one in (layer_id, *layer_rows.chain(rows, layer_id))]
        return [(row["id"], row.get("contents", {}).get("diff_size", 0)) for row in found]


def _outside(found: set[int], maps: list[MapEntry] | tuple[()]) -> list[int]:
    """IDs that no map has on its host side, sorted."""
    return sorted(one for one in found if not any(entry["host_id"] <= one < entry["host_id"] + entry["size"] for entry in maps))
