"""Power cuts on a real file system: an operation on a recorded disk, then the judge on every disk that may be left of it."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tests.crash import children, seams, world
from tests.crash.device import disks, recording
from tests.crash.laboratory import SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.laboratory import Bench, Reference


class Marker(seams.Watcher):
    """Marks each acknowledgement in the log. *forget*: flushes that a broken store would not make, "all" or of "folders"."""

    def __init__(self, disk: disks.Disk, forget: str = "") -> None:
        super().__init__()
        self.disk, self.forget = disk, forget

    def acknowledge(self, sequence: int) -> None:
        self.disk.mark(str(sequence).encode())

    def call(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in seams.SYNCS and (self.forget == "all" or (self.forget == "folders" and name != "syncfs" and os.path.isdir(args[0]))):
            return None
        return real(*args, **kwargs)


class Recorded:
    """A bench's store on a file system of *kind*, prepared once; *folder* (by default the bench's) needs room for three images."""

    def __init__(self, bench: Bench, kind: str, folder: str = "") -> None:
        self.bench, self.kind = bench, kind
        self.folder = os.path.join(folder or bench.folder, kind)
        self.base, self.log = os.path.join(self.folder, "base"), os.path.join(self.folder, "log")
        self.unmountable = 0
        """Disks that the file system itself did not survive: none is the store's fault, and only a torn write may do it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        point = os.path.join(self.folder, "preparing")
        os.makedirs(point)
        with disks.prepared(kind, self.base, point):
            ended = children.run(lambda say: world.make_store(os.path.join(point, "root"), bench.driver), seed=7)
            assert ended.status == 0, ended.trace

    def cuts(
        self, name: str, most: int, forget: str = "", neighbour: bool = False, every: int = 1, seed: int = SEED
    ) -> Iterator[tuple[str, list[str]]]:
        """Cut the power at each *every*-th moment of an operation; judge up to *most* disks of each."""
        reference = self.bench.reference(name)
        self.bench.kind = f"power cut, on {self.kind}{', beside a neighbour' if neighbour else ''}"
        self.record(name, forget, neighbour)
        dice, platter = random.Random(seed), disks.Platter(self.base, self.folder)
        for number, cut in enumerate(recording.cuts(recording.read(self.log))):
            platter.advance(cut)
            if cut.place and (number - SEED + 1) % every == 0:
                for which, writes in recording.subsets(cut, most, dice):
                    if faults := self.judged(platter, reference, cut, writes, which):
                        yield f"{name} on {self.kind}: power cut at entry {cut.place} of the log, {which} of the rest", faults
        platter.clear()

    def record(self, name: str, forget: str, neighbour: bool) -> None:
        """Run the operation on the recorded disk."""
        if os.path.exists(self.log):
            os.unlink(self.log)
        home = self.bench.root
        with disks.recorded(self.base, self.log, self.folder) as disk:
            self.bench.root = os.path.join(disk.point, "root")
            try:
                with disks.neighbour(disk.point) if neighbour else nullcontext():
                    ended = children.run(self.bench.session(name, Marker(disk, forget)))
            finally:
                self.bench.root = home
            assert ended.status == 0, ended.trace

    def judged(self, platter: disks.Platter, reference: Reference, cut: recording.Cut, writes: recording.Writes, which: str) -> list[str]:
        """The bench's verdict on one disk; what was on a tmpfs is gone."""
        said = [int(cut.mark)] if cut.mark is not None else []
        home = self.bench.root
        try:
            with platter.rebuilt(writes) as point:
                self.bench.root = os.path.join(point, "root")
                shutil.rmtree(os.path.join(self.bench.root, "run"), ignore_errors=True)
                return self.bench.judged(reference, said, booted=True)
        except disks.NotHere as lost:
            self.unmountable += 1
            return [] if which.startswith("sectors of 512") else [f"the file system is gone: {lost}"]
        finally:
            self.bench.root = home
