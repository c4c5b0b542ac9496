"""How long deleted contents wait: DESIGN §5. Oldest first, and sooner when the disk has no room for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TRASH_SHARE = 0.10
"""Trash beyond this share of the file system is freed before its time."""
FREE_SHARE = 0.02
"""So is the oldest of it while less than this share of the file system is free."""


def expired(rows: Sequence[dict[str, Any]], now_ns: int, retention_seconds: float, capacity: int, free: int) -> list[dict[str, Any]]:
    """Those of the trash *rows*, oldest first, whose contents go now.

    *capacity* and *free*: bytes of the file system, and those that nobody uses.
    """
    going = [row for row in rows if now_ns - row["time_ns"] > retention_seconds * 1e9]
    waiting = rows[len(going) :]
    too_much = sum(map(size, waiting)) - int(capacity * TRASH_SHARE)
    too_little = int(capacity * FREE_SHARE) - free - sum(map(size, going))
    for row in waiting:
        if too_much <= 0 and too_little <= 0:
            break
        too_much -= size(row)
        too_little -= size(row)
        going.append(row)
    return going


def size(row: dict[str, Any]) -> int:
    """Bytes of what a trash row keeps, as far as they are recorded."""
    found: int = row["row"].get("contents", {}).get("diff_size", 0)
    return found
