"""The data path's numbers, each beside Debian's containers-storage and GNU tar, in one run on fresh file systems.

``python -m benchmarks data [--folder DIR] [--rounds N] [--driver overlay|vfs] [--only WORD]``, as root.
For every figure each contender works on an ext4 of its own, made for that measurement; they take turns, because a
shared machine changes its mind. Figures are medians; the ratio is to containers-storage. layerlog's contents
are durable when its command ends; containers-storage's are not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import archives
from benchmarks.contenders import ALL, Command, Library, Original, Used
from benchmarks.scratch import fresh_ext4

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE, CHANGE = "a" * 64, "b" * 64
GOALS = {
    "apply gzip": "wall 0.7, CPU 0.5, 64 MiB",
    "apply plain": "wall 0.75, CPU 0.5, 64 MiB",
    "apply zstd": "wall 0.75, CPU 0.5, 64 MiB",
    "apply small files": "wall 0.75, CPU 0.5, 64 MiB",
    "diff -u, with tar-split": "0.5",
    "changes of a large layer": "0.6",
    "changes of a layer on it": "0.6",
    "diffsize of a large layer": "0.6",
    "diffsize of a layer on it": "0.6",
    "delete of a large layer": "returns in 0.1",
}


class Bench:
    """Measurements in turn; ``figures[what][contender]`` are the runs."""

    def __init__(self, folder: str, driver: str, rounds: int, paths: dict[str, str]) -> None:
        self.folder, self.driver, self.rounds, self.paths = folder, driver, rounds, paths
        self.figures: dict[str, dict[str, list[Used]]] = {}

    def measure(self, action: Callable[[object], dict[str, Used]], contenders: tuple[type, ...]) -> None:
        """*action* with a contender on a fresh file system says what its steps took."""
        for number in range(self.rounds):
            order = [each for each in contenders if each.there()]
            for each in order[number % len(order) :] + order[: number % len(order)]:
                with fresh_ext4(self.folder) as place:
                    for what, used in action(each(place, self.driver)).items():
                        self.figures.setdefault(what, {}).setdefault(each.name, []).append(used)

    def report(self) -> None:
        """A table for each figure."""
        for what, found in self.figures.items():
            print(f"\n{what}   (goal: {GOALS.get(what, 'none')})")
            beside = found.get(Original.name)
            for name, runs in found.items():
                wall, cpu, peak = (median(column) for column in zip(*runs, strict=True))
                line = f"  {name:20} wall {wall * 1e3:8.0f} ms   CPU {cpu * 1e3:7.0f} ms   peak {peak:5.0f} MiB"
                if beside and name != Original.name:
                    theirs = Used(*(median(column) for column in zip(*beside, strict=True)))
                    line += f"   wall x {wall / theirs.wall:.2f}   CPU x {cpu / max(theirs.cpu, 1e-3):.2f}"
                print(line, flush=True)


def measure(bench: Bench, only: str) -> None:
    """Everything whose name has *only* in it."""
    for kind in ("gzip", "plain", "zstd", "small files"):
        if only in f"apply {kind}":
            words = ("import-layer", "-i", LARGE, "-f", bench.paths[kind])
            bench.measure(lambda who, kind=kind, words=words: {f"apply {kind}": who.do(*words)}, ALL)  # type: ignore[misc]
    if any(only in what for what in list(GOALS)[4:]):
        bench.measure(lambda who: read_and_delete(who, bench.paths), (Library, Command, Original))


def read_and_delete(who: Original, paths: dict[str, str]) -> dict[str, Used]:
    """What is asked of a large layer and one on it, last their deletion."""
    who.do("import-layer", "-i", LARGE, "-f", paths["plain"])
    who.do("import-layer", "-i", CHANGE, "-f", paths["change"], LARGE)
    found = {"diff -u, with tar-split": who.do("diff", "-u", LARGE)}
    for verb in ("changes", "diffsize"):
        found[f"{verb} of a large layer"] = who.do(verb, LARGE)
        found[f"{verb} of a layer on it"] = who.do(verb, CHANGE)
    who.do("delete-layer", CHANGE)
    found["delete of a large layer"] = who.do("delete-layer", LARGE)
    return found


def main() -> None:
    """Measure in a folder of its own below ``--folder``, by default /var/tmp."""
    words = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))
    if os.geteuid() != 0 or not shutil.which("mount") or not shutil.which("zstd"):
        print("the data path is measured on file systems made for it: needs root, mkfs.ext4 and zstd", file=sys.stderr)
        return
    if not Original.there():
        print("containers-storage is not installed: there is nothing to compare with", file=sys.stderr)
    folder = tempfile.mkdtemp(prefix="layerlog-bench-", dir=words.get("--folder", "/var/tmp"))
    try:
        paths = archives.make(folder, os.environ.get("LAYERLOG_TEST_IMAGES", "/var/tmp/layerlog-images"))
        for name, path in paths.items():
            print(f"{name:12} {os.path.getsize(path) / 1e6:8.1f} MB")
        bench = Bench(folder, words.get("--driver", "overlay"), int(words.get("--rounds", "3")), paths)
        try:
            measure(bench, words.get("--only", ""))
        except subprocess.CalledProcessError as error:
            sys.exit(f"{error}\n{(error.stderr or b'').decode(errors='replace')}")
        bench.report()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
