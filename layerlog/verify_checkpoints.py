"""Checkpoints against a replay: each run must hold exactly what the commits of its range changed."""

from __future__ import annotations

import json
import os

from layerlog.eventstore.blocks import RunDamaged
from layerlog.eventstore.runs import SUFFIX, Run
from layerlog.eventstore.state import CHECKPOINTS, Commit, State
from layerlog.findings import COSMETIC, Finding
from layerlog.projections.fold import FOLD_VERSION, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.eventstore.journal import Journal
    from layerlog.eventstore.position import Position


def ends(journal: Journal) -> Iterator[tuple[str, Position]]:
    """Name and end of each readable run: what the journal's chain was when it was made."""
    for name, run in _runs(journal):
        if isinstance(run, Run):
            yield name, run.end


def checkpoints(journal: Journal) -> Iterator[Finding]:
    """Replay everything once and compare each run as its range ends. A wrong run costs nothing but is told: it can be deleted."""
    runs: dict[str, Run] = {}
    for name, run in _runs(journal):
        if isinstance(run, Run):
            runs[name] = run
        else:
            yield _finding(journal, name, str(run))
    state = State(journal.folder, journal, fold, fold_version=FOLD_VERSION, may_write=False, until=0)
    gathered: dict[str, dict[bytes, Any]] = {}
    if begins := state.position.sequence:  # compacted: what the base holds counts as the changes up to there
        based = dict(state.rows.scan(b""))
        runs = {name: run for name, run in runs.items() if run.after >= begins or (not run.after and run.last >= begins)}
        gathered = {name: dict(based) for name, run in runs.items() if not run.after}
        for name in [name for name, run in runs.items() if run.last == begins]:
            if why := _differs(runs.pop(name), gathered.pop(name)):
                yield _finding(journal, name, why)
    for frame in journal.frames(state.position, journal.position):
        changes = state.folded(Commit(frame))
        state.apply(changes, frame.sequence)
        state.stand_at(frame.after())
        for name, run in list(runs.items()):
            if run.after < frame.sequence:
                gathered.setdefault(name, {}).update(changes)
            if run.last == frame.sequence:
                del runs[name]
                if why := _differs(run, gathered.pop(name, {})):
                    yield _finding(journal, name, why)


def _runs(journal: Journal) -> Iterator[tuple[str, Run | RunDamaged]]:
    folder = os.path.join(journal.folder, CHECKPOINTS)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(folder, name)
        try:
            yield name, Run(path, journal.id, FOLD_VERSION)
        except RunDamaged as damage:
            if os.path.exists(path):  # a greater run may just have taken its place
                yield name, damage


def _differs(run: Run, expected: dict[bytes, Any]) -> str:
    """How a run differs from what the replay gave; empty when it does not."""
    try:
        held = {
            key: json.loads(value)
            for block, first, last in run.slices(b"")
            for key, value in zip(block.keys[first:last], block.values()[first:last], strict=True)
        }
    except RunDamaged as damage:
        return str(damage)
    if run.after == 0:
        expected = {key: value for key, value in expected.items() if value is not None}
    for key in sorted({*held, *expected}):
        if (key in held) != (key in expected) or held.get(key) != json.loads(json.dumps(expected.get(key))):
            return f"row {key.replace(bytes(1), b' ').decode('utf-8', 'replace')!r} is not what a replay gives"
    return ""


def _finding(journal: Journal, name: str, why: str) -> Finding:
    path = os.path.join(journal.folder, CHECKPOINTS, name)
    return Finding(COSMETIC, "store", f"checkpoint {name}", f"checkpoint {name}: not what the journal says", why, f"rm {path}")
