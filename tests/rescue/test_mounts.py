"""Mounts that vanished, that nobody counts, that live elsewhere, that are busy; boots that nobody noticed; who works on what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.drivers.driver import MountOptions
from layerlog.eventstore import position
from layerlog.mount_states import ELSEWHERE, OK, STRANGE, UNCOUNTED, VANISHED, mount_states
from layerlog.recovering import recover_all

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store on overlay."""
    return Store(tmp_path / "root", tmp_path / "run", "overlay")


def states(store: Store) -> list[tuple[str, str, int]]:
    return [(one.state, one.id, one.count) for one in mount_states(store)]


def umount(path: str) -> None:
    subprocess.run(["umount", path], check=True)


@pytest.mark.root
def test_a_mount_that_vanished_is_told_and_counted_no_more(store: Store) -> None:
    box = store.create_container()
    path = store.mount(box.id)
    assert states(store) == [(OK, box.layer, 1)]
    umount(path)
    assert states(store) == [(VANISHED, box.layer, 1)]
    assert [line for line in recover_all(store) if box.layer in line]
    assert states(store) == []
    assert store.mount_count(box.id) == 0


@pytest.mark.root
def test_mounting_again_what_vanished_counts_from_one(store: Store) -> None:
    box = store.create_container()
    store.mount(box.id)
    umount(store.mount(box.id))
    store.mount(box.id)
    assert store.mount_count(box.id) == 1
    assert store.unmount(box.id)
    assert states(store) == []


@pytest.mark.root
def test_a_mount_behind_the_stores_back_is_taken_away_by_recover(store: Store) -> None:
    base = store.create_layer()
    store.mount(base.id)
    store.unmount(base.id)
    store.driver.mount(base.id, [], MountOptions())
    assert states(store) == [(UNCOUNTED, base.id, 0)]
    recover_all(store)
    assert states(store) == []
    assert not store.driver.mounted(base.id)


@pytest.mark.root
def test_what_is_mounted_inside_the_store_and_is_no_layer_is_named_and_left(store: Store, tmp_path: Path) -> None:
    layer = store.create_layer()
    store.mount(layer.id)
    store.unmount(layer.id)
    strange = store.driver.path(layer.id) + "/diff"
    (tmp_path / "else").mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path / "else"), strange], check=True)
    try:
        assert [(one.state, one.path) for one in mount_states(store)] == [(STRANGE, strange)]
        recover_all(store)
        assert [one.state for one in mount_states(store)] == [STRANGE]
    finally:
        umount(strange)


@pytest.mark.root
def test_a_busy_mount_goes_out_of_sight_at_once(store: Store) -> None:
    box = store.create_container()
    path = store.mount(box.id)
    with open(os.path.join(path, "open"), "w") as held:
        held.write("held")
        assert store.unmount(box.id)
        assert not store.driver.mounted(box.id)
        assert states(store) == []
        held.flush()
    path = store.mount(box.id)
    assert Path(path, "open").read_text() == "held"
    store.unmount(box.id)


@pytest.mark.root
def test_a_mount_in_another_namespace_is_elsewhere_until_that_is_gone(store: Store, tmp_path: Path) -> None:
    box = store.create_container()
    opened = f"Store({store.root!r}, {store.run_root!r})"
    code = f"from layerlog import Store; import time; {opened}.mount({box.id!r}); print(1, flush=True); time.sleep(99)"
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", code]
    other = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"1"
        assert states(store) == [(ELSEWHERE, box.layer, 1)]
        assert recover_all(store) == []
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    until = time.monotonic() + 20
    while states(store) != [(VANISHED, box.layer, 1)] and time.monotonic() < until:
        time.sleep(0.05)  # the kernel takes the namespace away
    recover_all(store)
    assert states(store) == []


def test_a_boot_that_nobody_noticed_voids_all_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        box = store.create_container()
        store.mount(box.id)
        assert store.mount_count(box.id) == 1
    monkeypatch.setattr(position, "_boot_id", bytes(range(16)))
    with Store(tmp_path / "root", tmp_path / "run") as store:
        assert mount_states(store) == []
        assert store.mount_count(box.id) == 0


def test_the_command_shows_both_and_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    where = ["layerlog", "--graph", str(tmp_path / "root"), "-s", "vfs"]
    with Store(tmp_path / "root", driver="vfs") as store:
        box = store.create_container(names=["box"])
        path = store.mount(box.id)
    assert main([*where, "mounts"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["box", "1", "ok", path]
    assert main([*where, "mounts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"id": box.layer, "name": "box", "path": path, "count": 1, "state": "ok"}]


def test_status_names_who_holds_a_lease_and_the_writer_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path / "root", driver="vfs") as store, store.lease("abc", "an experiment"), store.ledger.exclusively():
        main(["layerlog", "--graph", str(tmp_path / "root"), "status"])
        shown = capsys.readouterr().out
    assert f"(PID {os.getpid()}), an experiment" in next(line for line in shown.splitlines() if line.startswith("Lease abc: "))
    assert next(line for line in shown.splitlines() if line.startswith("Writer Lock: ")).endswith(f"(PID {os.getpid()})")
