"""What every driver must do, asked of each of them alike."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers import durable, tarsplit
from layerlog.drivers.changes import ADD, DELETE, MODIFY
from layerlog.drivers.driver import IDMap, MountOptions
from layerlog.eventstore.errors import ContentsDamaged, DriverError, InvalidArchive, InvalidMappings, NotSupported
from tests.drivers import tars
from tests.drivers.tars import contents, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerlog.drivers.driver import Driver


def layer(driver: Driver, layer_id: str, chain: Sequence[str], *members: bytes) -> io.BytesIO:
    """Make a layer of these members; returns its tar-split data."""
    split = io.BytesIO()
    staged = driver.stage(layer_id, chain)
    staged.apply(tars.stream(*members), tar_split=split)
    staged.sync()
    driver.place(layer_id)
    split.seek(0)
    return split


def seen(driver: Driver, *chain: str) -> dict[str, str]:
    """What a mount of the chain shows."""
    mounted = driver.mount(chain[0], chain[1:], MountOptions())
    try:
        return contents(mounted)
    finally:
        driver.unmount(chain[0])


def base(driver: Driver) -> None:
    layer(
        driver,
        "base",
        [],
        tars.folder(b"d"),
        tars.file(b"d/a", b"a"),
        tars.file(b"d/b", b"b"),
        tars.folder(b"e"),
        tars.file(b"e/c", b"c"),
        tars.file(b"f", b"f"),
    )


class TestLife:
    def test_a_new_home_is_empty_and_closed(self, driver: Driver) -> None:
        assert (driver.list(), driver.staged(), driver.trash()) == ([], [], [])
        for folder in (driver.home, driver.home + "/staging", driver.home + "/trash"):
            assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        driver.setup()

    def test_staged_contents_are_nowhere_until_they_are_placed(self, driver: Driver) -> None:
        staged = driver.stage("a", [])
        staged.apply(tars.stream(tars.file(b"f", b"x")))
        assert (driver.list(), driver.staged(), driver.exists("a")) == ([], ["a"], False)
        staged.sync()
        driver.place("a")
        assert (driver.list(), driver.staged(), driver.exists("a")) == (["a"], [], True)
        assert seen(driver, "a") == {"f": "x"}

    def test_placing_twice_is_placing_once(self, driver: Driver) -> None:
        base(driver)
        driver.place("base")
        assert seen(driver, "base")["f"] == "f"

    def test_placing_replaces_derived_folders(self, driver: Driver) -> None:
        base(driver)
        driver.create("a", ["base"])
        layer(driver, "a", ["base"], tars.file(b"new", b"x"))
        assert seen(driver, "a", "base")["new"] == "x"

    def test_placing_what_is_neither_staged_nor_there_is_an_error(self, driver: Driver) -> None:
        with pytest.raises(DriverError, match="nothing is staged"):
            driver.place("a")

    def test_an_empty_layer_looks_as_its_parent(self, driver: Driver) -> None:
        base(driver)
        driver.create("child", ["base"])
        driver.create("child", ["base"])
        assert seen(driver, "child", "base") == seen(driver, "base")
        assert list(driver.changes("child", ["base"])) == []

    def test_staging_again_forgets_the_first_try(self, driver: Driver) -> None:
        with pytest.raises(InvalidArchive):
            driver.stage("a", []).apply(io.BytesIO(tars.file(b"first", b"x") + b"junk"))
        assert driver.staged() == ["a"]
        layer(driver, "a", [], tars.file(b"second", b"x"))
        assert seen(driver, "a") == {"second": "x"}

    def test_discarding_is_thorough_and_repeatable(self, driver: Driver) -> None:
        base(driver)
        driver.stage("a", ["base"]).apply(tars.stream(tars.folder(b"closed", 0), tars.file(b"closed/f")))
        driver.discard("a")
        driver.discard("a")
        assert (driver.staged(), driver.list()) == ([], ["base"])

    def test_removing_is_thorough_and_repeatable(self, driver: Driver) -> None:
        base(driver)
        driver.remove("base")
        driver.remove("base")
        assert driver.list() == []

    def test_removing_never_follows_a_symlink(self, driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> None:
        outside = tmp_path_factory.mktemp("outside")
        (outside / "precious").write_text("x")
        layer(driver, "a", [], tars.folder(b"d"), tars.symlink(b"d/s", os.fsencode(outside)), tars.symlink(b"t", os.fsencode(outside)))
        driver.remove("a")
        assert (outside / "precious").read_text() == "x"

    def test_a_deep_tree_can_be_removed(self, driver: Driver) -> None:
        name = b"d/" * 1500 + b"f"
        layer(driver, "deep", [], tars.file(b"x", records={b"path": name}))
        driver.remove("deep")
        assert driver.list() == []


class TestGenerations:
    def test_the_next_generation_takes_the_place_of_the_last(self, driver: Driver) -> None:
        base(driver)
        layer(driver, "a", ["base"], tars.file(b"one", b"1"), tars.file(b"both", b"1"))
        staged = driver.stage("a", ["base"], base="a")
        staged.apply(tars.stream(tars.file(b"both", b"2"), tars.file(b"two", b"2"), tars.whiteout(b"f"), tars.whiteout(b"one")))
        staged.sync()
        assert "one" in seen(driver, "a", "base")
        driver.swap("a")
        found = seen(driver, "a", "base")
        assert (found["both"], found["two"], found["d/a"]) == ("2", "2", "a")
        assert not {"one", "f"} & set(found)
        assert driver.staged() == []

    def test_swapping_with_nothing_staged_does_nothing(self, driver: Driver) -> None:
        base(driver)
        before = seen(driver, "base")
        driver.swap("base")
        driver.swap("base")
        assert seen(driver, "base") == before

    def test_a_swap_cut_short_anywhere_is_completed_by_the_next(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each rename and each removal of the swap is failed in turn; the repeated swap must end with the new generation."""
        for stop in range(12):
            layer(driver, "a", [], tars.file(b"old", b"1"))
            driver.stage("a", []).apply(tars.stream(tars.file(b"new", b"2")))
            fail_after(stop, monkeypatch)
            try:
                driver.swap("a")
            except DriverError:
                pass
            monkeypatch.undo()
            driver.swap("a")
            assert seen(driver, "a") == {"new": "2"}, f"cut after {stop} steps"
            assert (driver.staged(), driver.superseded()) == ([], [])
            driver.remove("a")


