"""A store moves to another driver: every layer verified, one commit, the old tree in the trash; killed anywhere it goes on or back."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.drivers.choose import open_driver
from layerlog.drivers.driver import MountOptions
from layerlog.eventstore.errors import Conflict, ContentsDamaged, InUse, InvalidRequest, StoreError
from layerlog.migrating import migrate
from layerlog.recovery import StoreMigrated
from tests.crash import children, seams
from tests.drivers import tars
from tests.file_systems import btrfs_folder
from tests.layerlog.litter import left_behind
from tests.rescue import world
from tests.rescue.test_damage import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = os.environ.get("LAYERLOG_CRASH") == "long"
WAYS = (("vfs", "overlay"), ("overlay", "vfs"), ("vfs", "btrfs"), ("overlay", "btrfs"), ("btrfs", "overlay"))
KILLS = 12
KILLS_ON_BTRFS = 4
pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-to-{way[1]}")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """A folder with a healthy store, its driver, and the other one; on a btrfs where one of them is that."""
    folder = tmp_path_factory.mktemp("migrate")
    with btrfs_folder(folder) if "btrfs" in request.param else nullcontext(folder) as place:
        world.make(place / "prepared", request.param[0])
        yield place / "prepared", *request.param
        shutil.rmtree(place / "prepared")


@pytest.fixture
def place(prepared: tuple[Path, str, str]) -> Iterator[Path]:
    """An empty folder on the same file system."""
    folder = prepared[0].parent / "copies"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def copy(source: Path, target: Path) -> None:
    """As world.copy, and subvolumes stay what they are."""
    world.copy(source, target)
    layers = target / "btrfs" / "subvolumes"
    for layer in sorted(layers.iterdir()) if layers.is_dir() else ():
        layer.rename(aside := target / "aside")
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(layer)], check=True)
        subprocess.run(["cp", "-aT", "--reflink=auto", str(aside), str(layer)], check=True)
        shutil.rmtree(aside)


def looked_at(root: Path) -> dict[tuple[str, str], Any]:
    """What there is, with the trees of containers; the diff of a layer that was opened differs from driver to driver."""
    found = state(root)
    with Store(root) as store:
        assert [str(finding) for finding in store.check()] == []
        for layer in store.layers():
            if layer.opened or layer.contents is None:
                found["layer", layer.id] = (*found["layer", layer.id], tree(store, layer.id))
    return found


def tree(store: Store, layer_id: str) -> dict[str, str]:
    """Every file of a layer as its users see it."""
    top = Path(store.driver.mount(layer_id, store.chain(layer_id), MountOptions()))
    found = {}
    for path in sorted(top.rglob("*")):
        found[str(path.relative_to(top))] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else oct(path.lstat().st_mode)
    store.driver.unmount(layer_id)
    return found


def test_everything_is_there_in_the_other_driver(prepared: tuple[Path, str, str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, old, new = prepared
    copy(folder / "store", place / "store")
    before = looked_at(place / "store")
    where = ["layerlog", "--graph", str(place / "store"), "migrate", "--to", new]
    assert main(where) == 0
    assert "nothing was changed yet" in capsys.readouterr().out
    assert main([*where, "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: layerlog check"
    assert looked_at(place / "store") == before
    with Store(place / "store") as store:
        assert store.driver_name == new
        assert [one.id for one in store.trash()] == [f"old-tree-{old}"]
        with pytest.raises(Conflict, match=f"migrate --to {old}"):
            store.restore(f"old-tree-{old}")
        store.empty_trash()
        assert left_behind(store) == []
    assert sorted(name for name in os.listdir(place / "store") if name.startswith(old)) == []


def test_layers_with_id_maps_keep_their_owners(tmp_path: Path) -> None:
    maps: Any = [{"container_id": 0, "host_id": 100000, "size": 65536}]
    with Store(tmp_path / "store", tmp_path / "run", "vfs", options=["sync=none"]) as store:
        store.import_layer(tars.stream(tars.folder(b"d", uid=3), tars.file(b"d/f", b"1", uid=5), tars.file(b"g", b"1")), id="base")
        for name in ("imported", "written"):
            store.import_layer(tars.stream(tars.file(b"d/n", b"22", uid=7)), "base", id=name, uid_map=maps, gid_map=maps)
        store.create_layer("base", id="empty", uid_map=maps, gid_map=maps)
        Path(store.mount("written"), "g").write_text("333")
        store.unmount("written")
        before = {name: owners(store, name) for name in ("base", "imported", "written", "empty")}
        assert {owner // 100000 for owner in before["imported"].values()} == {1}
        migrate(store, "overlay")
    with Store(tmp_path / "store", tmp_path / "run") as store:
        assert {name: owners(store, name) for name in before} == before
        assert [finding.id for finding in store.check()] == ["written"], "what was written through the mount, and nothing else"


def owners(store: Store, layer_id: str) -> dict[str, int]:
    root = Path(store.mount(layer_id))
    try:
        return {str(path.relative_to(root)): path.lstat().st_uid for path in root.rglob("*")}
    finally:
        store.unmount(layer_id)


def test_a_damaged_layer_stops_it_and_nothing_is_left(prepared: tuple[Path, str, str], place: Path) -> None:
    folder, old, new = prepared
    copy(folder / "store", place / "store")
    broken = world.Broken(place, old)
    if old == "btrfs":
        world.garble(place / "store" / "btrfs" / "subvolumes" / broken.top.id / "new", 10, 5)
    else:
        world.file_changed(broken)
    with Store(place / "store") as store, pytest.raises(ContentsDamaged):
        migrate(store, new)
    assert sorted(name for name in os.listdir(place / "store") if name.startswith(new)) == []
    with Store(place / "store") as store:
        assert store.recovered == []
        assert store.driver_name == old


def test_what_is_mounted_or_made_meanwhile_is_not_left_behind(prepared: tuple[Path, str, str], place: Path) -> None:
    folder, old, new = prepared
    copy(folder / "store", place / "store")
    with Store(place / "store") as store:
        box = store.containers()[0]
        store.mount(box.id)
        with pytest.raises(Conflict, match="unmount everything first"):
            migrate(store, new)
        store.unmount(box.id)
        with pytest.raises(InvalidRequest):
            migrate(store, old)
        with Store(place / "store") as other:
            migrate(store, new)
            with pytest.raises(StoreError):
                other.import_layer(io.BytesIO(b""))
            with pytest.raises(StoreError):
                other.delete_image(other.images()[0].id)
    assert not (place / "store" / f"{old}-layerlog").exists()


def test_killed_anywhere_it_goes_on_or_back(prepared: tuple[Path, str, str], place: Path) -> None:
    folder, old, new = prepared
    before = looked_at(folder / "store")
    root = place / "store"

    def session(watcher: seams.Watcher) -> Callable[[Callable[[Any], None]], None]:
        def run(say: Callable[[Any], None]) -> None:
            seams.install(watcher)
            migrate(Store(root), new)
            say(watcher.calls)

        return run

    copy(folder / "store", root)
    calls = children.run(session(seams.Watcher())).said[0]
    kills, closely = (KILLS_ON_BTRFS, 4) if "btrfs" in (old, new) else (KILLS, 9)
    every = 1 if LONG else len(calls) // kills
    last = [] if LONG else range(len(calls) - closely, len(calls))
    ended = set()
    for at in sorted({*range(every // 2, len(calls), every), *last}):
        shutil.rmtree(root)
        copy(folder / "store", root)
        died = children.run(session(seams.Killer(at)))
        assert died.status == children.KILLED, died.trace
        with Store(root) as store:
            ended.add(store.driver_name)
            found = store.driver_name
        assert looked_at(root) == before, f"killed at call {at} of {len(calls)}, {calls[at]}"
        other = old if found == new else new
        assert sorted(name for name in os.listdir(root) if name.startswith(other)) == [], f"killed at call {at}, {calls[at]}"
    assert ended == {old, new}


def test_the_old_driver_by_name_says_where_the_store_is(prepared: tuple[Path, str, str], place: Path) -> None:
    assert StoreMigrated(root="r", driver="overlay").advice() == "layerlog --storage-driver overlay …"


def test_what_a_program_could_write_while_the_store_moves_is_not_left_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that is made and taken away again leaves no trace in the journal: the copy made before it would be the old contents."""
    with Store(place / "root", driver="vfs") as store, Store(place / "root") as other:
        box = store.create_container()
        Path(store.mount(box.id), "written").write_text("before")
        store.unmount(box.id)
        refused = []

        def opened(*given: Any) -> Any:
            driver = open_driver(*given)
            sync = driver.sync_places

            def late() -> None:
                with pytest.raises(InUse, match="migrate to overlay") as found:
                    Path(other.mount(box.id), "written").write_text("after")
                refused.append(found)
                sync()

            monkeypatch.setattr(driver, "sync_places", late)
            return driver

        monkeypatch.setattr("layerlog.migrating.open_driver", opened)
        migrate(store, "overlay")
    assert refused
    with Store(place / "root") as store:
        assert Path(store.mount(box.id), "written").read_text() == "before"
        store.unmount(box.id)
