"""The journal's numbers: durable commits, open and look-up, bytes and syncs; each beside what the disk can do.

``python -m benchmarks.journal [--folder DIR] [--layers N]``. Figures are medians of several rounds; the bare disk (pwrite and
fdatasync of as many bytes into a zero-filled file) is measured in turn with each, since a shared machine changes its mind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from layerlog.eventstore import disk
from layerlog.eventstore.envelope import envelope
from layerlog.eventstore.genesis import genesis_event
from layerlog.eventstore.ledger import Ledger
from layerlog.projections.fold import fold
from layerlog.projections.keys import key

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.eventstore.rows import Rows

ROUNDS = 5
COMMITS = 2000


def bare(folder: str, size: int, count: int) -> float:
    """Durable writes per second of the disk itself."""
    path = os.path.join(folder, "bare")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    disk.write_zeros(fd, 0, size * count + 4096)
    os.fsync(fd)
    data = b"x" * size
    start = time.perf_counter()
    for number in range(count):
        os.pwrite(fd, data, number * size)
        os.fdatasync(fd)
    seconds = time.perf_counter() - start
    os.close(fd)
    os.unlink(path)
    return count / seconds


def make(folder: str) -> Ledger:
    """An empty store's ledger."""
    return Ledger.create(folder, genesis_event(driver="vfs", options=[]), fold=fold, envelope=envelope(command="benchmark"))


def layer_id(number: int) -> str:
    """The same IDs in every run."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def create_layer(ledger: Ledger, number: int, facts: dict[str, Any]) -> None:
    """One durable create-layer: decided on two look-ups."""
    made, name = layer_id(number), f"layer-{number}"

    def decide(rows: Rows) -> list[Any]:
        taken = rows.get(key("layer", made)) or rows.get(key("name", "layer", name))
        return [] if taken else [{"type": "LayerCreated", "id": made, "names": [name], "parent": layer_id(number - 1)}]

    ledger.commit(decide, envelope=facts)


def fill(ledger: Ledger, first: int, last: int) -> None:
    """Layers without waiting for the disk: what is measured comes after."""
    facts = envelope(command="fill")
    sync, disk.seam.fdatasync = disk.seam.fdatasync, lambda fd: None
    try:
        for number in range(first, last):
            create_layer(ledger, number, facts)
    finally:
        disk.seam.fdatasync = sync


def threaded(ledger: Ledger, first: int, count: int, threads: int) -> float:
    """Creates per second over threads."""
    facts = envelope(command="create-layer")

    def work(worker: int) -> None:
        for number in range(count // threads):
            create_layer(ledger, first + worker * count + number, facts)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count // threads * threads / (time.perf_counter() - start)


def processes(folder: str, first: int, count: int, number: int) -> float:
    """Creates per second over processes."""
    program = (
        "import sys, time; from benchmarks.journal import *\n"
        "ledger = Ledger(sys.argv[1], fold=fold); ledger.sequence; print('ready', flush=True); sys.stdin.readline()\n"
        "start = time.time(); threaded(ledger, int(sys.argv[2]), int(sys.argv[3]), 1); print(start, time.time()); ledger.close()"
    )
    arguments = [[sys.executable, "-c", program, folder, str(first + one * count), str(count)] for one in range(number)]
    running = [subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in arguments]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    spans: list[list[float]] = []
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    spans += [[float(word) for word in process.communicate()[0].split()] for process in running]
    return number * count / (max(end for _, end in spans) - min(start for start, _ in spans))


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def report(name: str, figures: list[float], unit: str, beside: str = "") -> None:
    """One line: median, least and most."""
    spread = f"({min(figures):.1f} to {max(figures):.1f})"
    print(f"{name:44} {median(figures):10.1f} {unit:6} {spread:24} {beside}".rstrip(), flush=True)


def measure(folder: str, layers: list[int]) -> None:
    """Everything."""
    report("make an empty store", [timed(lambda n=n: make(f"{folder}/e{n}").close()) for n in range(ROUNDS)], "ms")
    ledger = make(f"{folder}/s")
    there = 0
    for size in layers:
        fill(ledger, there, size)
        there = max(there, size)
        for threads in (1, 8):
            found, limit = [], []
            for _ in range(ROUNDS):
                limit.append(bare(folder, 650, COMMITS))
                found.append(threaded(ledger, there + 10**7 * threads, COMMITS, threads))
                there += COMMITS
            report(f"create-layer, {size} layers, {threads} thread(s)", found, "/s", f"bare disk {median(limit):.0f} /s")
        found = [processes(f"{folder}/s", there + 10**8 * (one + 1), COMMITS // 2, 2) for one in range(ROUNDS)]
        report(f"create-layer, {size} layers, 2 processes", found, "/s")
    last = ledger.commit_at(ledger.sequence)
    report("bytes of journal of one create-layer", [float(last.size)], "bytes", "limit 1500")
    ledger.close()
    look_up(folder, there)


def look_up(folder: str, layers: int) -> None:
    """Open and look-ups in what is there."""
    opened, first, again, missing, past = [], [], [], [], []
    for one in range(ROUNDS):
        start = time.perf_counter()
        ledger = Ledger(f"{folder}/s", fold=fold)
        opened.append((time.perf_counter() - start) * 1e3)
        first.append(timed(lambda: ledger.rows.get(key("layer", layer_id(7)))))  # noqa: B023 - run at once
        again.append(timed(lambda: [ledger.rows.get(key("layer", layer_id(n))) for n in range(one, 1000 + one)]))  # noqa: B023
        missing.append(timed(lambda: [ledger.rows.get(key("layer", layer_id(-n))) for n in range(2, 1002)]))  # noqa: B023
        past.append(timed(lambda: ledger.at(ledger.sequence // 2).get(key("layer", layer_id(7)))))  # noqa: B023
        ledger.close()
    report(f"open, about {layers} layers", opened, "ms", "goal: open and one look-up in 5 ms")
    report("first look-up", first, "ms")
    report("look-up of what is there", again, "us")
    report("look-up of what is not", missing, "us")
    report("the state half of history ago", past, "ms")


def main() -> None:
    """Measure in a folder of its own below ``--folder``, by default /var/tmp."""
    arguments = sys.argv[1:]
    parent = arguments[arguments.index("--folder") + 1] if "--folder" in arguments else "/var/tmp"
    layers = int(arguments[arguments.index("--layers") + 1]) if "--layers" in arguments else 10000
    folder = tempfile.mkdtemp(prefix="layerlog-bench-", dir=parent)
    try:
        measure(folder, sorted({0, min(1000, layers), layers}))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
