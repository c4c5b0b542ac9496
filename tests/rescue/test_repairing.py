"""``repair --from`` other stores: what they hold is taken by digest, what they hold wrongly is not, and they stay as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.eventstore.errors import InvalidArchive, InvalidImage
from layerlog.repairing import plan_repair
from tests.drivers import tars
from tests.layerlog.test_other_programs import skopeo
from tests.rescue import world
from tests.rescue.test_damage import follow, listing, state

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store on vfs, the image that it came from, and a second store that was loaded from it, too."""
    folder = tmp_path_factory.mktemp("repairing")
    world.make(folder, "vfs")
    with Store(folder / "second", driver="vfs") as store:
        store.load(str(folder / "oci"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def broken(healthy: Path, tmp_path: Path) -> world.Broken:
    """Without a layer that others stand on, with a changed file in another one, without the image's manifest."""
    world.copy(healthy / "store", tmp_path / "store")
    found = world.Broken(tmp_path, "vfs")
    for damage in (world.base_gone, world.file_changed, world.manifest_gone):
        damage(found)
    return found


def test_another_store_gives_layers_and_items_by_digest(healthy: Path, broken: world.Broken, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(healthy / "second")
    follow(broken.root, [healthy / "second"], capsys)
    assert state(broken.root) == state(healthy / "store")
    assert listing(healthy / "second") == before


@pytest.mark.root
@pytest.mark.parametrize("driver", ["vfs", "overlay"])
def test_a_root_that_the_original_made_gives_them_too_and_stays_as_it_is(
    healthy: Path, broken: world.Broken, tmp_path: Path, driver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    skopeo(f"oci:{healthy}/oci:built:1", f"containers-storage:[{driver}@{theirs}+{tmp_path}/theirs-run]localhost/app:1")
    if driver == "overlay":  # containers-storage mounts that folder on itself, and leaves it so
        subprocess.run(["umount", str(theirs / driver)], check=True)
    before = listing(theirs)
    follow(broken.root, [theirs], capsys)
    assert listing(theirs) == before
    with Store(broken.root) as store:
        assert [str(one) for one in store.check()] == []
        assert [store.layer(one.id).contents for one in store.layers()]
    found, wanted = state(broken.root), state(healthy / "store")
    assert {name for name in wanted if found[name] != wanted[name]} <= {("image", broken.image.id)}, "skopeo may write another manifest"


def test_what_another_store_holds_wrongly_is_not_taken(
    healthy: Path, broken: world.Broken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.copy(healthy / "second", tmp_path / "second")
    with Store(tmp_path / "second") as second:
        for layer in second.layers():
            for path in Path(second.driver.path(layer.id)).rglob("*"):
                if path.is_file():
                    path.write_bytes(b"!" * path.stat().st_size)
    where = ["layerlog", "--graph", str(broken.root), "repair", "--from", str(tmp_path / "second")]
    assert main([*where, "--yes"]) == 1
    said = capsys.readouterr().out
    assert "file integrity checksum failed" in said
    assert said.splitlines()[-1] == "next: layerlog repair --give-up"
    with Store(broken.root) as store:
        assert not store.driver.exists(broken.base.id)
        assert store.driver.staged() == []


def test_what_is_no_source_is_refused_and_nothing_changes(broken: world.Broken, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign" / "vfs-layers").mkdir(parents=True)
    (tmp_path / "foreign" / "vfs-layers" / "layers.json").write_text("[{")
    (tmp_path / "text").write_text("no archive")
    before = listing(broken.root)
    with Store(broken.root, read_only=True) as store:
        for name in ("empty", "foreign", "text", "missing"):
            with pytest.raises((InvalidImage, InvalidArchive)):
                plan_repair(store, [str(tmp_path / name)], [])
    assert {name: data for name, data in listing(broken.root).items() if os.path.basename(name) != "position"} == {
        name: data for name, data in before.items() if os.path.basename(name) != "position"
    }


@pytest.mark.root
def test_a_layer_with_id_maps_gets_its_own_owners_again(tmp_path: Path) -> None:
    maps = [{"container_id": 0, "host_id": 100000, "size": 65536}]
    with Store(tmp_path / "store", driver="vfs") as store:
        store.import_layer(tars.stream(tars.folder(b"d", uid=3), tars.file(b"d/f", b"1", uid=5)), id="base")
        store.import_layer(tars.stream(tars.file(b"d/n", b"2", uid=7)), "base", id="mapped", uid_map=maps, gid_map=maps)
        root = Path(store.driver.path("mapped"))
        (root / "d/n").chmod(0o600)
        plan_repair(store, [], []).carry_out(store)
        assert [(root / name).stat().st_uid for name in ("", "d", "d/f", "d/n")] == [100000, 100003, 100005, 100007]
        assert list(store.check()) == []
