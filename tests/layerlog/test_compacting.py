"""Compaction: the past becomes a base, and nothing that is still asked for is lost."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.asking import rows_by_id
from layerlog.eventstore import segments
from layerlog.eventstore.archive import HistoryCompacted
from layerlog.eventstore.checkpoints import UNIT
from layerlog.eventstore.errors import InUse, JournalError
from layerlog.projections import trash

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.view import View

COMMITS = 200
LONG_TEXT = "x" * 60_000
"""A few of these fill a segment."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three segments with no retention, so that all of it may be folded; copied for each test."""
    root = tmp_path_factory.mktemp("compact") / "root"
    with Store(root, root.parent / "run", "vfs", retention=0, options=["sync=none"]) as store:
        write(store, COMMITS)
    return root


def write(store: Store, until: int, long_text: str = LONG_TEXT) -> None:
    """Commits of every kind up to that sequence; some are large ones."""
    while store.sequence < until:
        number = store.sequence
        layer = store.create_layer(names=[f"layer-{number}"])
        image = store.create_image(layer.id, names=["newest"], big_data={"k": str(number).encode()}) if number % 3 == 0 else None
        store.set_metadata(layer.id, long_text if number % 5 == 0 else str(number))
        if image is not None and number % 2:
            store.set_names(image.id, [f"image-{number}"])
        elif image is not None:
            store.delete_image(image.id)


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "root")
    return tmp_path / "root"


def opened(root: Path, **more: Any) -> Store:
    return Store(root, root.parent / "run", "vfs", retention=0, **more)


def home(root: Path) -> Path:
    return root / "vfs-layerlog" / "journal"


def state(view: View) -> tuple[Any, ...]:
    """Everything that a state holds, the trash included."""
    with view.reading() as rows:
        return rows_by_id(view), list(trash.every(rows))


def everything(view: View) -> dict[bytes, Any]:
    """All rows but the one that tells of the compaction itself."""
    with view.reading() as rows:
        return {key: value for key, value in rows.scan(b"") if not key.startswith(b"store\0compacted")}


def test_the_present_state_is_the_same_with_and_without_checkpoints(root: Path) -> None:
    with opened(root) as store:
        before = everything(store)
        done = store.compact("now")
        assert done.segments == 2
        assert done.through % UNIT == 0
        assert everything(store) == before
    with opened(root) as store:
        assert everything(store) == before
    for run in (root / "vfs-layerlog" / "checkpoints").iterdir():
        run.unlink()
    with opened(root) as store:
        assert everything(store) == before
        assert list(store.verify(store.head())) == []
        store.create_layer()
    with opened(root, read_only=True) as store:
        assert len(store.layers()) == len([key for key in before if key.startswith(b"layer\0")]) + 1


@pytest.mark.parametrize("drop", [False, True])
def test_a_past_state_is_read_from_the_archive_or_refused_by_name(root: Path, drop: bool) -> None:
    with opened(root) as store:
        states = {sequence: state(store.at(sequence)) for sequence in range(0, store.sequence + 1, 7)}
        through = store.compact("now", drop=drop).through
        states[through] = state(store.at(through))
        for sequence, seen in states.items():
            if drop and 0 < sequence < through:
                with pytest.raises(HistoryCompacted, match="dropped") as refused:
                    store.at(sequence)
                assert (refused.value.data["asked"], refused.value.data["through"]) == (sequence, through)
            else:
                assert state(store.at(sequence)) == seen
        assert store.begins() == (through if drop else 0)
        assert [one.sequence for one in store.history()] == list(range((through if drop else 0) + 1, store.sequence + 1))
        assert [one.sequence for one in store.history(reverse=True)] == list(range(store.sequence, through if drop else 0, -1))


def test_an_archive_elsewhere_is_read_there_and_missed_by_name(root: Path, tmp_path: Path) -> None:
    with opened(root) as store:
        seen = state(store.at(20))
        done = store.compact("now", archive=tmp_path / "archive")
        assert len(list((tmp_path / "archive").iterdir())) == done.segments
        assert state(store.at(20)) == seen
        (tmp_path / "archive").rename(tmp_path / "moved")
        with pytest.raises(HistoryCompacted, match=str(tmp_path / "archive")):
            store.at(20)
        assert store.layers()
        assert list(store.verify()) == []
        (tmp_path / "moved").rename(tmp_path / "archive")
        assert state(store.at(20)) == seen


