"""What grew since a point in time, commit by commit: bytes that came into the store, and bytes that were freed for good.

What is deleted and can still come back takes its room as before; it goes when the trash is emptied.
"""

from __future__ import annotations

from layerlog.asking import recorded_bytes
from layerlog.projections import trash
from layerlog.projections.items import every

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.history import Commit, HistoryMethods

KINDS = ("layer", "image", "container")


class Grown:
    """One commit with the recorded bytes that it added and freed."""

    __slots__ = ("added", "commit", "freed")

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.added = 0
        self.freed = 0

    @property
    def growth(self) -> int:
        """Bytes added less bytes freed."""
        return self.added - self.freed


def growth(store: HistoryMethods, since: str | int) -> list[Grown]:
    """Commits after that point that changed how much is recorded, in order. See when.py for *since*."""
    after = store.sequence_at(since)
    sizes = _sizes(store, after)
    found = []
    for commit in store.history(after):
        grown = Grown(commit)
        for event in commit.events:
            _count(grown, event, sizes)
        if grown.added or grown.freed:
            found.append(grown)
    return found


def _sizes(store: HistoryMethods, after: int) -> dict[str, int]:
    """Recorded bytes by ID of everything that is there then, or in the trash."""
    with store.at(after).reading() as rows:
        found = {row["id"]: recorded_bytes(row["row"]) for row in trash.every(rows)}
        found.update({row["id"]: recorded_bytes(row) for kind in KINDS for row in every(rows, kind)})
    return found


def _count(grown: Grown, event: Any, sizes: dict[str, int]) -> None:
    type_, item_id = event["type"], event.get("id", "")
    if type_.endswith("Created") and item_id:
        sizes[item_id] = recorded_bytes(event)
        grown.added += sizes[item_id]
    elif type_ == "BigDataSet":
        sizes[item_id] = sizes.get(item_id, 0) + event["size"]
        grown.added += event["size"]
    elif type_ == "LayerDiffApplied":
        grown.added += recorded_bytes(event)
        grown.freed += sizes.get(item_id, 0)
        sizes[item_id] = recorded_bytes(event)
    elif type_.endswith("Deleted") and not event["kept"]:
        grown.freed += sizes.pop(item_id, 0)
    elif type_ == "StoreWiped" and not event["kept"]:
        grown.freed += sum(sizes.values())
        sizes.clear()
    elif type_ == "TrashFreed":
        grown.freed += sum(sizes.pop(trash.split_entry(entry)[1], 0) for entry in event["entries"])
