"""Opening and looking: how long until a program, or a command, has its answer; beside containers-storage where that is there.

``python -m benchmarks lookups [--folder DIR] [--many N]``. The library opens a store of 100,000 layers; commands are whole
processes on stores of 10 and of 10,000, theirs and ours in turn. Processor time is that of the whole process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks.figures import milliseconds, report
from benchmarks.journal import create, opened, option, undurable

if TYPE_CHECKING:
    from layerlog import Store

ROUNDS = 7
RUNS = 15
ORIGINAL = "containers-storage"


def library(folder: str, many: int) -> None:
    """Open, first look-up, look-ups, everything, and the past."""
    with opened(folder) as store, undurable():
        create(store, many, "fill")
    ids = _ids(folder)
    found: dict[str, list[float]] = {}
    for one in range(ROUNDS):
        layer = ids[one * 997 % many]

        def first(layer: str = layer) -> Store:
            store = opened(folder)
            assert store.exists(layer)
            return store

        start = time.perf_counter()
        store = first()
        found.setdefault("open and one look-up", []).append((time.perf_counter() - start) * 1e3)
        some = ids[one :: many // 1000][:1000]
        found.setdefault("1,000 look-ups by ID", []).append(milliseconds(lambda: [store.exists(each) for each in some]))  # noqa: B023
        found.setdefault("1,000 by name", []).append(milliseconds(lambda: [store.layer(f"fill-{n}") for n in range(one, one + 1000)]))  # noqa: B023
        found.setdefault("1,000 of what is not there", []).append(milliseconds(lambda: [store.exists(f"x{n}") for n in range(1000)]))  # noqa: B023
        found.setdefault("everything decoded", []).append(milliseconds(store.layers))
        found.setdefault("the state half of history ago", []).append(milliseconds(lambda: store.at(store.sequence // 2).layer(ids[7])))  # noqa: B023
        store.close()
    goals = {"open and one look-up": "<= 5 ms", "everything decoded": "<= 300 ms"}
    for name, figures in found.items():
        report(f"{name}, {many} layers", figures, "ms", goal=goals.get(name, ""))


def _ids(folder: str) -> list[str]:
    with opened(folder) as store:
        return [layer.id for layer in store.layers()]


def used(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor milliseconds of a whole process."""
    start = time.perf_counter()
    pid = os.posix_spawnp(arguments[0], arguments, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    assert os.waitstatus_to_exitcode(status) == 0, arguments
    return wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def original_store(folder: str, layers: int) -> str:
    """A store of containers-storage's with so many layers; its records are copies of one that it made itself."""
    root, one = f"{folder}/theirs-{layers}", hashlib.sha256(b"0").hexdigest()
    used([ORIGINAL, *_places(root), "create-layer", "--id", one])
    path = f"{root}/root/vfs-layers/layers.json"
    with open(path, encoding="utf-8") as file:
        records = json.load(file)
    for number in range(1, layers):
        records.append({**records[0], "id": hashlib.sha256(b"%d" % number).hexdigest(), "names": [f"fill-{number}"]})
    with open(path, "w", encoding="utf-8") as file:
        json.dump(records, file)
    return root


def _places(root: str) -> list[str]:
    return ["--graph", f"{root}/root", "--run", f"{root}/run", "--storage-driver", "vfs"]


def commands(folder: str, layers: int) -> None:
    """``exists`` and ``create-layer`` as whole processes, ours and theirs in turn."""
    ours = f"{folder}/ours-{layers}"
    with opened(ours) as store, undurable():
        create(store, layers, "fill")
        known = store.layers()[layers // 2].id
    installed = os.path.join(os.path.dirname(sys.executable), "layerlog")
    ours_is = [installed] if os.path.exists(installed) else [sys.executable, "-m", "layerlog"]
    programs = {"layerlog": ([*ours_is, *_places(ours)], known)}
    if shutil.which(ORIGINAL):
        theirs = original_store(folder, layers)
        programs[ORIGINAL] = ([ORIGINAL, *_places(theirs)], hashlib.sha256(b"%d" % (layers // 2)).hexdigest())
    found: dict[tuple[str, str, str], list[float]] = {}
    for number in range(RUNS):
        for program, (start, layer) in programs.items():
            for command in (["exists", layer], ["create-layer", "--name", f"made-{number}"]):
                wall, processor = used([*start, *command])
                found.setdefault((command[0], "wall", program), []).append(wall)
                found.setdefault((command[0], "processor", program), []).append(processor)
    for name, what, program in [key for key in found if key[2] == "layerlog"]:
        beside = found.get((name, what, ORIGINAL))
        goal = "<= 50 ms, the same at any size" if what == "processor" else ""
        report(f"{name}, {layers} layers, {what} time", found[name, what, program], "ms", beside=beside, what=ORIGINAL, goal=goal)


def main() -> None:
    """Measure in a folder of its own below ``--folder``, by default /var/tmp."""
    folder = tempfile.mkdtemp(prefix="layerlog-bench-", dir=option("folder", "/var/tmp"))
    try:
        for layers in (10, 10000):
            commands(folder, layers)
        library(f"{folder}/many", int(option("many", "100000")))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