def test_compacting_again_and_again_keeps_every_state(root: Path) -> None:
    with opened(root) as store:
        states = {sequence: state(store.at(sequence)) for sequence in range(0, store.sequence + 1, 13)}
        cuts = []
        for _ in range(3):
            cuts.append(store.compact("now").through)
            start = store.sequence
            while store.plan_compaction("now").segments < 1:
                write(store, store.sequence + 20, LONG_TEXT * 16)
            states[start] = state(store.at(start))
        assert cuts == sorted(set(cuts))
        for sequence, seen in states.items():
            assert state(store.at(sequence)) == seen, sequence
        assert list(store.verify(store.head())) == []
        assert len(list(home(root).glob("*.base"))) == 1


def test_it_goes_no_further_than_asked(root: Path) -> None:
    with opened(root) as store:
        assert store.plan_compaction(10).through == 0
        assert store.compact(10).sequence == 0
        full = store.plan_compaction("now")
        some = store.plan_compaction(full.through - 1)
        assert 0 < some.through < full.through
        assert some.segments < full.segments


def test_what_undo_needs_stays(root: Path) -> None:
    with Store(root, root.parent / "run", "vfs", retention=3600) as store:
        planned = store.plan_compaction("now")
        assert planned.through == 0
        assert "undo" in planned.kept_by


def test_what_a_restore_needs_stays(tmp_path: Path) -> None:
    """The commit that deleted it tells who and why, and an undo of it needs the state before."""
    root = tmp_path / "root"
    with Store(root, root.parent / "run", "vfs", retention=3600) as store:
        deleted = store.create_layer().id
        store.delete_layer(deleted)
        write(store, COMMITS)
    with opened(root) as store:
        planned = store.plan_compaction("now")
        assert planned.through == 0
        assert deleted[:12] in planned.kept_by
        store.empty_trash()
        assert store.plan_compaction("now").through


def test_what_a_follower_has_not_read_stays(root: Path) -> None:
    with opened(root) as store:
        full = store.plan_compaction("now").through
        with store.follow(after=0) as following:
            planned = store.plan_compaction("now")
            assert planned.through == 0
            assert "follower" in planned.kept_by
            assert len(following.new()) == store.sequence
            assert store.plan_compaction("now").through == full
        assert store.compact("now", drop=True).through == full
        with pytest.raises(HistoryCompacted):
            store.follow(after=full - 1)
        with store.follow(after=full) as following:
            assert following.new()[0].sequence == full + 1


def test_readers_that_were_open_before_read_on(root: Path) -> None:
    """From the archive; a history that is dropped under a reader ends with an error that says so, never with a gap."""
    with opened(root) as store, opened(root) as other:
        count = store.sequence
        reading, backwards = store.history(), store.history(reverse=True)
        next(reading), next(backwards)
        other.compact("now")
        assert len(list(reading)) + 1 == count
        assert len(list(backwards)) + 1 == count


def test_a_reader_whose_history_is_dropped_is_told(root: Path) -> None:
    with opened(root) as store, opened(root) as other:
        reading = store.history()
        next(reading)
        other.compact("now", drop=True)
        with pytest.raises(HistoryCompacted):
            list(reading)


def test_damaged_records_are_not_folded_away(root: Path) -> None:
    path = sorted(home(root).glob("*.segment"))[0]
    data = bytearray(path.read_bytes())
    data[5_000:5_040] = os.urandom(40)
    path.write_bytes(data)
    with opened(root) as store:
        before = sorted(os.listdir(home(root)))
        with pytest.raises(JournalError, match="damaged"):
            store.compact("now")
        assert sorted(os.listdir(home(root))) == before


def test_one_compaction_at_a_time(root: Path) -> None:
    with opened(root) as store, opened(root) as other, store.lease(".compact", "compact"), pytest.raises(InUse):
        other.compact("now")


@pytest.mark.parametrize("what", ["base", "archived", "kept"])
def test_verify_names_what_was_altered_behind_a_compaction(root: Path, what: str) -> None:
    with opened(root) as store:
        store.compact("now")
    path = {
        "base": next(home(root).glob("*.base")),
        "archived": sorted((home(root) / "archive").iterdir())[0],
        "kept": sorted(home(root).glob("*.segment"))[0],
    }[what]
    data = bytearray(path.read_bytes())
    data[300:303] = bytes(one ^ 0xFF for one in data[300:303])
    path.write_bytes(data)
    with opened(root, read_only=True) as store:
        found = list(store.verify())
        assert found
        assert any(("base" if what == "base" else "commit") in one.id for one in found), [one.id for one in found]


