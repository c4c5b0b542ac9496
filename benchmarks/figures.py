"""What all areas print: one line a figure, with its spread, what stands beside it, the ratio and the goal."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING

from layerlog.eventstore import disk

if TYPE_CHECKING:
    from collections.abc import Callable


def report(name: str, figures: list[float], unit: str, *, beside: list[float] | None = None, what: str = "", goal: str = "") -> None:
    """One line: median, least and most; beside it the median of *what*, and the median ratio of the pairs."""
    places = 1 if median(figures) < 1000 else 0
    line = f"{name:44} {median(figures):10.{places}f} {unit:6} {f'({min(figures):.{places}f} to {max(figures):.{places}f})':22}"
    if beside:
        ratio = median(one / other for one, other in zip(figures, beside, strict=False))
        line += f" {what} {median(beside):.{places}f}, ratio {ratio:.2f}"
    if goal:
        line += f"   goal {goal}"
    print(line.rstrip(), flush=True)


def bare(folder: str, size: int, count: int) -> float:
    """Durable writes per second of the disk itself: as many bytes, into a file that is filled with zeros."""
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


def milliseconds(action: Callable[[], object]) -> float:
    """How long it took."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def processor_microseconds(action: Callable[[], object], times: int) -> float:
    """Processor time of this process for one of *times*: what a busy machine changes least."""
    start = time.process_time()
    action()
    return (time.process_time() - start) / times * 1e6
