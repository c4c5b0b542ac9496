"""One store through two run roots: what one of them has mounted, the other one knows of."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.errors import Conflict, LayerMounted
from layerlog.migrating import migrate
from layerlog.mount_states import ELSEWHERE, OK, mount_states
from layerlog.recovering import recover_all
from layerlog.repairing import _not_mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVERS = ("vfs", "overlay") if os.geteuid() == 0 else ("vfs",)
OTHER = {"vfs": "overlay", "overlay": "vfs"}


@pytest.fixture(params=DRIVERS)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Store, str, Path]]:
    """The store twice, and a container that is mounted through the first, with what a program wrote into it."""
    with Store(tmp_path / "root", tmp_path / "one", request.param) as one, Store(tmp_path / "root", tmp_path / "two") as two:
        box = one.create_container()
        path = Path(one.mount(box.id))
        (path / "written").write_text("by a program")
        yield one, two, box.id, path
        for row in one.mounts():
            one.unmount(row[0], force=True)


def mounted(one: Store, box: str, path: Path) -> bool:
    return one.mount_count(box) == 1 and (path / "written").exists() and one.driver.mounted(one.container(box).layer) == path.is_mount()


def test_an_unmount_takes_away_no_mount_that_another_run_root_counts(both: tuple[Store, Store, str, Path]) -> None:
    one, two, box, path = both
    assert not two.unmount(box)
    assert two.mount(box) == str(path)
    assert not two.unmount(box)
    assert mounted(one, box, path)
    assert one.unmount(box)
    assert two.unmount(box, force=True)
    assert not path.is_mount()


def test_recover_and_check_leave_it_and_mounts_tells_it(both: tuple[Store, Store, str, Path]) -> None:
    one, two, box, path = both
    assert recover_all(two) == []
    assert list(two.check()) == []
    assert mounted(one, box, path)
    assert [(row.state, row.count) for row in mount_states(two)] == [(ELSEWHERE, 1)]
    assert [(row.state, row.count) for row in mount_states(one)] == [(OK, 1)]


def test_no_prune_repair_or_migration_takes_what_is_mounted_there(both: tuple[Store, Store, str, Path]) -> None:
    one, two, box, path = both
    assert two.prune(("container",)).going == []
    with pytest.raises(LayerMounted):
        _not_mounted(two, two.container(box).layer)
    with pytest.raises(Conflict, match="is mounted at"):
        migrate(two, OTHER[two.driver_name])
    assert mounted(one, box, path)
    one.unmount(box)
    assert [row.id for row in two.prune(("container",)).going] == [box]


def test_a_run_root_that_is_gone_or_of_another_boot_counts_nothing(both: tuple[Store, Store, str, Path]) -> None:
    one, two, box, path = both
    one.unmount(box)
    one.mount(box)
    shutil.rmtree(one.run_root)
    assert two.unmount(box)
    assert not path.is_mount()
    two.mount(box)
    assert len(os.listdir(two.folder("run-roots"))) == 1
    two.unmount(box)


def test_a_copy_of_the_store_does_not_count_the_mounts_of_the_original(both: tuple[Store, Store, str, Path], tmp_path: Path) -> None:
    one, _, box, _ = both
    one.unmount(box)
    shutil.copytree(tmp_path / "root", tmp_path / "copy", symlinks=True)
    one.mount(box)
    with Store(tmp_path / "copy", tmp_path / "three") as copy:
        copy.mount(box)
        assert copy.unmount(box)
        assert mount_states(copy) == []


@pytest.mark.root
def test_a_store_in_which_something_is_mounted_does_not_move(tmp_path: Path) -> None:
    """A folder with a mount in it can be renamed, and a mount point cannot: after the commit both would be too late."""
    store = Store(tmp_path / "root", driver="vfs")
    layer = store.create_layer()
    path = store.mount(layer.id)
    store.unmount(layer.id)
    (tmp_path / "data").mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path / "data"), path], check=True)
    try:
        with pytest.raises(Conflict, match="something is mounted at"):
            migrate(store, "overlay")
    finally:
        subprocess.run(["umount", path], check=True)
    migrate(store, "overlay")


def test_stores_that_share_a_run_root_leave_each_others_mounts_and_counts_alone(tmp_path: Path) -> None:
    with Store(tmp_path / "one", tmp_path / "run", "vfs") as one, Store(tmp_path / "two", tmp_path / "run", "vfs") as two:
        box = one.create_container()
        one.mount(box.id)
        assert mount_states(two) == []
        assert recover_all(two) == []
        assert two.shutdown(force=True) == []
        assert [(row.state, row.count) for row in mount_states(one)] == [(OK, 1)]
        assert one.shutdown(force=True) != []


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_half_of_a_split_store_knows_its_own_mounts(tmp_path: Path, driver: str) -> None:
    with Store(tmp_path / "root", driver=driver, image_store=tmp_path / "images") as store:
        base = store.create_layer(read_only=True)
        box = store.create_container(layer=base.id)
        points = {store.mount(base.id, read_only=True), store.mount(box.id)}
        halves = [half for half in store.halves if isinstance(half, Store)]
        assert [(row.state, row.count) for half in halves for row in mount_states(half)] == [(OK, 1), (OK, 1)]
        assert [line for half in halves for line in recover_all(half)] == []
        assert list(store.check()) == []
        assert set(store.shutdown(force=True)) == points
        assert [row for half in halves for row in mount_states(half)] == []
