"""The demo's proof could fail: a store that lost a commit, or refused to open, is counted as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.demo import journal_cuts
from layerlog import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A store with a dozen commits."""
    with Store(tmp_path / "graph", driver="vfs") as store:
        for number in range(12):
            store.create_layer(id=f"layer-{number}")
    return tmp_path / "graph"


def test_every_cut_opens_and_loses_nothing(graph: Path, tmp_path: Path) -> None:
    result = journal_cuts.cut_everywhere(graph, tmp_path / "cut", 20, 1)
    assert (result.cuts, result.opened, result.lost, result.commits, result.failures) == (20, 20, 0, 13, [])


def test_the_store_that_is_cut_is_a_copy(graph: Path, tmp_path: Path) -> None:
    journal = graph / "vfs-layerlog" / "journal"
    before = {path.name: path.read_bytes() for path in journal.glob("*.segment")}
    journal_cuts.cut_everywhere(graph, tmp_path / "cut", 3, 1)
    assert {path.name: path.read_bytes() for path in journal.glob("*.segment")} == before


def test_a_lost_commit_is_counted(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a disk that loses 1,000 bytes more than it says."""
    honest = journal_cuts.write_cut
    monkeypatch.setattr(journal_cuts, "write_cut", lambda segments, cut, journal: honest(segments, cut - 1000, journal))
    result = journal_cuts.cut_everywhere(graph, tmp_path / "cut", 20, 1)
    assert result.lost > 0
    assert any("is lost" in failure for failure in result.failures)


def test_a_store_that_does_not_open_is_counted(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other control: the cut leaves a root that is Podman's, not ours."""
    monkeypatch.setattr(journal_cuts, "write_cut", lambda _segments, _cut, journal: (journal.parents[1] / "libpod").mkdir(parents=True))
    result = journal_cuts.cut_everywhere(graph, tmp_path / "cut", 2, 1)
    assert (result.opened, len(result.failures)) == (0, 2)
