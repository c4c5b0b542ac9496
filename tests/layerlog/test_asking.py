"""Questions about the past: blame, who, and the difference of two states."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.asking import applied, recorded_bytes, rows_by_id
from layerlog.eventstore.errors import StoreError
from layerlog.projections import trash
from tests.layerlog.test_undo_walk import NAMES, Reborn, Walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerlog.view import View


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "root", tmp_path / "run", "vfs", actor="anna") as opened:
        yield opened


def test_blame_names_every_holder_and_how_it_lost_the_name(store: Store) -> None:
    one, two = store.create_image(names=["n"]), store.create_image()
    store.tag(two, "n")
    store.delete_image(two.id)
    store.restore(two.id)
    store.untag("n")
    held = [(one.id, one.since.sequence, one.until.sequence if one.until else None, one.ended_by) for one in store.blame("n")]
    assert held == [(one.id, 2, 4, "moved"), (two.id, 4, 5, "deleted"), (two.id, 6, 7, "renamed")]


def test_a_present_holder_has_no_end(store: Store) -> None:
    store.create_layer(names=["n"])
    (tenure,) = store.blame("n")
    assert (tenure.kind, tenure.until) == ("layer", None)


def test_who_counts_changes_and_bytes_by_actor(store: Store) -> None:
    image = store.create_image()
    store.given(actor="bert").set_big_data("image", image.id, "k", b"12345")
    found = {doing.actor: (doing.changes, doing.bytes_added) for doing in store.who(after=1)}
    assert found == {"anna": (1, 0), "bert": (1, 5)}


def test_who_over_time_puts_each_commit_into_its_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now, day = time.time_ns(), 86_400 * 10**9
    for days, actor in ((1, "bert"), (1, "anna"), (1, "anna"), (3, "anna")):
        monkeypatch.setattr(time, "time_ns", lambda later=now + days * day: later)
        store.given(actor=actor).create_layer()
    called = [time.strftime("%Y-%m-%d", time.localtime((now + number * day) // 10**9)) for number in (1, 3)]
    found = [(doing.period, doing.actor, doing.changes) for doing in store.who(after=1, per="day")]
    assert found == [(called[0], "anna", 2), (called[0], "bert", 1), (called[1], "anna", 1)]


def test_the_difference_of_two_states_applied_to_the_older_gives_the_newer(store: Store) -> None:
    gone = store.create_layer()
    kept = store.create_layer(names=["a"])
    then = store.sequence
    store.delete_layer(gone.id)
    store.set_names(kept.id, ["b"])
    came = store.create_image(kept.id)
    found = store.diff_state(then)
    assert [(one.kind, one.id, one.what) for one in found] == [
        ("image", came.id, "came"),
        ("layer", gone.id, "went"),
        ("layer", kept.id, "changed"),
    ]
    assert found[2].fields == ["names"]
    assert applied(rows_by_id(store.at(then)), found) == rows_by_id(store.at("now"))


def _walked(tmp_path: Path, seed: int, retention: float = 3600.0) -> Iterator[Store]:
    """A store after a random walk in which IDs and names change hands, with undos and emptied trash."""
    with Store(tmp_path / "root", tmp_path / "run", "vfs", options=["sync=none"], retention=retention) as store:
        walk = (Reborn if seed % 2 else Walk)(store, seed)
        for _ in range(40):
            walk.step()
            if walk.chance.random() < 0.1:
                store.empty_trash()
            if walk.chance.random() < 0.15:
                with suppress(StoreError):
                    store.undo(last=walk.chance.randrange(1, 4))
        yield store


@pytest.mark.parametrize("seed", range(2))
def test_blame_says_of_every_commit_who_held_a_name_then(tmp_path: Path, seed: int) -> None:
    for store in _walked(tmp_path, seed):
        tenures = {(name, kind): store.blame(name, kind) for name in NAMES for kind in ("layer", "image", "container")}
        for sequence in range(1, store.sequence + 1):
            held = {(name, kind): item for (kind, item), row in rows_by_id(store.at(sequence)).items() for name in row.get("names", ())}
            for thing, found in tenures.items():
                told = [one.id for one in found if one.since.sequence <= sequence and (one.until is None or sequence < one.until.sequence)]
                assert told == ([held[thing]] if thing in held else []), (seed, sequence, thing)


@pytest.mark.parametrize(("seed", "retention"), [(0, 3600.0), (1, 3600.0), (3, 0.0)])
def test_growth_is_what_the_recorded_bytes_grew_by(tmp_path: Path, seed: int, retention: float) -> None:
    for store in _walked(tmp_path, seed, retention):
        for after in range(0, store.sequence, 3):
            assert sum(one.growth for one in store.growth(after)) == _recorded(store) - _recorded(store.at(after)), (seed, after)


def _recorded(view: View) -> int:
    """Recorded bytes of everything that is there, and of what is kept in the trash."""
    with view.reading() as rows:
        kept = sum(recorded_bytes(row["row"]) for row in trash.every(rows) if row["kept"])
    return kept + sum(recorded_bytes(row) for row in rows_by_id(view).values())
