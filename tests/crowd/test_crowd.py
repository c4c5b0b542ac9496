"""Many processes and threads on one store under a rain of SIGKILLs: nothing lost, nothing twice, one order for all.

The journal is one total order, so the recorded history is linearizable if every acknowledged operation is one
commit of it, operations that did not overlap stand in it in the order they ran, and every read is the state
after a commit that was durable while it read. ``make crowd`` runs it for an hour.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from layerlog import Store
from tests.crowd.worker import state_digest

SECONDS = float(os.environ.get("LAYERLOG_CROWD_SECONDS", "20"))
PROCESSES = int(os.environ.get("LAYERLOG_CROWD_PROCESSES", "4"))
THREADS = 4
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_crowd_under_a_rain_of_sigkills(tmp_path: Path) -> None:
    root, run_root, log = tmp_path / "root", tmp_path / "run", tmp_path / "log"
    Store(root, run_root, "vfs").close()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    born = rain(root, run_root, log, seed)
    with Store(root, run_root) as store:
        left = store.leases.files()
        acknowledged = judge(store, log.read_text().splitlines())
        print(f"{born} processes, {acknowledged} acknowledged changes, {store.sequence} commits")
        assert left == [], "recovery left dead leases"
        assert acknowledged > 20
        assert sorted(set(store.driver.list()) - {layer.id for layer in store.layers()}) == [], "folders that no record claims"
        assert store.driver.staged() == []
        for layer in store.layers():
            if layer.contents is not None and not layer.opened:
                assert b"".join(store.diff(layer.id, compression=0)), layer
        store.create_layer(names=["after"])


def rain(root: Path, run_root: Path, log: Path, seed: int) -> int:
    """Keep PROCESSES workers alive and kill one at a time; how many there were."""
    chance = random.Random(seed)
    until = time.monotonic() + SECONDS
    alive: list[subprocess.Popen[bytes]] = []
    born = 0
    while time.monotonic() < until:
        while len(alive) < PROCESSES:
            born += 1
            words = [sys.executable, "-m", "tests.crowd.worker", str(root), str(run_root), str(log), f"{seed}-{born}", str(THREADS)]
            alive.append(subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE))
        time.sleep(chance.uniform(0.05, 1.5))
        dying = alive.pop(chance.randrange(len(alive)))
        end(dying)
    for dying in alive:
        end(dying)
    return born


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL; a worker that had ended by itself had failed."""
    process.send_signal(signal.SIGKILL)
    _, talk = process.communicate()
    assert process.returncode == -signal.SIGKILL, talk.decode()
    assert b"Traceback" not in talk, talk.decode()


def judge(store: Store, lines: list[str]) -> int:
    """Check the recorded history against the journal; how many changes were acknowledged."""
    commits: dict[str, int] = {}
    for commit in store.ledger.history():
        if commit.key is not None:
            assert commit.key not in commits, f"{commit.key} happened twice"
            commits[commit.key] = commit.sequence
    started: dict[str, int] = {}
    acknowledged: list[tuple[int, int, int, str]] = []
    reads: list[tuple[int, str, int, int]] = []
    for line in lines:
        kind, *words = line.split()
        if kind == "start":
            started[words[0]] = int(words[1])
        elif kind == "no":
            assert words[0] not in commits, f"{words[0]} was refused with {words[2]}, and happened"
        elif kind == "ack" and words[0] in commits:
            acknowledged.append((started[words[0]], int(words[1]), commits[words[0]], words[0]))
        elif kind == "read":
            reads.append((int(words[0]), words[1], int(words[2]), int(words[3])))
    in_real_time_order(acknowledged)
    for sequence, digest, _, _ in reads[:: max(1, len(reads) // 40)]:
        assert state_digest(store.at(sequence)) == digest, f"a read saw another state than commit {sequence} left"
    reads_are_fresh(acknowledged, reads)
    return len(acknowledged)


def in_real_time_order(acknowledged: list[tuple[int, int, int, str]]) -> None:
    """What was acknowledged before something else began has the smaller sequence."""
    latest = (0, 0, 0, "")
    ended = sorted(acknowledged, key=lambda one: one[1])
    place = 0
    for begin, _, sequence, key in sorted(acknowledged):
        while place < len(ended) and ended[place][1] < begin:
            latest = max(latest, ended[place], key=lambda one: one[2])
            place += 1
        assert sequence > latest[2] or latest[3] == key, f"{key} began after {latest[3]} was acknowledged, but stands before it"


def reads_are_fresh(acknowledged: list[tuple[int, int, int, str]], reads: list[tuple[int, str, int, int]]) -> None:
    """A read never misses what was acknowledged before it began."""
    ended = sorted((end, sequence, key) for _, end, sequence, key in acknowledged)
    place, newest = 0, (0, 0, "")
    for sequence, _, begin, _ in sorted(reads, key=lambda one: one[2]):
        while place < len(ended) and ended[place][0] < begin:
            newest = max(newest, ended[place], key=lambda one: one[1])
            place += 1
        assert sequence >= newest[1], f"a read saw commit {sequence} after {newest[2]} (commit {newest[1]}) was acknowledged"
