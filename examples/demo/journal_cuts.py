"""Cut a copy of a store's journal at random offsets: does each open, and is every change before the cut still there?

Nothing here is trusted: where a commit lies in the journal is read from the frames themselves (eventstore/FORMAT.md §3),
each copy is opened by the library as any program would open it, and its history is compared commit by commit.
"""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, NamedTuple

from layerlog import Store
from layerlog.eventstore import frame
from layerlog.eventstore.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


class Result(NamedTuple):
    """What the cuts showed."""

    cuts: int
    opened: int
    lost: int
    commits: int
    journal_bytes: int
    failures: list[str]


class Segment(NamedTuple):
    """One file of the journal: its bytes up to the end of its last frame."""

    name: str
    start: int
    data: bytes
    size: int


def frames_end(data: bytes) -> list[tuple[int, int]]:
    """(sequence, offset of its end) of every frame of one segment file."""
    found, at = [], data.find(frame.MAGIC)
    while at >= 0:
        one = frame.Frame(0, data[at : at + frame.HEADER_BYTES])
        found.append((one.sequence, one.end))
        at = data.find(frame.MAGIC, one.end)
    return found


def read_journal(folder: Path) -> tuple[list[Segment], dict[int, int]]:
    """The segments, and for each commit the offset at which it ends."""
    segments: list[Segment] = []
    ends: dict[int, int] = {}
    start = 0
    for path in sorted(folder.glob("*.segment")):
        data = path.read_bytes()
        placed = frames_end(data)
        used = placed[-1][1] if placed else 0
        ends.update((sequence, start + end) for sequence, end in placed)
        segments.append(Segment(path.name, start, data[:used], len(data)))
        start += used
    return segments, ends


def write_cut(segments: list[Segment], cut: int, journal: Path) -> None:
    """A journal as it would be had the disk lost everything from offset *cut* on."""
    journal.mkdir(parents=True)
    for segment in segments:
        if cut > segment.start or segment is segments[0]:
            kept = segment.data[: max(0, cut - segment.start)]
            whole = len(kept) == len(segment.data)
            with (journal / segment.name).open("wb") as file:
                file.write(kept)
                if whole:  # the zeros after its last frame are still there
                    file.truncate(segment.size)


def history(store: Store) -> list[tuple[int, str]]:
    """Every commit with all that it says."""
    return [(commit.sequence, f"{commit.time_ns} {commit.envelope!r} {commit.events!r}") for commit in store.history()]


def cut_everywhere(graph: Path, scratch: Path, cuts: int, seed: int) -> Result:
    """Cut the journal of the store at *graph* at *cuts* offsets drawn with *seed*, each in a fresh copy under *scratch*."""
    with Store(graph, read_only=True) as store:
        driver, content = store.driver_name, dict(history(store))
    segments, ends = read_journal(graph / f"{driver}-layerlog" / "journal")
    first, last = ends[min(ends)], max(ends.values())
    draw = random.Random(seed)
    opened, lost, failures = 0, 0, []
    for _ in range(cuts):
        # From the end of the first commit on: before it there is no store yet.
        cut = draw.randint(first, last)
        root = scratch / "graph"
        write_cut(segments, cut, root / f"{driver}-layerlog" / "journal")
        expected = {sequence: content[sequence] for sequence, end in ends.items() if end <= cut}
        try:
            with Store(root, driver=driver) as copy:
                seen = dict(history(copy))
                copy.create_layer()
        except (StoreError, OSError) as error:
            failures.append(f"cut at {cut}: {type(error).__name__}: {error}")
        else:
            opened += 1
            missing = [sequence for sequence, text in expected.items() if seen.get(sequence) != text]
            lost += len(missing)
            failures += [f"cut at {cut}: commit {sequence} is lost" for sequence in missing]
        shutil.rmtree(scratch)
    return Result(cuts, opened, lost, len(content), last, failures)