def fail_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every change of the file system after this many fail."""
    done = [0]

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: str) -> None:
            done[0] += 1
            if done[0] > steps:
                raise OSError(5, "cut short")
            real(*arguments)

        return step

    for name in ("rename", "remove_tree", "sync_folder", "symlink", "unlink"):
        monkeypatch.setattr(durable, name, counted(getattr(durable, name)))


class TestTrash:
    def test_a_layer_comes_back_as_it_was(self, driver: Driver) -> None:
        base(driver)
        before = seen(driver, "base")
        assert driver.put_aside("base", "7-base")
        assert (driver.list(), driver.trash(), driver.in_trash("7-base")) == ([], ["7-base"], True)
        driver.bring_back("7-base", "base")
        driver.bring_back("7-base", "base")
        assert (driver.list(), driver.trash()) == (["base"], [])
        assert seen(driver, "base") == before

    def test_putting_aside_can_be_repeated(self, driver: Driver) -> None:
        base(driver)
        assert [driver.put_aside("base", "7-base"), driver.put_aside("base", "7-base")] == [True, True]
        assert (driver.list(), driver.trash()) == ([], ["7-base"])

    def test_freeing_is_thorough_and_repeatable(self, driver: Driver) -> None:
        base(driver)
        driver.put_aside("base", "7-base")
        driver.free("7-base")
        driver.free("7-base")
        assert driver.trash() == []

    def test_a_mounted_layer_is_unmounted_first(self, driver: Driver) -> None:
        base(driver)
        driver.create("c", ["base"])
        driver.mount("c", ["base"], MountOptions())
        driver.put_aside("c", "8-c")
        driver.free("8-c")
        assert not driver.trash()
        assert seen(driver, "base")["f"] == "f"

    def test_without_room_for_a_rename_the_layer_stays_and_that_is_said(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        base(driver)

        def full(old: str, new: str) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(durable, "rename", full)
        assert not driver.put_aside("base", "7-base")
        assert (driver.list(), driver.in_trash("7-base")) == (["base"], False)


class TestDiffs:
    CHANGES = (
        tars.file(b"d/new", b"n"),
        tars.whiteout(b"d/b"),
        tars.whiteout(b"e"),
        tars.file(b"f", b"changed"),
        tars.folder(b"g"),
        tars.symlink(b"g/s", b"../f"),
        tars.hard_link(b"g/h", b"f"),
    )

    def changed(self, driver: Driver) -> None:
        base(driver)
        layer(driver, "top", ["base"], *self.CHANGES)

    def test_changes_name_every_path_and_the_folders_above(self, driver: Driver) -> None:
        self.changed(driver)
        assert [(change.kind, change.path) for change in driver.changes("top", ["base"])] == [
            (MODIFY, b"/d"),
            (DELETE, b"/d/b"),
            (ADD, b"/d/new"),
            (DELETE, b"/e"),
            (MODIFY, b"/f"),
            (ADD, b"/g"),
            (ADD, b"/g/h"),
            (ADD, b"/g/s"),
        ]

    def test_changes_of_a_base_layer_are_all_of_it(self, driver: Driver) -> None:
        base(driver)
        assert {(change.kind, change.path) for change in driver.changes("base", [])} == {
            (ADD, path) for path in (b"/d", b"/d/a", b"/d/b", b"/e", b"/e/c", b"/f")
        }

    def test_a_diff_applied_elsewhere_gives_the_same_tree(self, driver: Driver) -> None:
        self.changed(driver)
        made = b"".join(driver.diff("top", ["base"]))
        driver.stage("copy", ["base"]).apply(io.BytesIO(made))
        driver.place("copy")
        assert seen(driver, "copy", "base") == seen(driver, "top", "base")
        assert b"".join(driver.diff("copy", ["base"])) == made

    def test_a_diff_against_any_other_layer_leads_from_it(self, driver: Driver) -> None:
        self.changed(driver)
        layer(driver, "other", [], tars.file(b"only", b"o"), tars.file(b"f", b"of another size"))
        back = b"".join(driver.diff("base", [], ["top", "base"]))
        driver.stage("undone", ["top", "base"]).apply(io.BytesIO(back))
        driver.place("undone")
        assert seen(driver, "undone", "top", "base") == seen(driver, "base")
        across = b"".join(driver.diff("top", ["base"], ["other"]))
        driver.stage("crossed", ["other"]).apply(io.BytesIO(across))
        driver.place("crossed")
        assert seen(driver, "crossed", "other") == seen(driver, "top", "base")

    def test_the_entries_are_as_the_original_makes_them(self, driver: Driver) -> None:
        self.changed(driver)
        with tarfile.open(fileobj=io.BytesIO(b"".join(driver.diff("top", ["base"])))) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == ["d", "d/.wh.b", "d/new", ".wh.e", "f", "g", "g/h", "g/s"]
        assert [(member.mode, member.size) for member in members if ".wh." in member.name] == [(0, 0), (0, 0)]
        assert [member.linkname for member in members if member.islnk()] == ["f"]
        assert {(member.uname, member.gname) for member in members} == {("", "")}
        assert all(member.mtime == int(member.mtime) for member in members)

    def test_diff_size_counts_contents_once(self, driver: Driver) -> None:
        self.changed(driver)
        assert driver.diff_size("top", ["base"]) == len("changed") + len("n") + len("../f")  # of a symlink, its target
        assert driver.diff_size("base", []) == 4

    def test_owners_are_mapped_back(self, driver: Driver) -> None:
        base(driver)
        maps = [IDMap(0, os.geteuid(), 10)], [IDMap(5, os.getegid(), 10)]
        with tarfile.open(fileobj=io.BytesIO(b"".join(driver.diff("base", [], None, *maps)))) as tar:
            assert {(member.uid, member.gid) for member in tar} == {(0, 5)}
        with pytest.raises(InvalidMappings):
            list(driver.diff("base", [], None, [IDMap(0, 10**6, 1)], [IDMap(0, 10**6, 1)]))

    def test_a_socket_is_left_out(self, driver: Driver) -> None:
        import socket

        driver.create("c", [])
        root = driver.mount("c", [], MountOptions())
        os.chmod(root, 0o755)
        fd = os.open(root, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{fd}/s")
        os.close(fd)
        driver.unmount("c")
        assert b"".join(driver.diff("c", [])) == bytes(1024)

    def test_a_layer_written_through_a_mount_gives_the_diff_of_what_was_written(self, driver: Driver) -> None:
        base(driver)
        driver.create("c", ["base"])
        root = driver.mount("c", ["base"], MountOptions())
        os.unlink(root + "/f")
        os.rename(root + "/d/a", root + "/d/renamed")
        with open(root + "/e/c", "a") as file:
            file.write("+")
        os.mkdir(root + "/x")
        expected = contents(root)
        driver.unmount("c")
        made = b"".join(driver.diff("c", ["base"]))
        driver.stage("copy", ["base"]).apply(io.BytesIO(made))
        driver.place("copy")
        assert seen(driver, "copy", "base") == expected

    def test_a_folder_replaced_by_one_of_the_same_name_is_replaced(self, driver: Driver) -> None:
        base(driver)
        layer(driver, "top", ["base"], tars.whiteout(b"d"), tars.folder(b"d"), tars.file(b"d/only", b"o"))
        assert {path for path in seen(driver, "top", "base") if path.startswith("d")} == {"d", "d/only"}
        made = b"".join(driver.diff("top", ["base"]))
        driver.stage("copy", ["base"]).apply(io.BytesIO(made))
        driver.place("copy")
        assert seen(driver, "copy", "base") == seen(driver, "top", "base")


class TestExactTars:
    def test_a_layer_gives_back_its_tar(self, driver: Driver) -> None:
        base(driver)
        members = TestDiffs.CHANGES
        split = layer(driver, "top", ["base"], *members)
        assert b"".join(tarsplit.reassemble(driver, "top", split)) == tars.archive(*members)

    def test_a_layer_changed_since_is_noticed(self, driver: Driver) -> None:
        split = layer(driver, "a", [], tars.file(b"d/f", b"content"))
        root = driver.mount("a", [], MountOptions())
        with open(root + "/d/f", "w") as file:
            file.write("CONTENT")
        driver.unmount("a")
        with pytest.raises(ContentsDamaged, match="file integrity checksum failed"):
            list(tarsplit.reassemble(driver, "a", split))

    def test_open_file_never_leaves_the_layer(self, driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> None:
        outside = tmp_path_factory.mktemp("outside")
        (outside / "precious").write_text("x")
        layer(
            driver,
            "a",
            [],
            tars.symlink(b"out", os.fsencode(outside)),
            tars.symlink(b"f", os.fsencode(outside) + b"/precious"),
            tars.folder(b"d"),
            tars.fifo(b"p"),
        )
        for path in (b"out/precious", b"f", b"../../../../../etc/passwd", b"d", b"", b"p", b"/etc/passwd"):
            with pytest.raises(OSError):
                driver.open_file("a", path)


def test_the_whole_of_a_big_file_survives(driver: Driver) -> None:
    data = os.urandom(5_000_001)
    split = layer(driver, "a", [], tars.file(b"big", data))
    whole = hashlib.sha256()
    for piece in tarsplit.reassemble(driver, "a", split):
        whole.update(piece)
    assert whole.digest() == hashlib.sha256(tars.archive(tars.file(b"big", data))).digest()


def test_attributes_of_a_parent_are_those_of_its_child(driver: Driver) -> None:
    layer(
        driver,
        "a",
        [],
        tars.folder(b"d", 0o2751),
        tars.file(b"d/f", b"x", {b"SCHILY.xattr.user.k": b"v"}, mode=0o4750, mtime=77),
        tars.hard_link(b"d/g", b"d/f"),
    )
    driver.create("b", ["a"])
    root = driver.mount("b", ["a"], MountOptions())
    found = os.stat(root + "/d/f")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime, found.st_nlink) == (0o4750, 77, 2)
    assert os.getxattr(root + "/d/f", "user.k") == b"v"
    assert tree(root)["d"][1] == 0o2751
    driver.unmount("b")


def test_a_diff_never_has_a_file_whose_name_would_delete_another(driver: Driver) -> None:
    layer(driver, "a", [], tars.folder(b"d"), tars.file(b"d/f", b"1"))
    driver.create("c", ["a"])
    root = driver.mount("c", ["a"], MountOptions())
    with open(root + "/d/.wh.f", "w") as file:
        file.write("x")
    with pytest.raises(NotSupported, match=r"'d/\.wh\.f'"):
        list(driver.diff("c", ["a"]))
    os.unlink(root + "/d/.wh.f")
    assert list(driver.diff("c", ["a"]))
    driver.unmount("c")


def test_hard_links_lead_anywhere_among_many_folders(driver: Driver) -> None:
    """More folders than are kept open: those of a link and of what it leads to are open at once, whichever were used last."""
    members = [tars.folder(b"t"), tars.file(b"t/f", b"1")]
    for number in range(300):
        members += [tars.folder(b"%d" % number), tars.file(b"%d/f" % number, b"2")]
    links = [b"%d/h" % number for number in (0, 98, 99, 100, 150, 199, 298, 299)]
    layer(driver, "a", [], *members, *(tars.hard_link(link, b"t/f") for link in links))
    found = seen(driver, "a")
    assert {link: found[link.decode()] for link in links} == dict.fromkeys(links, "1")


@pytest.mark.parametrize("marker", ["opaque", "deleted"])
def test_a_deep_tree_can_be_hidden_by_an_archive_that_brings_other_things(driver: Driver, marker: str) -> None:
    """Deeper than the stack of Python and the descriptors of a process would let a recursion go."""
    deep = b"/".join([b"deep"] * 600)
    layer(driver, "a", [], tars.folder(b"deep"), tars.pax({b"path": deep + b"/f"}) + tars.file(b"f", b"1"))
    layer(driver, "b", ["a"], tars.file(b"deep/new" if marker == "opaque" else b"new", b"2"), MARKERS[marker](b"deep"))
    assert seen(driver, "b", "a") == ({"deep": "/", "deep/new": "2"} if marker == "opaque" else {"new": "2"})


@pytest.mark.parametrize("members", [[tars.opaque(b"d")], [tars.whiteout(b"d")], [tars.whiteout(b"d/in")]])
def test_an_implied_folder_takes_nothing_from_one_that_the_archive_hides(driver: Driver, members: list[bytes]) -> None:
    layer(driver, "a", [], tars.folder(b"d", 0o700, uid=3), tars.folder(b"d/in", 0o1700, uid=4), tars.file(b"d/in/old", b"1"))
    layer(driver, "b", ["a"], *members, tars.file(b"d/in/x/new", b"2"))
    root = driver.mount("b", ["a"], MountOptions())
    found = [os.stat(os.path.join(root, name)) for name in ("d/in", "d/in/x")]
    assert [(stat.S_IMODE(one.st_mode), one.st_uid) for one in found] == [(0o755, 0), (0o755, 0)]
    assert os.listdir(root + "/d/in") == ["x"]
    driver.unmount("b")


MARKERS = {"opaque": tars.opaque, "deleted": tars.whiteout}


@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_root_hides_all_that_layers_below_have(driver: Driver, first: bool) -> None:
    """The kernel does not ask whether the root of a layer is opaque."""
    below = [tars.folder(b"d"), tars.file(b"d/old", b"1"), tars.folder(b"e"), tars.file(b"e/old", b"1"), tars.file(b"gone", b"secret")]
    layer(driver, "a", [], *below)
    members = [tars.folder(b"d"), tars.file(b"d/new", b"22"), tars.file(b"new", b"2")]
    layer(driver, "b", ["a"], *([tars.opaque(b"."), *members] if first else [*members, tars.opaque(b".")]))
    assert seen(driver, "b", "a") == {"d": "/", "d/new": "22", "new": "2"}
    found = {(change.kind, change.path) for change in driver.changes("b", ["a"])}
    assert found == {(0, b"/d"), (2, b"/d/old"), (1, b"/d/new"), (2, b"/gone"), (2, b"/e"), (1, b"/new")}


def test_errors_name_driver_operation_and_layer(driver: Driver) -> None:
    with pytest.raises(DriverError) as caught:
        driver.mount("nothing", [], MountOptions())
    assert (caught.value.data["driver"], caught.value.data["layer_id"]) == (driver.name, "nothing")
    assert isinstance(caught.value.__cause__, OSError)
