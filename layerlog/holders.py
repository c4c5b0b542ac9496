"""Who works on a store right now: leases with what their holders noted, and the process that has the writer lock.

The kernel does not say whose an open file description lock is; but the descriptor that has it says so itself
(proc(5), ``/proc/PID/fdinfo/FD``, a line ``lock:``), to whoever may look at that process.
"""

from __future__ import annotations

import os

from layerlog.eventstore.journal import LOCK
from layerlog.eventstore.leases import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core


def working(core: Core) -> list[tuple[str, str]]:
    """Lines for ``status``: each lease with its holder, dead leases, and the writer."""
    found = [(f"Lease {lease_id}", describe(note)) for lease_id, note in core.leases.holders().items()]
    found += [(f"Lease {lease_id}", "its holder is dead; layerlog recover settles it") for lease_id in core.leases.dead()]
    writers = list(lock_holders(core.folder(LOCK)))
    return [*found, *(("Writer Lock", f"{program} (PID {pid})") for pid, program in writers)]


def lock_holders(path: str) -> Iterator[tuple[int, str]]:
    """PID and program of each process whose descriptor of that file holds a lock, as far as they may be looked at."""
    try:
        wanted = os.stat(path)
    except OSError:
        return
    for name in os.listdir("/proc"):
        if name.isdigit() and _holds(name, wanted):
            yield int(name), _program(name)


def _holds(pid: str, wanted: os.stat_result) -> bool:
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            found = os.stat(f"/proc/{pid}/fd/{descriptor}")
            if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino):
                continue
            with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as file:
                if any(line.startswith("lock:") for line in file):
                    return True
        except OSError:
            continue
    return False


def _program(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process"
