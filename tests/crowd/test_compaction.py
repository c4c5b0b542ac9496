"""Compaction while others write, read the past and follow: who works on the store notices nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from layerlog import Store
from tests.layerlog.litter import left_behind

ROOT = Path(__file__).resolve().parent.parent.parent
WRITERS = 3
SECONDS = float(os.environ.get("LAYERLOG_COMPACTION_SECONDS", "6"))

WRITER = """
import sys, time
from layerlog import Store
root, run, name, until = sys.argv[1], sys.argv[2], sys.argv[3], time.time() + float(sys.argv[4])
with Store(root, run, retention=0) as store:
    number = 0
    while time.time() < until:
        layer = store.create_layer(names=[f"{name}-{number}"])
        store.set_metadata(layer.id, "x" * 20_000)
        print(layer.id, flush=True)
        number += 1
        if number % 3 == 0:
            store.delete_layer(layer.id)
            print("gone", layer.id, flush=True)
"""

FOLLOWER = """
import sys
from layerlog import Store
with Store(sys.argv[1], sys.argv[2], retention=0) as store, store.follow(after=1) as following:
    print("ready", flush=True)
    for commit in following:
        print(commit.sequence, flush=True)
"""

COMPACTOR = """
import sys
from layerlog import Store
with Store(sys.argv[1], sys.argv[2], retention=0) as store:
    while True:
        store.compact("now", drop=True)
        print(store.begins(), flush=True)
"""


def started(program: str, *words: str) -> subprocess.Popen[str]:
    """A process of this checkout."""
    return subprocess.Popen([sys.executable, "-c", program, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> list[str]:
    """All that it wrote until it ended."""
    return process.communicate(timeout=300)[0].splitlines()


def killed_now_and_then(words: list[str], until: float) -> list[str]:
    """What compactors wrote of which each was killed after half a second."""
    said = []
    while time.monotonic() < until:
        compactor = started(COMPACTOR, *words)
        time.sleep(0.6)
        compactor.send_signal(signal.SIGKILL)
        said += told(compactor)
    return said


def test_writers_and_a_follower_notice_nothing_of_compactors_that_are_killed(tmp_path: Path) -> None:
    words = [str(tmp_path / "root"), str(tmp_path / "run")]
    Store(words[0], words[1], "vfs", retention=0, options=["sync=none"]).close()
    follower = started(FOLLOWER, *words)
    assert follower.stdout is not None
    follower.stdout.readline()
    writers = [started(WRITER, *words, f"w{number}", str(SECONDS)) for number in range(WRITERS)]
    begins = {int(line) for line in killed_now_and_then(words, time.monotonic() + SECONDS)}
    reports = [told(writer) for writer in writers]
    with Store(words[0], words[1], retention=0) as store:
        last = store.sequence
        deadline = time.monotonic() + 60
        seen: list[int] = []
        while (not seen or seen[-1] < last) and time.monotonic() < deadline:
            seen.append(int(follower.stdout.readline()))
        follower.kill()
        follower.wait()
        follower.stdout.close()
        gone = {line.split()[1] for report in reports for line in report if line.startswith("gone")}
        made = {line for report in reports for line in report if not line.startswith("gone")}
        assert [writer.returncode for writer in writers] == [0] * WRITERS
        assert {layer.id for layer in store.layers()} == made - gone
        assert seen == list(range(2, last + 1)), "a follower missed a commit, or saw one twice"
        assert len(begins) > 1, "nothing was compacted meanwhile"
        assert [str(one) for one in store.verify()] == []
        assert left_behind(store) == []
        assert list(store.check()) == []
