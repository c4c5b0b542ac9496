"""Many processes and threads on one store under a rain of SIGKILLs: nothing lost, nothing twice, one order for all.

The journal is one total order, so the recorded history is linearizable if every acknowledged operation is one
commit of it, operations that did not overlap stand in it in the order they ran, every commit does what a sequential model
of its operation does (model.py), every refusal is just in some state between its beginning and its end, and every read
is the state after a commit that was durable while it read. ``make crowd`` runs it for an hour.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from layerlog import Store
from tests.crowd.model import Model
from tests.crowd.worker import digest_of, state_of
from tests.layerlog.litter import left_behind
from tests.seeds import seed_of

SECONDS = float(os.environ.get("LAYERLOG_CROWD_SECONDS", "60"))
PROCESSES = int(os.environ.get("LAYERLOG_CROWD_PROCESSES", "16"))
THREADS = 4
HUNG_SECONDS = 300
"""Whoever does not end within this time after it was told to, waits for something that never comes."""
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_crowd_under_a_rain_of_sigkills(tmp_path: Path) -> None:
    root, run_root, log = tmp_path / "root", tmp_path / "run", tmp_path / "log"
    Store(root, run_root, "vfs").close()
    seed = seed_of("LAYERLOG_CROWD_SEED")
    print(f"seed {seed}")
    born, ended = rain(root, run_root, log, seed)
    with Store(root, run_root) as store:
        left = store.leases.files()
        history = History(log.read_text().splitlines())
        history.judge(store)
        print(f"{born} processes, {born - ended} killed, {history.counts()}, {store.sequence} commits")
        assert left == [], "recovery left dead leases"
        assert left_behind(store) == []
        assert [str(finding) for finding in store.check()] == []
        store.create_layer(names=["after"])
    assert len(history.acknowledged) > 20
    assert history.ended == ended * THREADS, "a thread that was told to end did not"


def rain(root: Path, run_root: Path, log: Path, seed: int) -> tuple[int, int]:
    """Keep PROCESSES workers alive and kill one at a time; at last tell those that live to end. How many there were, and ended so."""
    chance = random.Random(seed)
    until = time.monotonic() + SECONDS
    alive: list[tuple[str, subprocess.Popen[bytes]]] = []
    born = 0
    try:
        while time.monotonic() < until:
            while len(alive) < PROCESSES:
                born += 1
                name = f"{seed}-{born}"
                words = [sys.executable, "-m", "tests.crowd.worker", str(root), str(run_root), str(log), name, str(THREADS)]
                alive.append((name, subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE)))
            time.sleep(chance.uniform(0.05, 1.0))
            end(alive.pop(chance.randrange(len(alive)))[1], signal.SIGKILL)
        return born, told_to_end(alive, log)
    finally:
        for _, process in alive:
            process.kill()


def told_to_end(alive: list[tuple[str, subprocess.Popen[bytes]]], log: Path) -> int:
    """How many were; those that had not begun to work are killed, since they may not have come to their signal handler yet."""
    started = {one.split()[1].rpartition("-")[0].rpartition("-")[0] for one in log.read_text().splitlines() if one.startswith("start")}
    willing = [process for name, process in alive if name in started]
    for name, process in alive:
        if name not in started:
            end(process, signal.SIGKILL)
    for one in willing:
        one.send_signal(signal.SIGTERM)
    for one in willing:
        end(one, 0)
    return len(willing)


def end(process: subprocess.Popen[bytes], how: int) -> None:
    """Kill it, or wait for its end; a worker that ended by itself had failed."""
    if how:
        process.send_signal(how)
    _, talk = process.communicate(timeout=HUNG_SECONDS)
    assert process.returncode == -how, talk.decode()
    assert b"Traceback" not in talk, talk.decode()


class History:
    """What the workers logged, held against the journal."""

    def __init__(self, lines: list[str]) -> None:
        self.started: dict[str, tuple[int, list[Any]]] = {}
        self.acks: dict[str, int] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.reads: list[tuple[int, str, int, int]] = []
        self.ended = 0
        self.acknowledged: list[tuple[int, int, int, str]] = []
        self.just = 0
        for line in lines:
            kind, *words = line.split(" ", 3)
            if kind == "start":
                self.started[words[0]] = int(words[1]), json.loads(words[2])
            elif kind == "ack":
                self.acks[words[0]] = int(words[1])
            elif kind == "no":
                self.refused[words[0]] = int(words[1]), words[2]
            elif kind == "read":
                sequence, digest, rest = words
                begin, finish = rest.split()
                self.reads.append((int(sequence), digest, int(begin), int(finish)))
            elif kind == "end":
                self.ended += 1

    def counts(self) -> str:
        return f"{len(self.acknowledged)} acknowledged changes, {len(self.refused)} refusals ({self.just} judged), {len(self.reads)} reads"

    def judge(self, store: Store) -> None:
        """Everything that must hold."""
        commits = self.commits(store)
        for key, finish in self.acks.items():
            if key in commits:  # else it changed nothing: a metadata that was so already
                self.acknowledged.append((self.started[key][0], finish, commits[key], key))
        assert not [key for key in self.refused if key in commits], "refused, and happened"
        in_real_time_order(self.acknowledged)
        reads_are_fresh(self.acknowledged, self.reads)
        self.follow_the_model(store)

    def commits(self, store: Store) -> dict[str, int]:
        found: dict[str, int] = {}
        for commit in store.ledger.history():
            if commit.key is not None:
                assert commit.key not in found, f"{commit.key} happened twice"
                found[commit.key] = commit.sequence
        return found

    def follow_the_model(self, store: Store) -> None:
        """Replay the journal's order on the model: each commit is allowed and complete, each read and refusal fits a state in its time."""
        model = Model()
        read_at: dict[int, set[str]] = {}
        for sequence, digest, _, _ in self.reads:
            read_at.setdefault(sequence, set()).add(digest)
        waiting = self.windows(store)
        for commit in store.ledger.history():
            if commit.key is not None and commit.key in self.started:
                model.apply(self.started[commit.key][1], commit.events)
            for digest in read_at.get(commit.sequence, ()):
                assert digest == digest_of(model.state()), f"a read saw another state than commit {commit.sequence} left"
            for key in [key for key, (first, last, _) in waiting.items() if first <= commit.sequence <= last]:
                if waiting[key][2] in model.refusals(self.started[key][1]):
                    del waiting[key]
                    self.just += 1
        assert not waiting, f"refused without reason: {[(self.started[key][1], what) for key, what in waiting.items()]}"
        assert state_of(store) == model.state(), "an update is lost, or made up"

    def windows(self, store: Store) -> dict[str, tuple[int, int, str]]:
        """For each refusal that depends on the state alone: the first and the last commit that it may have seen."""
        ended = sorted((finish, sequence) for _, finish, sequence, _ in self.acknowledged)
        begun = sorted((self.started[commit.key][0], commit.sequence) for commit in store.ledger.history() if commit.key in self.started)
        found: dict[str, tuple[int, int, str]] = {}
        newest, place = 1, 0
        for key in sorted(self.refused, key=lambda key: self.started[key][0]):
            finish, what = self.refused[key]
            while place < len(ended) and ended[place][0] < self.started[key][0]:
                newest = max(newest, ended[place][1])
                place += 1
            if what != "InUse":
                last = max((sequence for begin, sequence in begun if begin < finish), default=1)
                found[key] = newest, max(newest, last), what
        return found


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
