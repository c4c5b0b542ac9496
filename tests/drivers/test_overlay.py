from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers import mounts, overlaymount
from layerlog.drivers.changes import compare
from layerlog.drivers.choose import first_working, probe
from layerlog.drivers.driver import MountOptions
from layerlog.drivers.overlay import Overlay, short_name
from layerlog.eventstore.errors import DriverError, InvalidID, NotSupported
from tests.drivers import tars
from tests.drivers.tars import contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    why = probe("overlay", str(tmp_path))
    if why:
        pytest.skip(f"the kernel refuses overlay: {why}")
    driver = Overlay(str(tmp_path / "root"))
    driver.setup()
    yield driver
    for layer_id in driver.list():
        driver.unmount(layer_id)


def layer(driver: Overlay, layer_id: str, chain: list[str], *members: bytes) -> None:
    driver.stage(layer_id, chain).apply(tars.stream(*members))
    driver.place(layer_id)


def long_chain(driver: Overlay, length: int) -> list[str]:
    chain: list[str] = []
    for number in range(length):
        layer_id = f"{number:064x}"
        layer(driver, layer_id, chain, tars.file(b"f%d" % number), tars.file(b"top", b"%d" % number))
        chain.insert(0, layer_id)
    return chain


class TestShape:
    def test_folders_are_as_the_original_shapes_them(self, overlay: Overlay) -> None:
        layer(overlay, "base", [])
        overlay.create("child", ["base"])
        path = overlay.path("child")
        assert sorted(os.listdir(path)) == ["diff", "link", "lower", "merged", "work"]
        assert sorted(os.listdir(overlay.path("base"))) == ["diff", "empty", "link", "merged", "work"]
        with open(path + "/link") as link, open(path + "/lower") as lower:
            assert (link.read(), lower.read()) == (short_name("child"), "l/" + short_name("base"))
        assert os.readlink(f"{overlay.home}/l/{short_name('child')}") == "../child/diff"

    def test_a_short_name_is_26_capitals_and_digits(self) -> None:
        assert len(short_name("x")) == 26
        assert short_name("x").isalnum()
        assert short_name("x").isupper()

    def test_the_root_of_a_child_looks_as_that_of_its_parent(self, overlay: Overlay) -> None:
        layer(overlay, "base", [], tars.folder(b"./", 0o1710, uid=7, gid=8))
        overlay.create("child", ["base"])
        found = os.stat(overlay.path("child") + "/diff")
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o1710, 7, 8)

    @pytest.mark.parametrize("layer_id", ["l", "staging", "trash"])
    def test_ids_that_are_the_homes_own_folders_are_refused(self, overlay: Overlay, layer_id: str) -> None:
        with pytest.raises(InvalidID):
            overlay.create(layer_id, [])


