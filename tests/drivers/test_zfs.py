"""The zfs driver's arguments, and what it makes of the answers, on a stand-in for the program; test_conformance.py runs on it as well."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers import choose, tools
from layerlog.drivers.zfs import ZFS
from layerlog.eventstore.errors import DriverError, InvalidID
from tests.drivers import tars
from tests.drivers.tars import contents
from tests.drivers.zfs_stand_in import StandIn

if TYPE_CHECKING:
    from pathlib import Path


class Answers:
    """A program that answers in turn, and keeps what it was asked."""

    def __init__(self, *answers: str | OSError) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *words: str) -> str:
        self.calls.append(words)
        answer = self.answers.pop(0) if self.answers else ""
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ZFS:
    monkeypatch.setattr(ZFS, "_mounted_at", lambda self, path: os.path.isdir(path))
    driver = ZFS(str(tmp_path / "root"), run=StandIn(str(tmp_path / "pool")))
    driver.setup()
    return driver


def calls(driver: ZFS) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [one for one in driver._run.calls if one[0] != "list"]  # type: ignore[attr-defined]
    driver._run.calls.clear()  # type: ignore[attr-defined]
    return found


def test_set_up_makes_one_file_system_and_four_below_with_the_mount_points_of_the_home(home: ZFS) -> None:
    base = home.base()
    assert base.startswith("tank/layerlog-")
    assert calls(home) == [
        ("create", "-p", "-o", "canmount=off", base),
        ("create", "-o", f"mountpoint={home.home}/graph", f"{base}/graph"),
        ("create", "-o", f"mountpoint={home.home}/staging", f"{base}/staging"),
        ("create", "-o", f"mountpoint={home.home}/trash", f"{base}/trash"),
        ("create", "-o", f"mountpoint={home.home}/lost+found", f"{base}/lost"),
    ]
    home.setup()
    assert calls(home) == []


def test_a_layer_is_created_renamed_and_destroyed(home: ZFS) -> None:
    base = home.base()
    calls(home)
    home.stage("a", []).apply(tars.stream(tars.file(b"f", b"x")))
    home.place("a")
    assert calls(home) == [("create", f"{base}/staging/a"), ("rename", f"{base}/staging/a", f"{base}/graph/a")]
    home.put_aside("a", "7-a")
    home.free("7-a")
    assert calls(home) == [("rename", f"{base}/graph/a", f"{base}/trash/7-a"), ("destroy", "-r", f"{base}/trash/7-a")]


def test_a_child_is_a_clone_of_a_snapshot_that_goes_with_it(home: ZFS) -> None:
    base = home.base()
    home.create("a", [])
    calls(home)
    home.create("b", ["a"])
    snapshot, clone, destroy, rename = calls(home)
    assert snapshot[1].startswith(f"{base}/graph/a@b-")
    assert clone == ("clone", snapshot[1], f"{base}/staging/b")
    assert destroy == ("destroy", "-d", snapshot[1])
    assert rename == ("rename", f"{base}/staging/b", f"{base}/graph/b")


def test_a_parent_that_goes_before_its_clone_hands_over_what_they_share(home: ZFS) -> None:
    home.stage("a", []).apply(tars.stream(tars.file(b"f", b"x")))
    home.place("a")
    home.create("b", ["a"])
    home.create("c", ["a"])
    calls(home)
    home.remove("a")
    assert ("promote", f"{home.base()}/graph/b") in calls(home)
    assert (home.list(), contents(home.path("b")), contents(home.path("c"))) == (["b", "c"], {"f": "x"}, {"f": "x"})
    home.remove("b")
    home.remove("c")
    assert home._run.snapshots == {}  # type: ignore[attr-defined]


def test_names_are_read_from_lists_without_headers(tmp_path: Path) -> None:
    """``zfs list -H``: no header, columns separated by one tab (zfs-list(8))."""
    answer = "p/x/graph\np/x/graph/b\np/x/graph/a\np/x/graph/a/made-by-hand\n"
    run = Answers(answer)
    assert ZFS(str(tmp_path), options=["zfs.fsname=p/x"], run=run).list() == ["a", "b"]
    assert run.calls == [("list", "-H", "-r", "-t", "filesystem", "-o", "name", "p/x/graph")]


def test_status_is_in_the_words_of_the_original(tmp_path: Path) -> None:
    run = Answers("1.21G\t20.5G\t1.87x\n")
    assert ZFS(str(tmp_path), options=["zfs.fsname=p/x"], run=run).status() == [
        ("Parent Dataset", "p/x"),
        ("Space Used By Parent", "1.21G"),
        ("Space Available", "20.5G"),
        ("Compression ratio", "1.87x"),
    ]


def test_what_is_there_and_not_mounted_is_mounted(tmp_path: Path) -> None:
    run = Answers("p/x/graph/a\n")
    assert ZFS(str(tmp_path), options=["fsname=p/x"], run=run).exists("a")
    assert run.calls[-1] == ("mount", "p/x/graph/a")
    assert not ZFS(str(tmp_path), options=["fsname=p/x"], run=Answers(tools.said("dataset does not exist"))).exists("a")


def test_refusals_of_the_program_are_driver_errors(tmp_path: Path) -> None:
    run = Answers("p/x/graph/a\n", "", "p/x\t-\n", tools.said("cannot destroy 'p/x/graph/a': dataset is busy"))
    with pytest.raises(DriverError, match="dataset is busy"):
        ZFS(str(tmp_path), options=["fsname=p/x"], run=run).remove("a")
    with pytest.raises(DriverError, match="cannot open"):
        ZFS(str(tmp_path), run=Answers(tools.said("cannot open '/': not a ZFS filesystem"))).setup()


def test_a_look_up_that_fails_is_a_driver_error_too(tmp_path: Path) -> None:
    driver = ZFS(str(tmp_path), options=["fsname=p/x"], run=tools.tool("layerlog-no-such-tool"))
    for look in (driver.list, driver.staged, partial(driver.exists, "a"), partial(driver.in_trash, "1-a")):
        with pytest.raises(DriverError, match="not installed"):
            look()


def test_a_name_that_zfs_cannot_have_is_refused(tmp_path: Path) -> None:
    run = Answers()
    with pytest.raises(InvalidID, match="zfs"):
        ZFS(str(tmp_path), options=["fsname=p/x"], run=run).exists("a b@c")
    assert run.calls == []


def test_it_is_never_chosen_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "probe", lambda name, root: "" if name in ("zfs", "vfs") else "no")
    assert choose.first_working("/") == "vfs"
