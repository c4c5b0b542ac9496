"""What Store offers about deleted things: list, restore, free."""

from __future__ import annotations

import os
import time

from layerlog import change
from layerlog.blob_keeping import collect
from layerlog.core import Core
from layerlog.decide import restoring as decide
from layerlog.decide.retaining import expired, size
from layerlog.projections import trash
from layerlog.records import RECORD, Record
from layerlog.recovery import sweeping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Thrown:
    """A deleted thing that may come back."""

    __slots__ = ("record", "row")

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row
        self.record = RECORD[row["kind"]](row["row"])

    @property
    def kind(self) -> str:
        return str(self.row["kind"])

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def names(self) -> list[str]:
        return self.record.names

    @property
    def sequence(self) -> int:
        """The commit that deleted it."""
        return int(self.row["sequence"])

    @property
    def time_ns(self) -> int:
        """When that was."""
        return int(self.row["time_ns"])

    @property
    def entry(self) -> str:
        """Its name in the trash folder."""
        return trash.entry_name(self.sequence, self.id)

    @property
    def size(self) -> int:
        """Bytes of its recorded contents; 0 where none are recorded."""
        return size(self.row)


class TrashMethods(Core):
    """Deleted contents wait in the trash until they are too old or too many."""

    def restore(self, asked: str, kind: str | None = None) -> Record:
        """Bring back a deleted thing with its ID, names and contents, and the layers it needs. Durable on return.

        Raises NotInTrash, DuplicateID, DuplicateName (its name was given away since), InUse.
        """
        self.must_write()
        committed = change.remove(self, lambda rows: decide.restore(rows, asked, kind), f"restore {asked}")
        last = committed.events[-1]
        found_kind = str(last["type"]).removesuffix("Restored").lower()
        return RECORD[found_kind](change.outcome(self, committed, found_kind, last["id"]))

    @property
    def unkept(self) -> list[str]:
        """IDs of layers that this Store deleted and could not keep, since the disk was full: they cannot be restored."""
        return list(self.lazy.unkept)

    def trash(self) -> list[Thrown]:
        """What may come back, oldest first."""
        with self.reading() as rows:
            return [Thrown(row) for row in trash.every(rows) if row["kept"]]

    def empty_trash(self, older_than_seconds: float = 0.0) -> list[Thrown]:
        """Free what was deleted longer ago than that, for good; what is pinned stays. Returns what was freed."""
        self.must_write()
        before_ns = time.time_ns() - int(older_than_seconds * 1e9)
        return self._free([row for row in self._freeable() if row["time_ns"] <= before_ns])

    def free_expired(self) -> list[Thrown]:
        """Free what is past retention, and the oldest where the trash takes too much of the disk, or the disk is nearly full."""
        rows = self._freeable()
        if not rows:
            return []
        disk = os.statvfs(self.root)
        capacity, free = disk.f_frsize * disk.f_blocks, disk.f_frsize * disk.f_bavail
        return self._free(expired(rows, time.time_ns(), self.retention_seconds, capacity, free))

    def _freeable(self) -> list[dict[str, Any]]:
        with self.reading() as rows:
            return [row for row in trash.every(rows) if not row["row"].get("pins")]

    def _free(self, rows: list[dict[str, Any]]) -> list[Thrown]:
        """Commit first, then remove: a crash in between leaves entries that no row claims, which recovery removes."""
        thrown = [Thrown(row) for row in rows]
        entries = list(dict.fromkeys(one.entry for one in thrown))
        if not entries:
            return []
        from layerlog.left_behind import leaving_behind

        for entry in entries:  # a delete that is not finished yet is finished first
            layer_id = trash.split_entry(entry)[1]
            with leaving_behind(self, layer_id), self.lease(layer_id, "empty trash", wait=True):
                continue
        self.driver.sync_places()  # or a power cut could bring back what was removed before, with no row left to name it
        with sweeping(self, "empty trash"):
            change.commit(self.plainly(), lambda rows: decide.freed(rows, entries), reserve=True)
            for entry in entries:
                with leaving_behind(self, trash.split_entry(entry)[1]):
                    self.driver.free(entry)
        if any(next(trash.blobs_of(row["row"]), None) for row in rows):
            collect(self)
        return thrown