class TestMounts:
    @pytest.mark.parametrize("length", [1, 2, 60, 320])
    def test_chains_of_any_length_are_mounted(self, overlay: Overlay, length: int) -> None:
        chain = long_chain(overlay, length)
        overlay.create("c", chain)
        merged = overlay.mount("c", chain, MountOptions())
        assert overlay.mounted("c")
        assert contents(merged) == {**{f"f{n}": "" for n in range(length)}, "top": str(length - 1)}
        assert overlay.mount("c", chain, MountOptions()) == merged
        assert [overlay.unmount("c"), overlay.unmount("c"), overlay.mounted("c")] == [True, False, False]

    def test_without_the_new_calls_a_helper_mounts_by_short_names(self, overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: object) -> None:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(overlaymount, "_mount_by_parts", missing)
        chain = long_chain(overlay, 90)
        overlay.create("c", chain)
        assert contents(overlay.mount("c", chain, MountOptions()))["top"] == "89"
        overlay.unmount("c")
        with pytest.raises(NotSupported, match=r"Linux 6\.5"):
            overlay.mount("c", chain * 3, MountOptions())

    def test_more_layers_than_the_kernel_takes_are_refused_with_the_number(self, overlay: Overlay) -> None:
        layer(overlay, "base", [])
        overlay.create("c", ["base"])
        with pytest.raises(NotSupported, match="500"):
            overlay.mount("c", ["base"] * 500, MountOptions())

    def test_a_chain_of_layers_with_long_paths_is_mounted(self, tmp_path: Path) -> None:
        driver = Overlay(str(tmp_path / ("r" * 200) / ("s" * 200)))
        driver.setup()
        chain = long_chain(driver, 20)
        driver.create("c", chain)
        assert contents(driver.mount("c", chain, MountOptions()))["top"] == "19"
        driver.unmount("c")

    @pytest.mark.parametrize("name", ["with:colon", "with,comma", "with\\backslash", "with space", "zażółć"])
    def test_a_root_with_an_odd_name_is_mounted(self, tmp_path: Path, name: str) -> None:
        driver = Overlay(str(tmp_path / name))
        driver.setup()
        for length in (1, 60):
            chain = long_chain(driver, length)
            driver.create(f"c{length}", chain)
            merged = driver.mount(f"c{length}", chain, MountOptions())
            assert contents(merged)["top"] == str(length - 1)
            assert mounts.below(merged) == [merged]
            driver.unmount(f"c{length}")
            for one in chain:
                driver.remove(one)

    @pytest.mark.parametrize("chain", [[], ["base"]])
    def test_a_read_only_mount_takes_no_writes(self, overlay: Overlay, chain: list[str]) -> None:
        layer(overlay, "base", [], tars.file(b"f", b"x"))
        overlay.create("c", chain)
        merged = overlay.mount("c", chain, MountOptions(read_only=True))
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(merged + "/new")
        overlay.unmount("c")
        assert os.listdir(overlay.path("c") + "/diff") == []

    def test_mount_options_reach_the_kernel(self, overlay: Overlay) -> None:
        layer(overlay, "base", [])
        overlay.create("c", ["base"])
        merged = overlay.mount("c", ["base"], MountOptions(options=["nodev", "nosuid"]))
        [line] = [mount for mount in mounts.all_mounts() if mount.point == merged]
        assert {"nodev", "nosuid"} <= set(line.options.split(","))

    def test_a_volatile_mount_can_be_mounted_again(self, overlay: Overlay) -> None:
        layer(overlay, "base", [])
        overlay.create("c", ["base"])
        for _ in range(2):
            overlay.mount("c", ["base"], MountOptions(volatile=True))
            overlay.unmount("c")

    def test_short_names_are_made_again_when_missing(self, overlay: Overlay) -> None:
        layer(overlay, "base", [], tars.file(b"f", b"x"))
        overlay.create("c", ["base"])
        shutil.rmtree(overlay.home + "/l")
        for name in ("work", "merged"):
            os.rmdir(f"{overlay.path('c')}/{name}")
        assert contents(overlay.mount("c", ["base"], MountOptions())) == {"f": "x"}
        assert sorted(os.listdir(overlay.home + "/l")) == sorted([short_name("base"), short_name("c")])

    def test_a_missing_lower_layer_is_an_error_that_names_the_path(self, overlay: Overlay) -> None:
        layer(overlay, "base", [])
        overlay.create("c", ["base"])
        overlay.remove("base")
        with pytest.raises(DriverError, match="base"):
            overlay.mount("c", ["base"], MountOptions())

    def test_a_busy_mount_is_gone_at_once(self, overlay: Overlay) -> None:
        layer(overlay, "base", [], tars.file(b"f", b"x"))
        overlay.create("c", ["base"])
        merged = overlay.mount("c", ["base"], MountOptions())
        with open(merged + "/f") as held:
            assert overlay.unmount("c")
            assert not overlay.mounted("c")
            assert held.read() == "x"


class TestUpper:
    def test_what_a_mount_writes_is_read_as_changes(self, overlay: Overlay) -> None:
        layer(
            overlay,
            "base",
            [],
            tars.folder(b"d"),
            tars.file(b"d/a", b"a"),
            tars.file(b"d/b", b"b"),
            tars.folder(b"e"),
            tars.file(b"e/c", b"c"),
        )
        overlay.create("c", ["base"])
        merged = overlay.mount("c", ["base"], MountOptions())
        os.unlink(merged + "/d/a")
        shutil.rmtree(merged + "/e")
        os.mkdir(merged + "/e")
        with open(merged + "/e/new", "w") as file:
            file.write("new")
        expected = contents(merged)
        assert [(c.kind, c.path) for c in overlay.changes("c", ["base"])] == [
            (0, b"/d"),
            (2, b"/d/a"),
            (0, b"/e"),
            (2, b"/e/c"),
            (1, b"/e/new"),
        ]
        overlay.unmount("c")
        made = io.BytesIO(b"".join(overlay.diff("c", ["base"])))
        overlay.stage("copy", ["base"]).apply(made)
        overlay.place("copy")
        assert contents(overlay.mount("copy", ["base"], MountOptions())) == expected

    def test_a_write_that_keeps_size_and_time_is_a_change_all_the_same(self, overlay: Overlay) -> None:
        layer(overlay, "base", [], tars.file(b"f", b"old"))
        overlay.create("c", ["base"])
        merged = overlay.mount("c", ["base"], MountOptions())
        before = os.stat(merged + "/f").st_mtime_ns
        with open(merged + "/f", "w") as file:
            file.write("new")
        os.utime(merged + "/f", ns=(before, before))
        assert [(c.kind, c.path) for c in overlay.changes("c", ["base"])] == [(0, b"/f")]

    def test_attributes_of_an_implied_folder_are_those_below(self, overlay: Overlay) -> None:
        layer(
            overlay,
            "base",
            [],
            tars.folder(b"tmp", 0o1777, mtime=5),
            tars.pax({b"SCHILY.xattr.user.k": b"v"}) + tars.folder(b"tmp/in", 0o2750, uid=3),
        )
        layer(overlay, "top", ["base"], tars.file(b"tmp/in/new", b"x"))
        overlay.create("c", ["top", "base"])
        merged = overlay.mount("c", ["top", "base"], MountOptions())
        found = os.stat(merged + "/tmp"), os.stat(merged + "/tmp/in")
        assert [stat.S_IMODE(one.st_mode) for one in found] == [0o1777, 0o2750]
        assert (found[0].st_mtime, found[1].st_uid, os.getxattr(merged + "/tmp/in", "user.k")) == (5, 3, b"v")

    def test_a_view_shows_what_a_mount_shows(self, overlay: Overlay) -> None:
        layer(
            overlay,
            "one",
            [],
            tars.folder(b"d"),
            tars.file(b"d/a", b"a"),
            tars.folder(b"e"),
            tars.file(b"e/x", b"x"),
            tars.file(b"f", b"f"),
        )
        layer(
            overlay,
            "two",
            ["one"],
            tars.whiteout(b"d"),
            tars.folder(b"d"),
            tars.file(b"d/b", b"b"),
            tars.whiteout(b"f"),
            tars.file(b"e/y", b"y"),
        )
        layer(overlay, "three", ["two", "one"], tars.opaque(b"e"), tars.file(b"e/z", b"z"), tars.file(b"f", b"again"))
        chain = ["three", "two", "one"]
        overlay.create("c", chain)
        merged = overlay.mount("c", chain, MountOptions())
        view = overlay._view(chain)
        assert view is not None
        shown = {change.path.decode()[1:] for change in compare(None, view)}
        assert shown == set(contents(merged)) == {"d", "d/b", "e", "e/z", "f"}


