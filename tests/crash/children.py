"""A function in a forked child, and what it said before it ended or was killed."""

from __future__ import annotations

import os
import pickle
import random
import time
import traceback
from typing import TYPE_CHECKING, Any

from tests.crash.seams import real_write

if TYPE_CHECKING:
    from collections.abc import Callable

KILLED = -9


class Ended:
    """How a child ended: its exit status (KILLED for SIGKILL), what it said in order, and its traceback if it raised."""

    def __init__(self, status: int, said: list[Any], trace: str) -> None:
        self.status, self.said, self.trace = status, said, trace


def run(function: Callable[[Callable[[Any], None]], object], seed: int = 1) -> Ended:
    """Run ``function(say)`` in a child whose random numbers come from *seed*."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_fd)
            os.urandom = random.Random(seed).randbytes
            time.time = lambda: 1_800_000_000.0  # images say when they were made; the journal asks time_ns
            function(lambda what: _say(write_fd, what))
            status = 0
        except BaseException:  # noqa: BLE001 - the parent is told, and this process ends
            _say(write_fd, Trace(traceback.format_exc()))
        finally:
            os._exit(status)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        said = _all(pipe)
    _, status = os.waitpid(pid, 0)
    trace = said.pop().text if said and isinstance(said[-1], Trace) else ""
    return Ended(os.waitstatus_to_exitcode(status), said, trace)


class Trace:
    """The traceback of a child."""

    def __init__(self, text: str) -> None:
        self.text = text


def _say(fd: int, what: Any) -> None:
    data = pickle.dumps(what)
    view = memoryview(len(data).to_bytes(4, "little") + data)
    while view:
        view = view[real_write(fd, view) :]


def _all(pipe: Any) -> list[Any]:
    said = []
    while len(head := pipe.read(4)) == 4:
        said.append(pickle.loads(pipe.read(int.from_bytes(head, "little"))))
    return said
