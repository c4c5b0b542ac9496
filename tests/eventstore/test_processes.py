"""Several processes at once: nothing lost, nothing twice, everything in order; and what SIGKILL leaves behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import fold, make, put, rows_of

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys, threading
from tests.eventstore.ledgers import fold, put
from layerlog.eventstore.ledger import Ledger
folder, who, threads, commits = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ledger = Ledger(folder, fold=fold)
lock = threading.Lock()
def work(thread):
    for number in range(commits):
        sequence = put(ledger, f"{who}-{thread}", f"{who}-{thread}-{number}")
        with lock:
            sys.stdout.write(f"{sequence} {who}-{thread}-{number}\\n")
            sys.stdout.flush()
all = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
[thread.start() for thread in all]
[thread.join() for thread in all]
ledger.close()
"""

FOLLOWER = """
import sys
from layerlog.eventstore.follow import Follower
with Follower(sys.argv[1], 0) as follower:
    print("ready", flush=True)
    while follower.after < int(sys.argv[2]):
        for commit in follower.new(10):
            print(commit.sequence, flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def test_two_processes_of_eight_threads_lose_nothing_and_a_third_follows(tmp_path: Path) -> None:
    threads, commits = 8, 40
    total = 1 + 2 * threads * commits
    make(tmp_path / "s").close()
    follower = start(FOLLOWER, tmp_path / "s", total)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "ready\n"
    writers = [start(WRITER, tmp_path / "s", who, threads, commits) for who in ("a", "b")]
    acknowledged = [line.split() for writer in writers for line in writer.communicate(timeout=120)[0].splitlines()]
    followed = [int(line) for line in follower.stdout.read().splitlines()]
    follower.stdout.close()
    assert follower.wait(timeout=60) == 0
    assert followed == list(range(1, total + 1)), "each commit once and in order"
    assert sorted(int(sequence) for sequence, _ in acknowledged) == list(range(2, total + 1))
    with Ledger(str(tmp_path / "s"), fold=fold) as ledger:
        found = {commit.sequence: commit.events[0]["names"][0] for commit in ledger.history(1)}
        assert found == {int(sequence): name for sequence, name in acknowledged}
        assert list(ledger.verify()) == []
        assert rows_of(ledger) == dict(ledger.at(total).scan(b""))


def first_lines(writer: subprocess.Popen[str], count: int) -> list[str]:
    assert writer.stdout is not None
    return [writer.stdout.readline() for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_killed_writers_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    make(tmp_path / "s").close()
    draw = random.Random(seed)
    acknowledged: dict[int, str] = {}
    for attempt in range(3):
        writers = [start(WRITER, tmp_path / "s", f"{attempt}{who}", 2, 10000) for who in "ab"]
        begun = [line for writer in writers for line in first_lines(writer, 2)]  # however long they take to start
        time.sleep(draw.random() / 3)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            assert writer.stdout is not None
            out = "".join(begun) + writer.stdout.read()
            begun = []
            writer.wait(timeout=30)
            writer.stdout.close()
            for line in out.splitlines(keepends=True):
                if line.endswith("\n"):
                    sequence, name = line.split()
                    acknowledged[int(sequence)] = name
        with Ledger(str(tmp_path / "s"), fold=fold) as ledger:
            found = {commit.sequence: commit.events[0]["names"][0] for commit in ledger.history(1)}
            assert acknowledged.items() <= found.items()
            assert sorted(found) == list(range(2, len(found) + 2))
            assert list(ledger.verify()) == []
            put(ledger, "after", f"after-{attempt}")
            assert rows_of(ledger) == dict(ledger.at(ledger.sequence).scan(b""))
            acknowledged[ledger.sequence] = f"after-{attempt}"
    assert len(acknowledged) > 10