class TestProbe:
    def test_a_working_place_needs_no_reason_and_keeps_no_trace(self, tmp_path: Path) -> None:
        place = tmp_path / "not" / "yet"
        assert probe("overlay", str(place)) == ""
        assert first_working(str(place)) == "overlay"
        assert os.listdir(tmp_path) == []

    def test_a_place_on_overlay_says_why_not(self, overlay: Overlay) -> None:
        """Overlay on overlay: the kernel takes no overlay as upper folder."""
        overlay.create("c", [])
        merged = overlay.mount("c", [], MountOptions())
        assert probe("overlay", merged)
        assert first_working(merged) == "vfs"
        assert os.listdir(merged) == []


@pytest.mark.parametrize("mount_namespace", [True, False])
def test_in_a_user_namespace_of_an_ordinary_user(mount_namespace: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Native rootless overlay: whiteouts and opaque folders by ``user.overlay.*``; without its own mounts it says why not."""
    if not shutil.which("unshare") or not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("kernel refuses user namespaces (or no unshare)")
    import tempfile

    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        os.chown(place, 65534, 65534)
        program = f"""
            import io, os, sys
            sys.path.insert(0, {os.getcwd()!r})
            sys.dont_write_bytecode = True
            from layerlog.drivers.choose import first_working, probe
            from layerlog.drivers.driver import MountOptions
            from layerlog.drivers.overlay import Overlay
            from tests.drivers import tars
            print(probe("overlay", {place!r}) or "works", first_working({place!r}))
            if {mount_namespace}:
                driver = Overlay({place!r})
                driver.setup()
                own = dict(uid=0, gid=0)
                members = [tars.folder(b"d", **own), tars.file(b"d/a", b"a", **own), tars.folder(b"e", **own)]
                members.append(tars.file(b"e/c", b"c", **own))
                driver.stage("base", []).apply(tars.stream(*members))
                driver.place("base")
                members = [tars.whiteout(b"d/a"), tars.opaque(b"e"), tars.file(b"e/n", b"n", **own)]
                driver.stage("top", ["base"]).apply(tars.stream(*members))
                driver.place("top")
                driver.create("box", ["top", "base"])
                merged = driver.mount("box", ["top", "base"], MountOptions())
                print(sorted(tars.contents(merged)), os.listxattr(driver.path("top") + "/diff/e"))
                os.unlink(merged + "/e/n")
                os.rmdir(merged + "/d")
                os.makedirs(merged + "/d/x")
                print([(change.kind, change.path) for change in driver.changes("box", ["top", "base"])])
                expected = tars.contents(merged)
                driver.unmount("box")
                driver.stage("again", ["top", "base"]).apply(io.BytesIO(b"".join(driver.diff("box", ["top", "base"]))))
                driver.place("again")
                print(tars.contents(driver.mount("again", ["top", "base"], MountOptions())) == expected)
                driver.unmount("again")
                for one in driver.list():
                    driver.remove(one)
        """
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-Urm" if mount_namespace else "-Ur"]
        done = subprocess.run([*command, "/usr/bin/python3", "-c", textwrap.dedent(program)], capture_output=True, text=True)
        if "unshare failed" in done.stderr or "ModuleNotFoundError" in done.stderr or sys.version_info[:2] != (3, 11):
            pytest.skip(f"kernel refuses user namespaces: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        if not mount_namespace:
            assert done.stdout.startswith("the kernel refuses to mount here: ")
            assert done.stdout.endswith(" vfs\n")
            assert os.listdir(place) == []
            return
        assert done.stdout.splitlines() == [
            "works overlay",
            "['d', 'e', 'e/n'] ['user.overlay.opaque']",
            "[(0, b'/d'), (1, b'/d/x'), (0, b'/e'), (2, b'/e/n')]",
            "True",
        ]
