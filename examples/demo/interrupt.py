"""Kill a load while it unpacks, and show what it leaves: nothing that the next command does not settle."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from examples.demo.stage import Failed

if TYPE_CHECKING:
    from examples.demo.stage import Stage

PATIENCE_SECONDS = 30
FILES_UNPACKED = 25


def staged_files(stage: Stage) -> int:
    """Files that lie in any driver's staging folder now."""
    count = 0
    for staging in stage.graph.glob("*/staging"):
        for _, _, files in os.walk(staging):
            count += len(files)
    return count


def kill_a_load(stage: Stage, line: str) -> None:
    """Start *line*, SIGKILL it once it has unpacked some files, and say what was there. Raises Failed when it was too quick."""
    before = stage.ask("layerlog images --quiet").splitlines()
    process = stage.start(line)
    began = time.monotonic()
    while process.poll() is None and (unpacked := staged_files(stage)) < FILES_UNPACKED:
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise Failed(f"nothing was unpacked in {PATIENCE_SECONDS} s")
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise Failed("the load was over before it could be killed")
    stage.note(f"killed after {time.monotonic() - began:.2f} s, with {unpacked} files unpacked and nothing committed")
    if stage.ask("layerlog images --quiet").splitlines() != before:
        raise Failed("an image appeared, though its load was killed")
    if left := staged_files(stage):
        raise Failed(f"{left} files of the killed load were left in staging")
    stage.note("the next command found the same images as before, and cleared what the dead load had unpacked")
