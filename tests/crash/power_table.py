"""The same power cuts for layerlog and for Debian's containers-storage, side by side: ``python -m tests.crash.power_table``.

Both run one sequence of commands (``programs.sequence``) on a file system on a recorded disk. At moments spread evenly over the recording
(before a flush, or after a command that ended well) the disks that a power cut may leave are rebuilt, mounted, and judged by commands
of the program itself (``cli_judge``). Needs root, /dev/fuse, loop devices. README's table is the output of ``--moments 40 --seed 1``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crash.cli_judge import FAULTS, Opened, judge
from tests.crash.device import disks, recording
from tests.crash.programs import Original, Ours, before, make_archives, sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.cli_judge import State
    from tests.crash.programs import Program

MEMORY = "/dev/shm"
BROKEN = ("lost", "half done", "corrupt", "refused")
"""What nobody can live with; leaks and false alarms are counted beside."""


class Row:
    """One line of the table, and what was wrong where."""

    def __init__(self, program: str, driver: str, neighbour: bool) -> None:
        self.program, self.driver, self.neighbour = program, driver, neighbour
        self.disks = self.unmountable = self.broken = 0
        self.counts = dict.fromkeys(FAULTS, 0)
        self.told: list[str] = []

    def add(self, where: str, faults: dict[str, list[str]]) -> None:
        """Count one disk."""
        self.disks += 1
        self.broken += any(faults[fault] for fault in BROKEN)
        for fault, found in faults.items():
            self.counts[fault] += bool(found)
            self.told += [f"{where}: {fault}: {one}" for one in found]


class Trial:
    """One program on one driver: prepared, recorded, cut."""

    def __init__(self, program: Program, driver: str, folder: str, kind: str = "ext4", keep: str = "") -> None:
        self.program, self.driver, self.kind = program, driver, kind
        self.keep = keep
        """Folder for disks of our own store that have a fault, and for the recording that they are of; empty: none is kept."""
        self.folder = folder
        self.archives = make_archives(folder)
        self.words = sequence(self.archives)
        self.base, self.run_root = os.path.join(folder, "base"), os.path.join(folder, "run")
        self.states: list[State] = []
        point = os.path.join(folder, "preparing")
        os.mkdir(point)
        with disks.prepared(kind, self.base, point):
            store = self.at(point)
            for words in before(self.archives):
                self.must(store, words)
        disks.copy(self.base, self.base + ".seen")
        with disks.mounted(self.base + ".seen", point):
            store = self.at(point)
            self.states = [store.state()]
            for words in self.words:
                self.must(store, words)
                self.states.append(store.state())
        os.unlink(self.base + ".seen")
        self.known = {item.partition(" ")[2] for state in self.states for item in state}

    def at(self, point: str) -> Opened:
        """The store on a disk mounted at *point*, as after a boot: with a fresh run root."""
        shutil.rmtree(self.run_root, ignore_errors=True)
        self.program.boots()
        return Opened(self.program, os.path.join(point, "root"), self.run_root, self.driver)

    def must(self, store: Opened, words: list[str]) -> None:
        """Run what has to end well."""
        status, output = store.run(*words)
        assert status == 0, f"{self.program.name} {words}: {status}: {output!r}"

    def record(self, log: str, neighbour: bool) -> None:
        """Run the sequence on a recorded disk; a mark says how many commands ended well."""
        with disks.recorded(self.base, log, self.folder) as disk:
            store = self.at(disk.point)
            with disks.neighbour(disk.point) if neighbour else nullcontext():
                for number, words in enumerate(self.words, 1):
                    self.must(store, words)
                    disk.mark(str(number).encode())
            disk.mark(b"end")

    def cut(self, moments: int, most: int, neighbour: bool = False, seed: int = 1) -> Row:
        """Cut the power at so many moments, and judge up to *most* disks of each."""
        log = os.path.join(self.folder, "log")
        self.record(log, neighbour)
        row, dice = Row(self.program.name, self.driver, neighbour), random.Random(seed)
        every = list(recording.cuts(recording.read(log)))
        kept = os.path.join(self.folder, "kept")
        os.replace(log, kept)
        end = next(number for number, cut in enumerate(every) if cut.mark == b"end")
        chosen = {end * number // moments for number in range(1, moments + 1)} if end > moments else set(range(end))
        platter = disks.Platter(self.base, self.folder)
        for number, cut in enumerate(every[:end]):
            platter.advance(cut)
            if number + 1 in chosen or end <= moments:
                for which, writes in recording.subsets(cut, most, dice):
                    told = len(row.told)
                    self.judge(row, platter, cut, which, writes)
                    if len(row.told) > told and self.keep and self.program.own_check:
                        self.keep_disk(row, platter, writes, f"seed {seed}, moment {number} of {end}, entry {cut.place}, {which}", told)
        platter.clear()
        os.unlink(kept)
        return row

    def keep_disk(self, row: Row, platter: disks.Platter, writes: recording.Writes, where: str, told: int) -> None:
        """Put the disk as the power cut left it, what was recorded, and what is wrong with it, where somebody can look at them."""
        os.makedirs(self.keep, exist_ok=True)
        place = os.path.join(self.keep, f"{row.driver}-{'neighbour' if row.neighbour else 'alone'}-{row.disks}")
        disks.copy(platter.image, f"{place}.disk")
        fd = os.open(f"{place}.disk", os.O_WRONLY)
        recording.lay(fd, writes)
        os.close(fd)
        shutil.copy(os.path.join(self.folder, "kept"), f"{place}.recording")
        shutil.copy(self.base, f"{place}.base")
        Path(f"{place}.txt").write_text("\n".join([where, *row.told[told:]]), encoding="utf-8")
        print(f"  {row.program}, {row.driver}: {where}: {row.told[told][:300]}; kept: {place}.disk", flush=True)

    def judge(self, row: Row, platter: disks.Platter, cut: recording.Cut, which: str, writes: recording.Writes) -> None:
        """One disk."""
        done = int(cut.mark or b"0")
        try:
            with platter.rebuilt(writes) as point:
                row.add(
                    f"after {done} commands, {which}",
                    judge(self.at(point), self.states[done : done + 2], self.known, self.archives["probe"]),
                )
        except disks.NotHere:
            row.unmountable += 1


HEADER = (
    "| program | driver | neighbour who syncs | disks | broken | " + " | ".join(FAULTS) + " |\n"
    "| --- | --- | --- |" + " ---: |" * (2 + len(FAULTS))
)
"""Of the table that README shows."""


def line(row: Row) -> str:
    """One row of it."""
    counts = ["–" if fault == "false alarm" and row.program != "layerlog" else str(row.counts[fault]) for fault in FAULTS]
    cells = [row.program, row.driver, "yes" if row.neighbour else "no", str(row.disks), str(row.broken), *counts]
    return "| " + " | ".join(cells) + " |"


def trials(asked: argparse.Namespace, programs: list[Any]) -> Iterator[Row]:
    """All rows, each as soon as it is known: a run takes half an hour."""
    for driver in asked.driver or ["overlay", "vfs"]:
        for program in programs:
            with tempfile.TemporaryDirectory(prefix="layerlog-power-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
                trial = Trial(program, driver, folder, asked.kind, asked.keep)
                for neighbour in (False, True):
                    yield trial.cut(asked.moments, asked.most, neighbour, asked.seed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=40, help="how many power cuts for each row")
    parser.add_argument("--most", type=int, default=4, help="how many of the disks that each may leave")
    parser.add_argument("--kind", choices=list(disks.KINDS), default="ext4", help="file system")
    parser.add_argument("--driver", action="append", help="overlay and vfs, unless given")
    parser.add_argument("--only", choices=["layerlog", "containers-storage"], help="one program")
    parser.add_argument("--seed", type=int, default=1, help="of the dice: which disks of those that may be left")
    parser.add_argument("--keep", default="", help="folder for disks of layerlog with a fault, and what they were recorded from")
    parser.add_argument("--tell", type=int, default=0, help="how many faults of each row to tell")
    asked = parser.parse_args()
    programs = [program for program in (Ours(), Original()) if asked.only in (None, program.name)]
    rows = []
    print(HEADER, flush=True)
    for row in trials(asked, programs):
        print(line(row), flush=True)
        for told in row.told[: asked.tell]:
            print(f"  {row.program}, {row.driver}: {told[:400]}", file=sys.stderr)
        rows.append(row)
    print(f"\n{asked.kind}, {asked.moments} moments, up to {asked.most} disks of each, seed {asked.seed}")
    print(f"file systems that did not survive themselves: {sum(row.unmountable for row in rows)}")


if __name__ == "__main__":
    main()
