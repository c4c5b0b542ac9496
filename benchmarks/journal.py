"""Durable changes: how many a second, what each costs, whatever the size of the store; beside what the disk can do.

``python -m benchmarks journal [--folder DIR] [--layers N] [--rounds N]``. Changes are made by ``Store``, as a program makes
them. Figures are medians of several rounds; the bare disk (pwrite and fdatasync of as many bytes into a zero-filled
file) is measured in turn with each, since a shared machine changes its mind, and the ratio is that of the pairs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.figures import bare, milliseconds, processor_microseconds, report
from layerlog import Store
from layerlog.eventstore import disk

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 5
CHANGES = 1500
BYTES = 650
"""Of a typical change, for the bare disk."""
DESCRIBED = [f"{number:064x}" for number in range(100)]
"""IDs of layers whose free text is changed."""


def option(name: str, otherwise: str) -> str:
    """The word after ``--name``."""
    arguments = sys.argv[1:]
    return arguments[arguments.index(f"--{name}") + 1] if f"--{name}" in arguments else otherwise


def opened(folder: str) -> Store:
    """The store that is measured."""
    return Store(f"{folder}/root", f"{folder}/run", "vfs", command="benchmark")


@contextmanager
def undurable() -> Iterator[None]:
    """Without waiting for the disk: for filling, and for what only the processor is asked."""
    sync, disk.seam.fdatasync = disk.seam.fdatasync, lambda fd: None
    try:
        yield
    finally:
        disk.seam.fdatasync = sync


def create(store: Store, count: int, tag: str) -> None:
    """So many layers with a name each."""
    for number in range(count):
        store.create_layer(names=[f"{tag}-{number}"])


def describe(store: Store, count: int, tag: str) -> None:
    """So many changes of the free text of the layers that ``prepare`` made."""
    for number in range(count):
        store.set_metadata(DESCRIBED[number % len(DESCRIBED)], f"text {number} of {tag}")


def prepare(store: Store) -> None:
    """Layers for ``describe``, if they are not there yet."""
    with undurable():
        for layer_id in DESCRIBED:
            if not store.exists(layer_id):
                store.create_layer(id=layer_id)


KINDS = {"set-metadata": describe, "create-layer": create}


def per_second(count: int, seconds: float) -> float:
    return count / seconds


def in_threads(store: Store, kind: str, threads: int, tag: str) -> float:
    """Changes a second over threads."""
    each = CHANGES // threads
    workers = [threading.Thread(target=KINDS[kind], args=(store, each, f"{tag}-{number}")) for number in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return per_second(each * threads, time.perf_counter() - start)


def in_processes(folder: str, kind: str, processes: int, tag: str) -> float:
    """Changes a second over processes, each with a store of its own on the same root."""
    program = (
        "import sys, time; from benchmarks.journal import KINDS, opened\n"
        "_, folder, kind, count, tag = sys.argv; change = KINDS[kind]\n"
        "store = opened(folder); change(store, 1, tag); print('ready', flush=True); sys.stdin.readline()\n"
        "start = time.time(); change(store, int(count), tag + 'x'); print(start, time.time()); store.close()"
    )
    each = CHANGES // processes
    commands = [[sys.executable, "-c", program, folder, kind, str(each), f"{tag}-{number}"] for number in range(processes)]
    running = [subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for one in commands]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    spans = [[float(word) for word in process.communicate()[0].split()] for process in running]
    return per_second(each * processes, max(end for _, end in spans) - min(start for start, _ in spans))


def at_size(folder: str, store: Store, layers: int) -> None:
    """All figures of changes with so many layers in the store."""
    prepare(store)
    for kind, change in KINDS.items():
        made: dict[str, list[float]] = {"1 thread": [], "8 threads": [], "2 processes": []}
        limits: dict[str, list[float]] = {name: [] for name in made}
        for number in range(int(option("rounds", str(ROUNDS)))):
            tag = f"{kind}-{layers}-{number}"
            for name, figures in made.items():
                limits[name].append(bare(folder, BYTES, CHANGES))
                if name == "2 processes":
                    figures.append(in_processes(folder, kind, 2, f"{tag}-2"))
                else:
                    figures.append(in_threads(store, kind, int(name[0]), f"{tag}-{name[0]}"))
        for name, figures in made.items():
            report(f"{kind}, {layers} layers, {name}", figures, "/s", beside=limits[name], what="bare disk", goal=goal(kind, name, layers))
        with undurable():
            figures = [processor_microseconds(partial(change, store, 512, f"p-{kind}-{layers}-{one}"), 512) for one in range(7)]
        report(f"processor time of one {kind}, {layers} layers", figures, "us", goal="as little at 10,000 as at 0")


def goal(kind: str, name: str, layers: int) -> str:
    """What is to be reached. A create-layer is measured by the original's library on such a machine: 120 to 170 a second
    in an empty store, 19 to 25 with 10,000 layers."""
    if kind == "set-metadata":
        return {"1 thread": ">= 5000", "8 threads": ">= 10000", "2 processes": ">= 5000"}[name]
    if name != "1 thread" or layers not in (0, 10000):
        return ""
    return ">= 2200, 15 x the original's" if layers == 0 else ">= 2200, 100 x the original's, and as at 0"


class Counted(disk.Seam):
    """Counts flushes and the bytes written."""

    def __init__(self) -> None:
        self.flushes = self.bytes = 0

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self.bytes += len(data)
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        self.flushes += 1
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self.flushes += 1
        os.fsync(fd)


def counted(store: Store, layers: int) -> None:
    """Bytes and flushes of one change of each kind."""
    layer = store.create_layer(names=[f"counted-{layers}"]).id
    image = store.create_image(layer, names=[f"counted-{layers}"]).id
    changes = {
        "create-layer": lambda: store.create_layer(layer, names=[f"counted-{layers}-2"]),
        "set-names": lambda: store.set_names(image, ["docker.io/library/one:1", "docker.io/library/one:latest"]),
        "set-metadata": lambda: store.set_metadata(layer, "some text"),
        "delete-image": lambda: store.delete_image(image),
    }
    for name, change in changes.items():
        before, disk.seam = disk.seam, (seam := Counted())
        try:
            change()
        finally:
            disk.seam = before
        size = store.ledger.commit_at(store.sequence).size
        print(f"{f'one {name}, {layers} layers':44} {seam.flushes} flush(es), {size} bytes of journal   goal: 1, < 1500", flush=True)


def empty(folder: str) -> None:
    """What a store without anything in it takes."""
    parent = os.path.join(folder, "empty")
    times = [milliseconds(partial(_make, f"{parent}/{one}")) for one in range(2 * ROUNDS)]
    report("make an empty store", times, "ms", goal="<= 20 ms")
    used = sum(os.stat(os.path.join(where, name)).st_blocks * 512 for where, _, names in os.walk(f"{parent}/0") for name in names)
    print(f"{'size of an empty store':44} {used / 1024:10.0f} KiB    goal <= 300 KiB")


def _make(folder: str) -> None:
    os.makedirs(folder)
    opened(folder).close()


def measure(folder: str, sizes: list[int]) -> None:
    """Everything, in one store that grows."""
    empty(folder)
    with opened(folder) as store:
        for size in sizes:
            with undurable():
                create(store, size - len(store.layers()), f"fill-{size}")
            at_size(folder, store, size)
            counted(store, size)
    print(f"{'the disk itself, now':44} {median(bare(folder, BYTES, CHANGES) for _ in range(3)):10.0f} /s")


def main() -> None:
    """Measure in a folder of its own below ``--folder``, by default /var/tmp."""
    layers = int(option("layers", "10000"))
    folder = tempfile.mkdtemp(prefix="layerlog-bench-", dir=option("folder", "/var/tmp"))
    try:
        measure(folder, sorted({0, min(1000, layers), layers}))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
