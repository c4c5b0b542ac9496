"""``at`` costs the same however long the history is: a look into checkpoints and a bounded replay."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from layerlog import Store
from layerlog.eventstore.checkpoints import FANOUT, KEPT_LEVEL, UNIT
from layerlog.eventstore.state import State

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LONG = os.environ.get("LAYERLOG_LONG") == "1"
COMMITS = 100_000 if LONG else 9_000
REPLAYED_MAX = UNIT * FANOUT**KEPT_LEVEL


def test_any_past_state_replays_a_bounded_number_of_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4,096 at most, whatever the length; measured on 100,000 commits: 0.2 s at the worst place."""
    folded = 0
    original = State.folded

    def counted(self: State, commit: object) -> dict[bytes, object]:
        nonlocal folded
        folded += 1
        return original(self, commit)  # type: ignore[arg-type]

    with Store(tmp_path / "root", tmp_path / "run", "vfs", sync="none") as store:
        layer = store.create_layer()
        event = {"type": "MetadataSet", "kind": "layer", "id": layer.id}
        for number in range(COMMITS - store.sequence):
            store.ledger.commit(lambda rows, text=str(number): [{**event, "metadata": text}], envelope={})  # type: ignore[misc]
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        monkeypatch.setattr(State, "folded", counted)
        worst = 0.0
        for sequence in (2, 64, 511, 4_095, 4_097, 8_191, COMMITS // 2, COMMITS - 1, COMMITS):
            folded, began = 0, time.perf_counter()
            assert store.at(sequence).metadata(layer.id) == (str(sequence - 3) if sequence > 2 else "")
            worst = max(worst, time.perf_counter() - began)
            assert folded <= REPLAYED_MAX, f"at({sequence}) folded {folded} commits"
        began = time.perf_counter()
        assert store.sequence_at("1s") <= COMMITS
        print(f"at: {worst:.3f} s at the worst of {COMMITS:,} commits; by time {time.perf_counter() - began:.3f} s")
