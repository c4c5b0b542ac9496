"""ID maps: copies with other owners where mounts cannot show them, and mounts that can, on vfs and overlay."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.drivers.idmaps import UnmappedID
from layerlog.eventstore.errors import InvalidMappings
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerlog.eventstore.events import MapEntry

pytestmark = pytest.mark.root

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep


def maps(host: int, size: int = 1000) -> dict[str, Any]:
    """Arguments of a create: IDs from 0 on are *host* and following."""
    entry: MapEntry = {"container_id": 0, "host_id": host, "size": size}
    return {"uid_map": [entry], "gid_map": [entry]}


def owned_tar(tool: str = "tool") -> bytes:
    """A setuid file of 5:6 with a capability, a hard link to it, a folder of 0:0 with a file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, mode, owner, content in (
            (tool, tarfile.REGTYPE, 0o4755, (5, 6), b"tool"),
            ("same", tarfile.LNKTYPE, 0o4755, (5, 6), b""),
            ("etc", tarfile.DIRTYPE, 0o755, (0, 0), b""),
            ("etc/f", tarfile.REGTYPE, 0o644, (0, 0), b"hi"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime, member.size = kind, mode, 1_600_000_000, len(content)
            member.uid, member.gid = owner
            member.linkname = tool if kind == tarfile.LNKTYPE else ""
            if name == tool:
                member.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


class Made:
    """A store with an image of one layer with owners, on one of the three ways to have maps."""

    def __init__(self, store: Store, shifts: bool) -> None:
        self.store, self.shifts = store, shifts
        store.import_layer(io.BytesIO(owned_tar()), id="base")
        store.create_image("base", id="im", names=["img"])


@pytest.fixture(params=["vfs", "overlay, copied", "overlay, mounted"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    driver, _, way = request.param.partition(", ")
    with Store(tmp_path / "root", tmp_path / "run", driver, idmapped_mounts=way == "mounted") as store:
        if way == "mounted" and not store.driver.can_shift():
            pytest.skip("the kernel lacks idmapped lower layers")
        yield Made(store, way == "mounted")
        store.shutdown(force=True)
        assert list(store.check(unreferenced_seconds=1e9)) == []
        assert left_behind(store) == []


def owners(root: str, *names: str) -> list[tuple[int, int]]:
    found = [os.lstat(os.path.join(root, name)) for name in names]
    return [(one.st_uid, one.st_gid) for one in found]


def test_a_container_sees_its_own_owners_and_everything_else_as_it_was(made: Made) -> None:
    container = made.store.create_container("img", id="c", **maps(100000))
    root = made.store.mount("c")
    assert owners(root, "", "tool", "etc/f") == [(100000, 100000), (100005, 100006), (100000, 100000)]
    tool = os.lstat(os.path.join(root, "tool"))
    assert (stat.S_IMODE(tool.st_mode), tool.st_mtime, tool.st_nlink) == (0o4755, 1_600_000_000, 2)
    assert tool.st_ino == os.lstat(os.path.join(root, "same")).st_ino
    assert os.getxattr(os.path.join(root, "tool"), "security.capability")[4:8] == CAPABILITY[4:8]
    assert container.uid_map == maps(100000)["uid_map"]


def test_a_copy_of_the_top_layer_is_made_once_and_is_no_copy_where_mounts_can_show_it(made: Made) -> None:
    first = made.store.create_container("img", **maps(100000))
    second = made.store.create_container("img", **maps(100000))
    parents = [made.store.layer(one.layer).parent for one in (first, second)]
    copies = made.store.image("img").mapped_layers
    assert parents == (["base", "base"] if made.shifts else [copies[0]] * 2)
    assert len(copies) == (0 if made.shifts else 1)
    for layer_id in copies:
        copy = made.store.layer(layer_id)
        assert copy.row["contents"] == made.store.layer("base").row["contents"]
        assert b"".join(made.store.diff(layer_id, compression=0)) == owned_tar()


def test_a_diff_tells_of_the_owners_inside(made: Made) -> None:
    container = made.store.create_container("img", **maps(100000))
    root = made.store.mount(container.id)
    with open(os.path.join(root, "new"), "w"):
        pass
    os.chown(os.path.join(root, "new"), 100001, 100002)
    assert [change.path for change in made.store.changes(container.layer)] == [b"/new"]
    with tarfile.open(fileobj=io.BytesIO(b"".join(made.store.diff(container.layer, compression=0)))) as archive:
        assert [(one.name, one.uid, one.gid) for one in archive] == [("new", 1, 2)]
    image = made.store.commit_container(container, name="img:2")
    assert made.store.chain(image.top_layer) == ["base"]
    plain = made.store.mount(made.store.create_container(image).id)
    assert owners(plain, "tool", "new") == [(5, 6), (1, 2)]


def test_a_layer_inherits_the_maps_of_its_parent_and_may_go_back_to_the_host_s(made: Made) -> None:
    if made.shifts:
        return  # layers are stored without maps
    made.store.create_layer("base", id="k1", **maps(300000))
    made.store.create_layer("k1", id="k2")
    made.store.create_layer("k2", id="back", host_uids=True, host_gids=True)
    assert made.store.layer("k2").uid_map == maps(300000)["uid_map"]
    assert owners(made.store.mount("k2"), "tool", "etc") == [(300005, 300006), (300000, 300000)]
    assert owners(made.store.mount("back"), "tool", "etc") == [(5, 6), (0, 0)]
    assert [list(made.store.changes(one)) for one in ("k1", "k2", "back")] == [[], [], []]
    assert list(made.store.changes("k1", "back")) == []


def test_a_tar_for_a_mapped_layer_is_unpacked_for_its_owners_and_comes_back_bit_for_bit(made: Made) -> None:
    made.store.import_layer(io.BytesIO(owned_tar()), id="mapped", **maps(400000))
    made.store.apply_diff("mapped", io.BytesIO(owned_tar()))
    shown = 0 if made.shifts else 400000
    assert owners(made.store.mount("mapped"), "tool", "etc") == [(shown + 5, shown + 6), (shown, shown)]
    assert b"".join(made.store.diff("mapped", compression=0)) == owned_tar()


def test_an_owner_outside_the_maps_is_an_error_and_nothing_is_made(made: Made) -> None:
    if made.shifts:
        return  # an owner outside shows as nobody
    with pytest.raises(UnmappedID, match="container ID 5 cannot be mapped to a host ID"):
        made.store.create_layer("base", **maps(100000, size=1))
    with pytest.raises(UnmappedID):
        made.store.create_container("img", **maps(100000, size=1))
    with pytest.raises(UnmappedID):
        made.store.import_layer(io.BytesIO(owned_tar()), **maps(100000, size=1))
    assert [one.id for one in made.store.layers()] == ["base"]


@pytest.mark.parametrize(
    "entries",
    [[(0, 1, 5), (3, 10, 5)], [(0, 1, 5), (10, 3, 5)], [(0, 1, 0)], [(0, 1 << 32, 1)]],
    ids=["inside", "outside", "empty", "beyond"],
)
def test_maps_that_do_not_fit_together_are_refused(made: Made, entries: list[tuple[int, int, int]]) -> None:
    wrong: list[Any] = [{"container_id": inside, "host_id": host, "size": size} for inside, host, size in entries]
    with pytest.raises(InvalidMappings):
        made.store.create_container("img", uid_map=wrong, gid_map=wrong)
    assert made.store.containers() == []


def test_an_image_is_mounted_read_only_as_the_host_s_ids_own_it(made: Made) -> None:
    made.store.create_container("img", **maps(100000))
    assert owners(made.store.mount("img", read_only=True), "tool") == [(5, 6)]


def test_an_image_is_deleted_with_its_copies(made: Made) -> None:
    made.store.delete_container(made.store.create_container("img", **maps(100000)).id)
    made.store.delete_container(made.store.create_container("img", **maps(200000)).id)
    copies = made.store.image("img").mapped_layers
    assert made.store.delete_image("img") == [*copies, "base"]
    assert made.store.layers() == []


def test_a_container_on_an_image_of_another_store_gets_its_owners_in_its_own_layer(made: Made, tmp_path: Path) -> None:
    with Store(
        tmp_path / "other", tmp_path / "other-run", made.store.driver_name, image_stores=[made.store.root], idmapped_mounts=made.shifts
    ) as other:
        container = other.create_container("img", id="c", **maps(100000))
        assert owners(other.mount("c"), "tool") == [(100005, 100006)]
        assert other.layer(container.layer).parent == "base"
        assert other.image("img").mapped_layers == []
        other.shutdown(force=True)


@pytest.mark.parametrize("parent", ["", "base"])
def test_an_own_image_of_another_stores_empty_layer_gives_containers_with_maps(made: Made, tmp_path: Path, parent: str) -> None:
    """Nobody made folders for an empty layer over there yet, and nothing may be made over there."""
    made.store.create_layer(parent, id="hollow")
    with Store(
        tmp_path / "other", tmp_path / "other-run", made.store.driver_name, image_stores=[made.store.root], idmapped_mounts=made.shifts
    ) as other:
        other.create_image("hollow", names=["own"])
        other.create_container("own", id="c", **maps(100000))
        root = other.mount("c")
        assert owners(root, *(["tool"] if parent else [])) == ([(100005, 100006)] if parent else [])
        assert owners(root, "") == [(100000, 100000)]
        other.shutdown(force=True)
        assert list(other.check(unreferenced_seconds=1e9)) == []
    made.store.delete_layer("hollow")


def test_a_stack_of_layers_is_shown_under_the_maps_as_it_is_without(made: Made) -> None:
    """Deletions and replaced folders of the layers below stay what they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in (".wh.tool", "etc/.wh..wh..opq", "etc/g"):
            member = tarfile.TarInfo(name)
            member.uid = member.gid = 7
            archive.addfile(member)
    made.store.import_layer(io.BytesIO(out.getvalue()), "base", id="top")
    made.store.create_image("top", names=["two"])
    root = made.store.mount(made.store.create_container("two", **maps(100000)).id)
    assert (sorted(os.listdir(root)), os.listdir(os.path.join(root, "etc"))) == (["etc", "same"], ["g"])
    assert owners(root, "same", "etc", "etc/g") == [(100005, 100006), (100000, 100000), (100007, 100007)]
    for copy in made.store.image("two").mapped_layers:
        assert made.store.chain(copy) == ["base"]
        assert b"".join(made.store.diff(copy, compression=0)) == out.getvalue()


def test_a_container_without_maps_on_an_image_with_maps_sees_the_host_s_ids(made: Made) -> None:
    made.store.create_layer("base", id="mapped", **maps(100000))
    made.store.create_image("mapped", names=["mapped:1"])
    container = made.store.create_container("mapped:1")
    assert owners(made.store.mount(container.id), "tool") == [(5, 6)]
    assert (container.uid_map, made.store.layer(container.layer).uid_map) == ([], [])
    assert owners(made.store.mount("mapped:1", read_only=True), "tool") == [(5, 6)]


def test_a_layer_with_owners_of_its_own_and_nothing_else_has_no_size(made: Made, tmp_path: Path) -> None:
    with Store(
        tmp_path / "other", tmp_path / "other-run", made.store.driver_name, image_stores=[made.store.root], idmapped_mounts=made.shifts
    ) as other:
        container = other.create_container("img", id="c", **maps(100000))
        assert (other.container_size("c"), other.diff_size(container.layer), list(other.changes(container.layer))) == (0, 0, [])


def test_a_diff_is_applied_to_a_mounted_layer_for_its_owners(made: Made) -> None:
    made.store.create_layer("base", id="mapped", **maps(100000))
    root = made.store.mount("mapped")
    made.store.apply_diff("mapped", io.BytesIO(owned_tar("file")))
    shown = 0 if made.shifts else 100000
    assert owners(root, "file", "tool") == [(shown + 5, shown + 6)] * 2
