"""The same with real system calls: strace kills at each, and shows that the seams of the other tests miss none."""

from __future__ import annotations

import collections
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import world
from tests.crash.conftest import LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = [pytest.mark.crash, pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")]
ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "rename": ("rename", "renameat", "renameat2"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "mkdir": ("mkdir", "mkdirat"),
    "pwrite": ("pwrite64",),
    "sync": ("fsync", "fdatasync", "syncfs"),
    "link": ("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat"),
    "attributes": ("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utimensat"),
}
OURS = {
    "rename": ("rename", "replace", "renameat2"),
    "unlink": ("unlink", "remove", "rmdir"),
    "mkdir": ("mkdir",),
    "pwrite": ("pwrite",),
    "sync": ("fsync", "fdatasync", "syncfs"),
    "link": ("link", "symlink", "mknod", "mkfifo"),
    "attributes": ("chmod", "fchmod", "chown", "fchown", "lchown", "utime"),
}
NAMES = ["import_layer", "apply_diff to a filled layer", "delete_layer at once", "set_big_data", "load"]


def traced(bench: Bench, name: str, *options: str) -> tuple[list[int], str]:
    """Run an operation under strace: what it acknowledged, and the trace."""
    bench.fresh()
    log = os.path.join(bench.folder, "trace")
    calls = ",".join(call for calls in KINDS.values() for call in calls)
    command = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", *options, sys.executable, "-B", "-m", "tests.crash.real"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([*command, bench.root, bench.driver, world.LAYOUT, name], capture_output=True, text=True, env=environment)
    with open(log, encoding="utf-8", errors="replace") as file:
        return [int(line) for line in ended.stdout.split()], file.read()


def counted(trace: str) -> collections.Counter[str]:
    """How often each system call was made."""
    return collections.Counter(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_the_seams_see_every_call_that_changes_files(bench: Bench, name: str) -> None:
    reference = bench.reference(name)
    ours = collections.Counter(call for call, _ in reference.calls)
    said, trace = traced(bench, name)
    assert said, trace[-500:]
    real = counted(trace)
    for kind in KINDS:
        assert sum(real[one] for one in KINDS[kind]) == sum(ours[one] for one in OURS[kind]), kind


@pytest.mark.parametrize("name", NAMES if LONG else NAMES[1:3])
def test_a_real_kill_at_a_real_call_loses_nothing(bench: Bench, name: str) -> None:
    reference = bench.reference(name)
    _, trace = traced(bench, name)
    faults = []
    for call, count in sorted(counted(trace).items()):
        for place in range(1, count + 1, 1 if LONG else max(count // 2, 1)):
            said, _ = traced(bench, name, "-e", f"inject={call}:signal=SIGKILL:when={place}")
            if found := bench.judged(reference, said):
                faults.append((f"{name}: {call} {place} of {count}", found))
    assert not faults, told(faults)
