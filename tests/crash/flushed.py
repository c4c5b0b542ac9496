"""What a power cut could still take, read from a trace of the model of a disk (power.py): cheap, and without dice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.crash import power

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DERIVED = frozenset(("leases", "checkpoints", "position", "settled", "lock", "volatile", "run", "run-roots"))
"""Names that are made again, or mean nothing after a boot."""


def unflushed(start: power.Disk, trace: list[power.Change], root: Path) -> list[str]:
    """Names that stand below *root* when the trace ends, and that no flush has made durable; but for those of empty folders."""
    *_, last = power.cuts(start, trace)
    folders = {os.stat(folder).st_ino: folder for folder, _, _ in os.walk(root)}
    found = []
    for change in last.pending:
        if change[0] not in ("name", "rename", "exchange"):
            continue
        number, name = (change[1], change[2]) if change[0] == "name" else (change[3], change[4])
        path = os.path.join(folders.get(number, ""), os.fsdecode(name))
        empty = os.path.isdir(path) and not os.listdir(path)
        if number in folders and os.path.lexists(path) and not empty and not DERIVED & {*os.path.relpath(path, root).split(os.sep)}:
            found.append(f"{change[0]} {os.path.relpath(path, root)}")
    return found


def taken(start: power.Disk, trace: list[power.Change], precious: Iterable[int]) -> Iterator[str]:
    """Moments at which a power cut, with at most one of what was not flushed or all but one, takes a file of *precious* inode numbers."""
    wanted = frozenset(precious)
    for cut in power.cuts(start, trace):
        names = [change for change in cut.pending if change[0] in ("name", "gone", "rename", "exchange")]
        ways = [[], *([one] for one in names), *([other for other in names if other is not one] for one in names)]
        for way in ways:
            disk = cut.disk.copy()
            for change in way:
                disk.apply(change)
            if missing := wanted - set(_reached(disk, disk.top)):
                yield f"before step {cut.place} of {len(trace)}, with {way}: {missing}"


def inodes(*folders: Path) -> set[int]:
    """Of the files in, or at, these."""
    found = [path for folder in folders for path in (folder.rglob("*") if folder.is_dir() else [folder])]
    return {path.stat().st_ino for path in found if path.is_file()}


def _reached(disk: power.Disk, folder: int) -> Iterator[int]:
    for number in disk.names.get(folder, {}).values():
        yield number
        yield from _reached(disk, number)
