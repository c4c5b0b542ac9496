"""``journal export`` and ``journal import``: the journal comes back, into what is left or an empty root; what is refused, and how."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.eventstore.errors import ForeignStore, InvalidImage, InvalidRequest, JournalError, UnknownFormat
from layerlog.exporting import export
from layerlog.rescuing import mend, plan_import
from tests.rescue import world
from tests.rescue.test_damage import follow, judge, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store, the images that it came from, and an export of its journal."""
    folder = tmp_path_factory.mktemp("exported")
    world.make(folder, "vfs")
    with Store(folder / "store", read_only=True) as store:
        export(store, str(folder / "export"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root(healthy: Path, tmp_path: Path) -> Path:
    """A copy of the store whose journal is gone."""
    world.copy(healthy / "store", tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "vfs-layerlog" / "journal")
    return tmp_path / "store"


def history(root: Path) -> list[Any]:
    with Store(root, read_only=True) as store:
        return [(one.sequence, one.time_ns, one.events) for one in store.history()]


def changed(path: Path, to: Path, line: int, old: bytes, new: bytes) -> Path:
    """A copy of an export with something else in one line."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new)
    to.write_bytes(b"".join(lines))
    return to


def test_the_whole_history_comes_back_with_its_numbers_and_times(healthy: Path, root: Path) -> None:
    before = history(healthy / "store")
    found = plan_import(str(healthy / "export"), str(root))
    assert not found.whole
    assert not root.joinpath("vfs-layerlog", "journal").exists(), "a plan changes nothing"
    assert mend(found) == before[-1][0] + 1
    assert history(root)[: len(before)] == before
    assert history(root)[-1][2][0]["type"] == "StoreMended"
    assert state(root) == state(healthy / "store")
    with Store(root) as store:
        assert [str(one) for one in store.check()] == []
        assert [str(one) for one in store.verify()] == []


def test_what_was_made_after_the_export_is_found_again_or_named(healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.copy(healthy / "store", tmp_path / "store")
    with Store(tmp_path / "store") as store:
        image = store.images()[0]
        for number in range(70):
            store.set_metadata(image.id, f"later {number}")
        store.tag(image.id, "after:the-last-checkpoint")
    wanted = state(tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "vfs-layerlog" / "journal")
    assert main(["layerlog", "--graph", str(tmp_path / "store"), "journal", "import", str(healthy / "export"), "--yes"]) == 0
    talk = capsys.readouterr().out
    assert "made after the export" in talk
    talk += follow(tmp_path / "store", [], capsys)
    assert judge(tmp_path / "store", wanted, talk) == []
    with Store(tmp_path / "store") as store:
        assert store.image(image.id).metadata.startswith("later "), "the checkpoints of the same journal know more than the export"


def test_into_an_empty_root_whose_contents_then_come_from_the_images(
    healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is gone; an export and the archives were on another one."""
    where = ["layerlog", "--graph", str(tmp_path / "new"), "journal", "import", str(healthy / "export")]
    assert main(where) == 0
    assert "have no files here" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    assert main([*where, "--yes"]) == 0
    talk = follow(tmp_path / "new", [healthy / "oci", healthy / "other"], capsys)
    before, now = state(healthy / "store"), state(tmp_path / "new")
    assert {name: row for name, row in before.items() if row == now.get(name)}.keys() >= {
        name for name, row in before.items() if name[0] == "image" and "by-hand:1" not in row[0]
    }
    assert judge(tmp_path / "new", before, talk) == []


def test_it_is_refused_beside_a_journal(healthy: Path) -> None:
    with pytest.raises(InvalidRequest, match="only where it is gone"):
        plan_import(str(healthy / "export"), str(healthy / "store"))


def test_it_is_refused_for_another_store(healthy: Path, tmp_path: Path) -> None:
    Store(tmp_path / "other", driver="vfs").close()
    shutil.rmtree(tmp_path / "other" / "vfs-layerlog" / "journal")
    with pytest.raises(InvalidRequest, match="of another store"):
        plan_import(str(healthy / "export"), str(tmp_path / "other"))


def test_it_is_refused_over_another_driver_and_over_what_something_else_made(healthy: Path, tmp_path: Path) -> None:
    (tmp_path / "root" / "overlay" / "abc").mkdir(parents=True)
    with pytest.raises(InvalidRequest, match="holds overlay"):
        plan_import(str(healthy / "export"), str(tmp_path / "root"))
    (tmp_path / "foreign" / "vfs-layers").mkdir(parents=True)
    with pytest.raises(ForeignStore):
        plan_import(str(healthy / "export"), str(tmp_path / "foreign"))


def test_what_is_no_export_is_refused_and_nothing_is_touched(healthy: Path, root: Path, tmp_path: Path) -> None:
    before = sorted(str(path) for path in root.rglob("*"))
    bad = tmp_path / "bad"
    small = [b"", b"\xff\xfe", b"[]\n", b"{}\n", b'{"export": 1}\n', b'{"export": "x"}\n', b'{"export":1,"sha256":7}']
    for data in (*small, os.urandom(5000)):
        bad.write_bytes(data)
        with pytest.raises(InvalidImage):
            plan_import(str(bad), str(root))
    with pytest.raises(UnknownFormat):
        plan_import(str(changed(healthy / "export", bad, 0, b'"export": 1', b'"export": 3')), str(root))
    with pytest.raises(InvalidImage, match="first line"):
        plan_import(str(changed(healthy / "export", bad, 0, b'"driver": "vfs"', b'"driver": "zfs"')), str(root))
    with pytest.raises(OSError, match="No such file"):
        plan_import(str(tmp_path / "missing"), str(root))
    assert sorted(str(path) for path in root.rglob("*")) == before


def test_an_event_that_no_version_wrote_is_refused(healthy: Path, root: Path, tmp_path: Path) -> None:
    from layerlog.exporting import _digest

    lines = (healthy / "export").read_text().splitlines()
    found = json.loads(lines[2])
    found["payload"] = found["payload"].replace('"type":"', '"unheard of":1,"type":"', 1)
    del found["sha256"]
    lines[2] = json.dumps({**found, "sha256": _digest(found)})
    (tmp_path / "bad").write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidImage, match="unheard of"):
        plan_import(str(tmp_path / "bad"), str(root))


@pytest.mark.parametrize("how", ["a byte changed", "a line gone", "cut off", "cut within a line"])
def test_a_damaged_export_gives_all_but_what_it_lost_and_says_so(
    healthy: Path, root: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, lines = tmp_path / "bad", (healthy / "export").read_bytes().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if b"metadata 7" in line)
    last = json.loads(lines[0])["last"]
    if how == "a byte changed":
        changed(healthy / "export", bad, number, b"metadata 7", b"metadata 8")
        lost = f"lost: commit {number}: "
    elif how == "a line gone":
        bad.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
        lost = f"lost: commit {number}: "
    elif how == "cut off":
        bad.write_bytes(b"".join(lines[:number]))
        lost = f"lost: commits {number} to {last}: "
    else:
        bad.write_bytes(b"".join(lines)[:-9])
        lost = f"lost: commit {last}: "
    found = plan_import(str(bad), str(root))
    assert next(line for line in found.lines() if line.startswith("lost: ")).startswith(lost)
    mend(found)
    talk = "\n".join(found.lines()) + follow(root, [], capsys)
    assert judge(root, state(healthy / "store"), talk) == []


def test_a_journal_whose_beginning_was_dropped_comes_back_with_the_state_that_it_begins_with(
    healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.copy(healthy / "store", tmp_path / "store")
    with Store(tmp_path / "store", retention=0) as store:
        store.empty_trash()
        for number in range(70):
            store.set_metadata(store.images()[0].id, f"before {number}")
        assert store.compact(before=store.sequence, drop=True).through > 0
        store.set_metadata(store.images()[0].id, "after the cut")
        export(store, str(tmp_path / "export"))
        begins = store.begins()
        wanted = [one.row for one in (*store.layers(), *store.images(), *store.containers())]
    shutil.rmtree(tmp_path / "store" / "vfs-layerlog" / "journal")
    shutil.rmtree(tmp_path / "store" / "vfs-layerlog" / "checkpoints")
    assert begins > 1
    assert mend(plan_import(str(tmp_path / "export"), str(tmp_path / "store"))) > begins
    with Store(tmp_path / "store") as store:
        assert [one.row for one in (*store.layers(), *store.images(), *store.containers())] == wanted
    follow(tmp_path / "store", [], capsys)
    with Store(tmp_path / "store") as store:
        assert [str(one) for one in store.verify()] == []
    lines = (tmp_path / "export").read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'{"key"' in line)
    (tmp_path / "export").write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    shutil.rmtree(tmp_path / "store" / "vfs-layerlog" / "journal")
    with pytest.raises(InvalidImage, match="begins with is not as it was written"):
        plan_import(str(tmp_path / "export"), str(tmp_path / "store"))


def test_what_compaction_archived_is_exported_too(healthy: Path, tmp_path: Path) -> None:
    world.copy(healthy / "store", tmp_path / "store")
    with Store(tmp_path / "store", retention=0) as store:
        store.empty_trash()
        for number in range(70):
            store.set_metadata(store.images()[0].id, f"before {number}")
        assert store.compact(before=store.sequence).through > 0
        assert export(store, str(tmp_path / "export")) == store.sequence


def test_a_journal_with_holes_is_not_exported(healthy: Path, tmp_path: Path) -> None:
    world.copy(healthy / "store", tmp_path / "store")
    world.load_record(world.Broken(tmp_path, "vfs"))
    with Store(tmp_path / "store") as store, pytest.raises(JournalError, match="salvage"):
        export(store, str(tmp_path / "export"))
    assert sorted(os.listdir(tmp_path)) == ["store"]
