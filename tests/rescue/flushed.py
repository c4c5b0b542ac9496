"""What a power cut could still take, read from a trace of the model of a disk (tests/crash/power.py): cheap, and without dice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.crash import power

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DERIVED = frozenset(("leases", "checkpoints", "position", "settled", "lock", "volatile", "run"))
"""Names that are made again, or mean nothing after a boot."""


def unflushed(start: power.Disk, trace: list[power.Change], root: Path) -> list[str]:
    """Names that stand below *root* when the trace ends, and that no flush has made durable."""
    *_, last = power.cuts(start, trace)
    folders = {os.stat(folder).st_ino: folder for folder, _, _ in os.walk(root)}
    found = []
    for change in last.pending:
        if change[0] not in ("name", "rename", "exchange"):
            continue
        number, name = (change[1], change[2]) if change[0] == "name" else (change[3], change[4])
        path = os.path.join(folders.get(number, ""), os.fsdecode(name))
        if number in folders and os.path.lexists(path) and not DERIVED & {*os.path.relpath(path, root).split(os.sep)}:
            found.append(f"{change[0]} {os.path.relpath(path, root)}")
    return found


def taken(start: power.Disk, trace: list[power.Change], precious: Iterable[int]) -> Iterator[str]:
    """Moments at which a power cut, with nothing of what was not flushed, takes a file of *precious* inode numbers."""
    wanted = frozenset(precious)
    for cut in power.cuts(start, trace):
        if missing := wanted - set(_reached(cut.disk, cut.disk.top)):
            yield f"before step {cut.place} of {len(trace)}: {len(missing)} files"


def _reached(disk: power.Disk, folder: int) -> Iterator[int]:
    for number in disk.names.get(folder, {}).values():
        yield number
        yield from _reached(disk, number)
