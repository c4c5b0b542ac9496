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
CONTENTS = ""
"""Of the parts of a thing: no item has an empty key."""


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
    sizes = _Sizes(store, after)
    found = []
    for commit in store.history(after):
        grown = Grown(commit)
        for event in commit.events:
            sizes.count(grown, event, commit.sequence)
        if grown.added or grown.freed:
            found.append(grown)
    return found


class _Sizes:
    """Recorded bytes by part (contents, or an item's key) of everything that is there, and in the trash, after the commits so far."""

    def __init__(self, store: HistoryMethods, after: int) -> None:
        self.here: dict[tuple[str, str], dict[str, int]] = {}
        self.thrown: dict[tuple[str, str], dict[str, int]] = {}
        """By kind and trash entry."""
        with store.at(after).reading() as rows:
            for kind in KINDS:
                self.here.update({(kind, row["id"]): _parts(row) for row in every(rows, kind)})
            for row in trash.every(rows):
                if row["kept"]:
                    self.thrown[row["kind"], trash.entry_name(row["sequence"], row["id"])] = _parts(row["row"])

    def count(self, grown: Grown, event: Any, sequence: int) -> None:
        """Take in one event of commit *sequence*."""
        type_, item_id = event["type"], event.get("id", "")
        kind = event.get("kind") or next((one for one in KINDS if type_.startswith(one.capitalize())), "")
        parts = self.here.get((kind, item_id), {})
        if type_.endswith("Created") and kind:
            self.here[kind, item_id] = _parts(event)
            grown.added += recorded_bytes(event)
        elif type_ in ("BigDataSet", "BigDataRemoved", "LayerDiffApplied"):
            part = CONTENTS if kind == "layer" and "contents" in event else event["key"]
            grown.freed += parts.pop(part, 0)
            parts[part] = recorded_bytes(event) if part is CONTENTS else event.get("size", 0)
            grown.added += parts[part]
        elif type_.endswith("Deleted"):
            self._throw(grown, (kind, item_id), sequence, event["kept"])
        elif type_.endswith("Restored"):
            self.here[kind, item_id] = self.thrown.pop((kind, trash.entry_name(event["deleted_at"], item_id)), {})
        elif type_ == "StoreWiped":
            for thing in list(self.here):
                self._throw(grown, thing, sequence, event.get("kept", True))
        elif type_ == "TrashFreed":
            freed = [self.thrown.pop((one, entry), {}) for one in KINDS for entry in event["entries"]]
            grown.freed += sum(sum(parts.values()) for parts in freed)

    def _throw(self, grown: Grown, thing: tuple[str, str], sequence: int, kept: bool) -> None:
        parts = self.here.pop(thing, {})
        if kept:
            self.thrown[thing[0], trash.entry_name(sequence, thing[1])] = parts
        else:
            grown.freed += sum(parts.values())


def _parts(row: Any) -> dict[str, int]:
    """Recorded bytes of a row, or of the event that made it."""
    items = {item: ref["size"] for item, ref in row.get("big_data", {}).items()}
    return {CONTENTS: (row.get("contents") or {}).get("diff_size", 0), **items}
