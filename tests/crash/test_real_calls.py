"""The same with real system calls: strace kills at each, and shows that the seams of the other tests miss none."""

from __future__ import annotations

import collections
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import world
from tests.crash.conftest import ALL, LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = [pytest.mark.crash, pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")]
ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "open": ("open", "openat", "openat2", "creat"),
    "write": ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range"),
    "size": ("truncate", "ftruncate", "fallocate"),
    "rename": ("rename", "renameat", "renameat2"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "mkdir": ("mkdir", "mkdirat"),
    "sync": ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range"),
    "link": ("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat"),
    "attributes": ("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utimensat"),
    "xattrs": ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    "mounts": ("mount", "umount2", "move_mount"),
}
"""Every system call that writes, by what it does: a kill at any of them is survived."""
OURS = {
    "open": ("open", "openat2"),
    "write": ("write", "pwrite", "sendfile", "copy_file_range"),
    "size": ("truncate", "ftruncate", "posix_fallocate"),
    "rename": ("rename", "replace", "renameat2"),
    "unlink": ("unlink", "remove", "rmdir"),
    "mkdir": ("mkdir",),
    "sync": ("fsync", "fdatasync", "syncfs"),
    "link": ("link", "symlink", "mknod", "mkfifo"),
    "attributes": ("chmod", "fchmod", "chown", "fchown", "lchown", "utime"),
    "xattrs": ("setxattr", "removexattr"),
    "mounts": ("mount", "umount", "move_mount"),
}
NAMES = [
    "import a layer of every kind",
    "apply a diff of every kind",
    "import_layer",
    "apply_diff to a filled layer",
    "delete_layer at once",
    "set_big_data",
    "load",
]
QUICK = NAMES[:2] + NAMES[3:5]


def traced(bench: Bench, name: str, *options: str, killed: bool = False) -> tuple[list[int], str]:
    """Run an operation under strace: what it acknowledged, and the trace. *killed*: how it must end (strace ends as its program does)."""
    bench.fresh()
    log = os.path.join(bench.folder, "trace")
    calls = ",".join(f"?{call}" for calls in KINDS.values() for call in calls)  # "?": as far as this strace knows it
    command = ["strace", "-f", "-y", "-qq", "-o", log, "-e", f"trace={calls}", *options, sys.executable, "-B", "-m", "tests.crash.real"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([*command, bench.root, bench.driver, world.LAYOUT, name], capture_output=True, text=True, env=environment)
    assert ended.returncode == (-signal.SIGKILL if killed else 0), (options[-1:], ended.returncode, ended.stderr[-500:])
    with open(log, encoding="utf-8", errors="replace") as file:
        return [int(line) for line in ended.stdout.split()], file.read()


def writing(trace: str) -> dict[str, list[int]]:
    """Of each system call the ordinals (from 1, as strace counts) of those that write: opens that make nothing and talk do not."""
    seen: collections.Counter[str] = collections.Counter()
    found: dict[str, list[int]] = collections.defaultdict(list)
    for call, rest in re.findall(r"^\d+ +(\w+)\((.*)", trace, re.MULTILINE):
        seen[call] += 1
        talk = call == "write" and rest.startswith(("1<", "2<"))
        if not talk and (call not in KINDS["open"] or re.search(r"O_CREAT|O_TRUNC|O_TMPFILE", rest)):
            found[call].append(seen[call])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_seams_see_every_call_that_changes_files(bench: Bench, name: str) -> None:
    """All but writes into files without a name, of which nothing can be left."""
    reference = bench.reference(name)
    ours = collections.Counter(call for call, _ in reference.calls)
    said, trace = traced(bench, name)
    assert said, trace[-500:]
    real = writing("\n".join(line for line in trace.splitlines() if not re.search(r"(write|truncate)\(\d+<[^>]*>\(deleted\)", line)))
    for kind in KINDS:
        assert sum(len(real[one]) for one in KINDS[kind]) == sum(ours[one] for one in OURS[kind]), kind


def test_an_archive_of_every_kind_makes_every_kind_of_call(bench: Bench) -> None:
    """So that the sweep below misses none: what unpacking can call, it calls here."""
    _, trace = traced(bench, "apply a diff of every kind")
    real = writing(trace)
    missing = {kind for kind, calls in KINDS.items() if not any(real[one] for one in calls)}
    assert missing <= {"mounts"}
    assert {"ftruncate", "fsetxattr", "utimensat", "fchmod", "symlinkat", "linkat"} <= set(real)


@pytest.mark.parametrize("name", NAMES if LONG else QUICK)
def test_a_real_kill_at_a_real_call_loses_nothing(bench: Bench, name: str) -> None:
    """In the long form at every third system call that writes; here at one of each. Every kind of call that the seams saw is among them."""
    reference = bench.reference(name)
    _, trace = traced(bench, name)
    faults = []
    killed: set[str] = set()
    for call, places in sorted(writing(trace).items()):
        for place in places[:: 1 if ALL else 3] if LONG else [places[len(places) // 2]]:
            said, _ = traced(bench, name, "-e", f"inject={call}:signal=SIGKILL:when={place}", killed=True)
            killed.add(call)
            bench.kind = "killed by strace"
            if found := bench.judged(reference, said):
                faults.append((f"{name}: {call} {place}", found))
    assert not faults, told(faults)
    seen = {call for call, _ in reference.calls}
    assert {kind for kind, calls in KINDS.items() if killed & {*calls}} == {kind for kind, calls in OURS.items() if seen & {*calls}}
