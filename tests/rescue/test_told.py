"""What recovery did when a store was opened is in its history: what, to which layer, and who had left it half done."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.eventstore import position
from layerlog.eventstore.errors import JournalError
from tests.crash import children, seams
from tests.layerlog.builders import tar
from tests.layerlog.litter import left_behind
from tests.rescue import world
from tests.rescue.test_damage import follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.records import Container


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store in which somebody was killed while he made a layer."""
    with Store(tmp_path / "root", driver="vfs") as store:
        store.import_layer(io.BytesIO(tar({"a": b"a"})), names=["named"])

    def run(say: Callable[[Any], None]) -> None:
        with Store(tmp_path / "root", actor="the one who died") as store:
            seams.install(seams.Killer(12))
            store.import_layer(io.BytesIO(tar({"b": b"b" * 9000, "c/": None, "c/d": b"d"})))

    assert children.run(run).status == children.KILLED
    return tmp_path / "root"


def mended(store: Store) -> list[Any]:
    return [(commit, event) for commit in store.history() for event in commit.events if event["type"] == "StoreMended"]


def test_what_was_settled_when_the_store_was_opened_is_one_commit(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(root, read_only=True) as store:
        assert mended(store) == [], "whoever may not write settles nothing"
        (half_made,) = store.driver.staged()
    with Store(root, actor="the next one") as store:
        ((commit, event),) = mended(store)
        assert store.sequence == commit.sequence
        assert left_behind(store) == []
    assert commit.actor == "the next one"
    assert event["tool"] == "recovery"
    assert len(event["did"]) == 1
    assert event["did"][0].startswith(f"layer {half_made}: half-made contents removed; left by ")
    with Store(root) as store:
        assert store.sequence == commit.sequence, "there was nothing to do, and nothing is written"
    assert main(["layerlog", "--graph", str(root), "log", half_made[:12], "--json"]) == 0
    assert [json.loads(line)["sequence"] for line in capsys.readouterr().out.splitlines() if line.startswith("{")] == [commit.sequence]


def test_recover_does_not_tell_it_twice_and_an_undo_does_not_count_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layerlog", "--graph", str(root), "recover"]) == 0
    assert ": half-made contents removed" in capsys.readouterr().out
    with Store(root) as store:
        assert len(mended(store)) == 1
        store.undo(last=1)
        assert store.layers() == [], "the last change of somebody, not what the store did by itself"


def test_an_ordinary_boot_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "root", driver="vfs") as store:
        store.import_layer(io.BytesIO(tar({"a": b"a"})), names=["named"])
        before = store.sequence
    monkeypatch.setattr(position, "_boot_id", bytes(range(16)))
    with Store(tmp_path / "root") as store:
        assert store.sequence == before


def written_box(store: Store) -> Container:
    """A container that a program wrote into."""
    box = store.create_container(names=["box"])
    Path(store.mount(box.id), "written").write_text("by a program")
    store.unmount(box.id)
    return box


def put_back(yesterday: Path, root: Path) -> None:
    """An older copy of the records in the place of today's."""
    shutil.rmtree(root / "vfs-layerlog")
    world.copy(yesterday, root / "vfs-layerlog")


def test_an_older_copy_of_the_journal_is_told_by_the_trash_and_nothing_of_today_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody put yesterday's records back beside today's layers, and worked on."""
    root = tmp_path / "root"
    with Store(root, driver="vfs") as store:
        box = written_box(store)
    world.copy(root / "vfs-layerlog", tmp_path / "yesterday")
    with Store(root) as store:
        store.create_layer()
        store.delete_container(box.id)
        made_today = store.import_layer(io.BytesIO(tar({"a": b"a" * 600})))
    put_back(tmp_path / "yesterday", root)
    assert main(["layerlog", "--graph", str(root), "recover"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: layerlog journal salvage"
    with Store(root) as store:
        for number in range(4):
            store.create_layer(names=[f"worked on {number}"])
    monkeypatch.setattr(position, "_boot_id", bytes(range(16)))
    Store(root).close()  # the boot's settling frees what deletions left; these numbers were given again to other commits
    follow(root, [], capsys)
    with Store(root) as store:
        lost = [*Path(store.driver.home).glob("lost+found/*/written"), *Path(store.driver.home).glob("dir/*/written")]
        assert [path.read_text() for path in lost] == ["by a program"]
        assert [*Path(store.driver.home).glob(f"lost+found/{made_today.id}/a"), *Path(store.driver.home).glob(f"dir/{made_today.id}/a")]


def test_what_was_deleted_after_the_copy_comes_back_from_the_trash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    with Store(root, driver="vfs") as store:
        box = written_box(store)
    world.copy(root / "vfs-layerlog", tmp_path / "yesterday")
    with Store(root) as store:
        store.delete_container(box.id)
    put_back(tmp_path / "yesterday", root)
    follow(root, [], capsys)
    with Store(root) as store:
        assert Path(store.mount("box"), "written").read_text() == "by a program"
        store.unmount("box")


def test_a_disk_that_is_taken_away_while_the_store_is_open_is_told_by_a_typed_error(tmp_path: Path) -> None:
    Store(tmp_path / "root", driver="vfs").close()
    with Store(tmp_path / "root") as store:
        os.rename(tmp_path / "root", tmp_path / "elsewhere")
        with pytest.raises(JournalError, match="is gone: the store was moved"):
            store.create_layer()
        with pytest.raises(JournalError, match="is gone: the store was moved"):
            store.import_layer(io.BytesIO(tar({"a": b"a"})))
        assert not (tmp_path / "root").exists()
        os.rename(tmp_path / "elsewhere", tmp_path / "root")
        store.create_layer(names=["back"])
    with Store(tmp_path / "root") as store:
        assert [one.names for one in store.layers()] == [["back"]]
        assert left_behind(store) == []