def test_a_segment_that_is_gone_from_an_archive_is_named(root: Path) -> None:
    with opened(root) as store:
        store.compact("now")
    sorted((home(root) / "archive").glob("*" + segments.SUFFIX))[-1].unlink()
    with opened(root, read_only=True) as store:
        assert any("archive" in one.message for one in store.verify())


def test_a_base_that_somebody_else_wrote_is_named(root: Path) -> None:
    """One that is whole in itself, with other rows than the history gives."""
    from layerlog.eventstore import base

    with opened(root) as store:
        store.compact("now", drop=True)
    there = base.newest(str(home(root)))
    assert there is not None
    rows = [(key, value) for key, value in there.rows() if b"layer-7" not in key]
    base.write(str(home(root)), rows, there.after(), there.segment.journal_id, there.archives)
    base.place(str(home(root)))
    with opened(root, read_only=True) as store:
        assert [one.id for one in store.verify() if one.grade != "cosmetic"] == ["base"]


def test_a_redacted_bundle_of_a_compacted_journal_says_nothing_private(root: Path, tmp_path: Path) -> None:
    """And folds to the same shape: a name means the same thing in the base and in the commits after it."""
    from layerlog.bundling import replay

    with opened(root) as store:
        store.compact("now", archive=tmp_path / "secret-place")
        for layer in store.layers()[:3]:
            store.set_names(layer.id, ["secret", *layer.names])
        store.bundle(tmp_path / "bundle.tar", redact=True)
        before = {key: len(row.get("names", ())) for key, row in rows_by_id(store).items()}
    data = (tmp_path / "bundle.tar").read_bytes()
    for word in (b"secret", b"layer-1", b"newest", LONG_TEXT[:100].encode(), b"secret-place"):
        assert word not in data
    with replay(tmp_path / "bundle.tar", tmp_path / "again") as again:
        assert {key: len(row.get("names", ())) for key, row in rows_by_id(again).items()} == before
        assert {one.grade for one in again.verify() if one.id == "base"} == {"metadata"}


def test_a_bundle_of_a_compacted_journal_replays(root: Path, tmp_path: Path) -> None:
    from layerlog.bundling import replay

    with opened(root) as store:
        store.compact("now")
        store.bundle(tmp_path / "bundle.tar")
        before = everything(store)
        last = store.sequence
    with replay(tmp_path / "bundle.tar", tmp_path / "again") as again:
        assert everything(again) == before
        assert again.sequence == last


@pytest.mark.parametrize("drop", [False, True])
def test_the_tools_for_bad_days_take_a_base_for_what_it_stands_for(root: Path, drop: bool) -> None:
    from layerlog.mending import mend, plan
    from layerlog.remains import Damaged

    folder = str(root / "vfs-layerlog")
    with opened(root) as store:
        store.compact("now", drop=drop)
        before, last = everything(store), store.sequence
    assert plan(str(root), str(root.parent / "run"), "vfs", "salvage", Damaged(folder, "vfs")).whole
    path = sorted(home(root).glob("*.segment"))[-1]
    data = bytearray(path.read_bytes())
    at = data.index(b'"events"', 20_000)
    data[at : at + 40] = bytes(one ^ 0x55 for one in data[at : at + 40])
    path.write_bytes(data)
    found = plan(str(root), str(root.parent / "run"), "vfs", "salvage", Damaged(folder, "vfs"))
    assert len(found.lost) == 1
    assert found.lost[0].first > (0 if not drop else 128)
    mend(found)
    with opened(root) as store:
        assert store.sequence > last
        same = {key for key, value in everything(store).items() if before.get(key) == value}
        assert len(same) > len(before) * 0.9
        assert not [one for one in store.verify() if one.grade not in ("cosmetic", "metadata")]


def test_what_was_dropped_is_refused_by_its_own_number(root: Path) -> None:
    with opened(root) as store:
        store.compact("now", drop=True)
        for asked in (7, 100):
            with pytest.raises(HistoryCompacted, match=f"commit {asked} "):
                store.commit_at(asked)
        with pytest.raises(HistoryCompacted, match="commit 12 "):
            store.at(12)
