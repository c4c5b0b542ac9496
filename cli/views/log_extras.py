"""What ``log`` can show besides: the lives of images and containers as lines, and bytes."""

from __future__ import annotations

from layerlog.cli.views import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from layerlog.cli.views.log import Told

LANES_MAX = 12
ALIVE, TOUCHED, BEGINS, ENDS = "│", "●", "○", "×"


def lanes(shown: Sequence[Told], oldest_first: bool) -> dict[int, tuple[str, str]]:
    """For each commit the lanes of its first line and those of its further lines.

    A lane is one image or container: ○ it comes (or comes back), ● it changes, × it goes, │ it lives. Lanes of what
    ended are used again; what comes while all are taken has none.
    """
    columns: list[str] = []
    found: dict[int, list[str]] = {}
    after: dict[int, list[bool]] = {}
    before: dict[int, list[bool]] = {}
    for commit, _ in shown if oldest_first else shown[::-1]:
        before[commit.sequence] = [bool(one) for one in columns]
        marks = _marks(commit.events, columns)
        found[commit.sequence] = [marks.get(one, ALIVE) if one else " " for one in columns]
        columns[:] = ["" if marks.get(one) == ENDS else one for one in columns]
        after[commit.sequence] = [bool(one) for one in columns]
    width = max((len(one) for one in found.values()), default=0)
    lines = {}
    for sequence, line in found.items():
        going_on = after[sequence] if oldest_first else before[sequence]
        below = "".join(ALIVE if alive else " " for alive in going_on)
        lines[sequence] = ("".join(line).ljust(width), below.ljust(width))
    return lines


def _marks(events: Sequence[Any], columns: list[str]) -> dict[str, str]:
    """Marks of the lanes that the events touch; new ones get a column."""
    marks: dict[str, str] = {}
    for event in events:
        type_ = event["type"]
        kind = event.get("kind") or next((kind for kind in ("image", "container") if type_.lower().startswith(kind)), "")
        if type_ == "StoreWiped":
            return {one: ENDS for one in columns if one}
        if kind not in ("image", "container"):
            continue
        lane = f"{kind} {event['id']}"
        mark = BEGINS if type_.endswith(("Created", "Restored")) else ENDS if type_.endswith("Deleted") else TOUCHED
        if lane not in columns:
            if "" in columns:
                columns[columns.index("")] = lane
            elif len(columns) < LANES_MAX:
                columns.append(lane)
            else:
                continue
        marks[lane] = mark if marks.get(lane) != BEGINS or mark == ENDS else BEGINS
    return marks


def stats(shown: Sequence[Told]) -> dict[int, str]:
    """For each commit: events, bytes of contents that came, bytes in the journal."""
    from layerlog.asking import recorded_bytes

    found = {}
    for commit, _ in shown:
        came = sum(recorded_bytes(event) + (event["size"] if event["type"] == "BigDataSet" else 0) for event in commit.events)
        parts = [units.count(len(commit.events), "event")] + ([f"+{units.size(came)}"] if came else [])
        found[commit.sequence] = " · ".join([*parts, f"{units.size(commit.size)} of journal"])
    return found
