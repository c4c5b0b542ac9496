from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

import pytest

from layerlog.drivers import applying, resolve
from layerlog.drivers.applying import Applied, Limits
from layerlog.drivers.extract import Extractor
from layerlog.eventstore.errors import ArchiveEscape, ArchiveLimit, InvalidArchive
from tests.drivers import tars
from tests.drivers.tars import contents, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CAP_NET_RAW = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)


@pytest.fixture(params=["openat2", "by component"], autouse=True)
def way_of_resolving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by component":
        monkeypatch.setattr(resolve.Folders, "_resolve", resolve.Folders._walk)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    """An empty layer beside something precious, which every test finds untouched."""
    (tmp_path / "layer").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    before = tree(str(tmp_path / "outside")), os.stat(tmp_path / "outside").st_mtime_ns
    yield str(tmp_path / "layer")
    assert (tree(str(tmp_path / "outside")), os.stat(tmp_path / "outside").st_mtime_ns) == before
    assert sorted(os.listdir(tmp_path)) == ["layer", "outside"]


def unpack(
    root: str,
    *members: bytes,
    fresh: bool | None = None,
    overlay: bool = False,
    limits: Limits | None = None,
    tar_split: io.BytesIO | None = None,
    lowers: Sequence[str] = (),
) -> Applied:
    extractor = Extractor(root, not os.listdir(root) if fresh is None else fresh, overlay, os.geteuid() != 0, lowers)
    try:
        return applying.apply(tars.stream(*members), extractor, limits, tar_split)
    finally:
        extractor.close()


class TestOrdinary:
    def test_all_kinds_arrive(self, root: str) -> None:
        unpack(
            root,
            tars.folder(b"d", 0o751),
            tars.file(b"d/f", b"x", mode=0o640),
            tars.symlink(b"d/s", b"f"),
            tars.hard_link(b"d/h", b"d/f"),
            tars.fifo(b"p"),
        )
        found = tree(root)
        assert found == {
            "d": ("folder", 0o751, ""),
            "d/f": ("file", 0o640, "x"),
            "d/h": ("file", 0o640, "x"),
            "d/s": ("symlink", 0, "f"),
            "p": ("special", stat.S_IFIFO, "0"),
        }
        assert os.stat(root + "/d/f").st_ino == os.stat(root + "/d/h").st_ino

    def test_times_of_folders_survive_what_is_put_into_them(self, root: str) -> None:
        unpack(root, tars.folder(b"d", mtime=111), tars.folder(b"d/e", mtime=222), tars.file(b"d/e/f", mtime=333), tars.file(b"d/g"))
        assert [os.stat(f"{root}/{path}").st_mtime for path in ("d", "d/e", "d/e/f")] == [111, 222, 333]

    @pytest.mark.parametrize("mtime", [-1, -86400 * 365, 0, 2**33])
    def test_times_before_1970_and_after_2106_are_kept(self, root: str, mtime: int) -> None:
        unpack(root, tars.file(b"f", mtime=mtime))
        assert os.stat(root + "/f").st_mtime == mtime

    def test_nanoseconds_are_kept(self, root: str) -> None:
        unpack(root, tars.file(b"f", records={b"mtime": b"1577836800.123456789"}))
        assert os.stat(root + "/f").st_mtime_ns == 1577836800123456789

    def test_folders_that_are_only_implied_are_0755(self, root: str) -> None:
        unpack(root, tars.file(b"a/b/c/f", b"x"))
        assert {path: mode for path, (kind, mode, _) in tree(root).items() if kind == "folder"} == {
            "a": 0o755,
            "a/b": 0o755,
            "a/b/c": 0o755,
        }

    def test_a_folder_described_after_its_contents_gets_its_attributes(self, root: str) -> None:
        unpack(root, tars.file(b"a/f"), tars.folder(b"a", 0o700, mtime=5))
        assert (stat.S_IMODE(os.stat(root + "/a").st_mode), os.stat(root + "/a").st_mtime) == (0o700, 5)

    def test_folders_closed_to_their_owner_can_be_filled(self, root: str) -> None:
        unpack(root, tars.folder(b"d", 0o000), tars.file(b"d/f", b"x", mode=0), tars.folder(b"d/e", 0o111), tars.file(b"d/e/g", b"y"))
        kept = 0 if os.geteuid() == 0 else 0o500  # an ordinary user could never remove it again
        assert stat.S_IMODE(os.stat(root + "/d").st_mode) == kept
        assert stat.S_IMODE(os.stat(root + "/d/e").st_mode) == 0o111 | kept

    def test_dot_members_and_doubled_slashes_mean_what_they_say(self, root: str) -> None:
        unpack(root, tars.folder(b"./", 0o711), tars.folder(b"./a"), tars.file(b".//a/./f", b"x"), tars.file(b"a/../g", b"y"))
        assert contents(root) == {"a": "/", "a/f": "x", "g": "y"}
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o711

    def test_symlinks_on_the_way_are_followed_inside(self, root: str) -> None:
        unpack(
            root,
            tars.folder(b"usr"),
            tars.folder(b"usr/bin"),
            tars.symlink(b"bin", b"usr/bin"),
            tars.symlink(b"abs", b"/usr/bin"),
            tars.file(b"bin/a", b"x"),
            tars.file(b"abs/b", b"y"),
        )
        assert contents(root) == {"usr": "/", "usr/bin": "/", "bin": "usr/bin", "abs": "/usr/bin", "usr/bin/a": "x", "usr/bin/b": "y"}

    def test_names_that_are_not_utf_8_arrive_as_bytes(self, root: str) -> None:
        unpack(root, tars.file(b"caf\xe9", b"x"))
        assert os.listdir(os.fsencode(root)) == [b"caf\xe9"]

    def test_deep_and_long_names_arrive(self, root: str) -> None:
        name = b"/".join([b"d" * 60] * 30) + b"/" + b"n" * 255
        unpack(root, tars.file(b"x", b"deep", records={b"path": name}))
        fd = os.open(root, os.O_PATH)
        for part in name.split(b"/")[:-1]:
            fd, old = os.open(part, os.O_PATH, dir_fd=fd), fd
            os.close(old)
        assert os.stat(b"n" * 255, dir_fd=fd).st_size == 4
        os.close(fd)

    def test_a_sparse_file_has_its_holes(self, root: str) -> None:
        records = {
            b"GNU.sparse.major": b"0",
            b"GNU.sparse.minor": b"1",
            b"GNU.sparse.size": b"10000000",
            b"GNU.sparse.map": b"0,3,5000000,2,9999999,1",
            b"GNU.sparse.name": b"s",
        }
        unpack(root, tars.file(b"x", b"abcdeZ", records))
        with open(root + "/s", "rb") as file:
            data = file.read()
        assert (data[:3], data[5000000:5000002], data[-1:], len(data)) == (b"abc", b"de", b"Z", 10_000_000)
        assert os.stat(root + "/s").st_blocks < 200

    def test_user_xattrs_arrive(self, root: str) -> None:
        unpack(root, tars.file(b"f", records={b"SCHILY.xattr.user.a": b"\0\xff=\n"}), tars.folder(b"d"))
        assert os.getxattr(root + "/f", "user.a") == b"\0\xff=\n"

    @pytest.mark.root
    def test_owners_devices_set_user_id_and_capabilities_arrive(self, root: str) -> None:
        unpack(
            root,
            tars.file(b"f", b"x", {b"SCHILY.xattr.security.capability": CAP_NET_RAW}, mode=0o6755, uid=3_000_000, gid=42),
            tars.device(b"null", 1, 3),
            tars.device(b"blk", 259, 70000, b"4"),
        )
        found = os.stat(root + "/f")
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (3_000_000, 42, 0o6755)
        assert os.getxattr(root + "/f", "security.capability") == CAP_NET_RAW
        assert os.stat(root + "/blk").st_rdev == os.makedev(259, 70000)

    @pytest.mark.skipif(os.geteuid() == 0, reason="an ordinary user's test")
    def test_what_an_ordinary_user_cannot_apply_is_said(self, root: str) -> None:
        applied = unpack(
            root,
            tars.file(b"f", records={b"SCHILY.xattr.security.capability": CAP_NET_RAW}, uid=0),
            tars.device(b"null", 1, 3),
            tars.hard_link(b"null2", b"null"),
        )
        assert applied.left_out == [
            (b"f", f"owner 0:{os.getegid()}"),
            (b"f", "xattr security.capability"),
            (b"null", "character device 1:3"),
            (b"null2", "hard link to what was left out"),
        ]

    def test_entries_and_owners_are_counted_without_whiteouts(self, root: str) -> None:
        uid = os.geteuid()
        applied = unpack(root, tars.folder(b"d"), tars.file(b"d/f"), tars.header(b".wh.gone", uid=77, gid=78))
        assert (applied.entries, applied.uids, applied.gids) == (3, [uid], [os.getegid()])


class TestReplacing:
    def test_a_name_removed_and_added_again_is_there(self, root: str) -> None:
        with open(root + "/f", "w") as file:
            file.write("old")
        for members in ((tars.whiteout(b"f"), tars.file(b"f", b"new")), (tars.file(b"f", b"new"), tars.whiteout(b"f"))):
            unpack(root, *members)
            assert contents(root) == {"f": "new"}

    def test_the_last_of_several_members_wins(self, root: str) -> None:
        unpack(root, tars.file(b"f", b"one"), tars.file(b"./f", b"two"))
        assert contents(root) == {"f": "two"}

    def test_replacing_one_name_of_a_hard_link_leaves_the_other(self, root: str) -> None:
        unpack(root, tars.file(b"a", b"one"), tars.hard_link(b"b", b"a"), tars.file(b"b", b"two"))
        assert contents(root) == {"a": "one", "b": "two"}

    @pytest.mark.parametrize("first", ["file", "folder", "symlink"])
    @pytest.mark.parametrize("second", ["file", "folder", "symlink", "fifo"])
    def test_any_kind_replaces_any_other(self, root: str, first: str, second: str) -> None:
        made = {
            "file": tars.file(b"x", b"f"),
            "folder": tars.folder(b"x") + tars.file(b"x/in"),
            "symlink": tars.symlink(b"x", b"t"),
            "fifo": tars.fifo(b"x"),
        }
        unpack(root, made[first])
        unpack(root, made[second])
        assert tree(root)["x"][0] == ("special" if second == "fifo" else second)

    def test_a_folder_met_again_keeps_its_contents_and_drops_old_xattrs(self, root: str) -> None:
        unpack(root, tars.pax({b"SCHILY.xattr.user.old": b"1"}) + tars.folder(b"d"), tars.file(b"d/f", b"x"))
        unpack(root, tars.pax({b"SCHILY.xattr.user.new": b"2"}) + tars.folder(b"d", 0o700))
        assert contents(root) == {"d": "/", "d/f": "x"}
        assert os.listxattr(root + "/d") == ["user.new"]

    def test_a_symlink_is_replaced_not_written_through(self, root: str) -> None:
        unpack(root, tars.symlink(b"x", b"../outside/precious"), tars.file(b"x", b"mine"))
        assert contents(root) == {"x": "mine"}


class TestWhiteouts:
    def fill(self, root: str) -> None:
        unpack(root, tars.file(b"keep", b"k"), tars.folder(b"d"), tars.file(b"d/a", b"a"), tars.folder(b"d/e"), tars.file(b"d/e/b", b"b"))

    def test_a_file_and_a_folder_with_all_below_are_deleted(self, root: str) -> None:
        self.fill(root)
        unpack(root, tars.whiteout(b"keep"), tars.whiteout(b"d/e"))
        assert contents(root) == {"d": "/", "d/a": "a"}

    def test_an_opaque_folder_keeps_what_this_archive_brings(self, root: str) -> None:
        self.fill(root)
        unpack(root, tars.folder(b"d"), tars.folder(b"d/e"), tars.file(b"d/e/new", b"n"), tars.opaque(b"d"), tars.file(b"d/later", b"l"))
        assert contents(root) == {"keep": "k", "d": "/", "d/e": "/", "d/e/new": "n", "d/later": "l"}

    def test_a_whiteout_after_the_folder_it_names_deletes_only_what_was_below(self, root: str) -> None:
        self.fill(root)
        unpack(root, tars.folder(b"d"), tars.file(b"d/new", b"n"), tars.whiteout(b"d"))
        assert contents(root) == {"keep": "k", "d": "/", "d/new": "n"}

    def test_a_whiteout_of_nothing_is_nothing(self, root: str) -> None:
        unpack(root, tars.whiteout(b"no"), tars.whiteout(b"no/such/path"), tars.opaque(b"neither"))
        assert contents(root) == {}

    def test_aufs_metadata_is_skipped(self, root: str) -> None:
        unpack(root, tars.file(b".wh..wh.aufs", b"x"), tars.folder(b".wh..wh.plnk"), tars.file(b"f"))
        assert contents(root) == {"f": ""}

    def test_a_whiteout_below_a_file_is_nothing(self, root: str) -> None:
        self.fill(root)
        unpack(root, tars.whiteout(b"keep/child"))
        assert contents(root)["keep"] == "k"

    @pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh..."])
    def test_a_whiteout_of_no_name_is_refused(self, root: str, name: bytes) -> None:
        self.fill(root)
        with pytest.raises(ArchiveEscape):
            unpack(root, tars.header(name))
        assert "keep" in contents(root)

    def test_a_whiteout_through_a_symlink_stays_inside(self, root: str) -> None:
        unpack(root, tars.symlink(b"out", b"../outside"), tars.symlink(b"abs", os.fsencode(os.path.dirname(root)) + b"/outside"))
        unpack(root, tars.whiteout(b"out/precious"), tars.whiteout(b"abs/precious"), tars.opaque(b"out"), tars.opaque(b"abs"))

    def test_a_whiteout_of_a_symlink_removes_the_symlink(self, root: str) -> None:
        unpack(root, tars.symlink(b"out", b"../outside"))
        unpack(root, tars.whiteout(b"out"))
        assert contents(root) == {}


class TestHostile:
    """Each ends with the fixture's look outside."""

    @pytest.mark.parametrize("name", [b"../x", b"../../../../x", b"/x", b"//x", b"a/../../x", b"./../x"])
    def test_names_that_lead_out_stay_inside(self, root: str, name: bytes) -> None:
        unpack(root, tars.file(name, b"in"))
        assert contents(root) == {"x": "in"}

    @pytest.mark.parametrize("target", [b"../outside", b"/../../outside", b"../../../../../../../..", b"/"])
    def test_a_symlink_cannot_carry_a_file_out(self, root: str, target: bytes) -> None:
        absolute = os.fsencode(os.path.dirname(root)) + b"/outside"
        for place, where in enumerate((target, absolute)):
            link = b"link%d" % place
            try:
                unpack(root, tars.symlink(link, where), tars.file(link + b"/new", b"x"), tars.file(link + b"/precious", b"x"))
            except InvalidArchive:
                continue  # nothing of that name inside: refused, or made inside

    def test_a_chain_of_symlinks_cannot_either(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(
                root,
                tars.folder(b"a"),
                tars.symlink(b"a/up", b".."),
                tars.symlink(b"b", b"a/up/../outside"),
                tars.file(b"b/precious", b"x"),
            )

    def test_a_loop_of_symlinks_ends(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.symlink(b"a", b"b"), tars.symlink(b"b", b"a"), tars.file(b"a/f"))

    def test_a_symlink_swapped_for_a_folder_while_unpacking_changes_the_way(self, root: str) -> None:
        unpack(
            root,
            tars.folder(b"d"),
            tars.file(b"d/one"),
            tars.whiteout(b"d"),
            tars.folder(b"e"),
            tars.symlink(b"d", b"e"),
            tars.file(b"d/two", b"2"),
        )
        assert contents(root) == {"d": "e", "e": "/", "e/two": "2"}

    @pytest.mark.parametrize("target", [b"../outside/precious", b"/../../outside/precious", b"link/precious"])
    def test_a_hard_link_cannot_name_what_is_outside(self, root: str, target: bytes) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.symlink(b"link", b"../outside"), tars.hard_link(b"h", target))

    def test_a_hard_link_to_a_symlink_links_the_symlink(self, root: str) -> None:
        unpack(root, tars.symlink(b"s", b"../outside/precious"), tars.hard_link(b"h", b"s"), tars.file(b"h", b"mine"))
        assert contents(root) == {"s": "../outside/precious", "h": "mine"}

    def test_a_hard_link_to_a_folder_is_refused(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.folder(b"d"), tars.hard_link(b"h", b"d"))

    @pytest.mark.parametrize("member", [tars.file(b"./"), tars.file(b".."), tars.symlink(b".", b"x"), tars.hard_link(b"h", b"..")])
    def test_the_root_is_not_replaced(self, root: str, member: bytes) -> None:
        with pytest.raises(ArchiveEscape):
            unpack(root, member)

    def test_a_path_through_a_file_is_refused(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.file(b"f", b"x"), tars.file(b"f/g", b"y"))

    def test_a_path_through_a_fifo_does_not_wait(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.fifo(b"p"), tars.file(b"p/g", b"y"))

    @pytest.mark.parametrize("kind", [b"V", b"M", b"Z", b"\x80"])
    def test_an_unknown_kind_is_refused_in_the_words_of_the_original(self, root: str, kind: bytes) -> None:
        with pytest.raises(InvalidArchive, match="unhandled tar header type"):
            unpack(root, tars.header(b"x", kind))

    def test_a_component_that_is_too_long_is_the_archives_fault(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.file(b"x", records={b"path": b"n" * 256}))

    @pytest.mark.parametrize("owner", [2**32 - 1, 2**32, 2**40, -1])
    def test_an_owner_that_is_none_is_refused(self, root: str, owner: int) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.header(b"x", uid=owner))

    @pytest.mark.parametrize("mtime", [2**62, -(2**62), 2**80])
    def test_an_absurd_time_is_no_crash(self, root: str, mtime: int) -> None:
        unpack(root, tars.header(b"x", mtime=mtime), tars.header(b"d/", b"5", mtime=mtime))

    def test_a_device_number_that_is_none_is_refused(self, root: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.device(b"x", 5000, 1))

    def test_a_declared_size_beyond_the_end_is_refused(self, root: str) -> None:
        with pytest.raises(InvalidArchive, match="unexpected EOF"):
            unpack(root, tars.header(b"x", size=1 << 50))


class TestLimits:
    def test_bytes(self, root: str) -> None:
        with pytest.raises(ArchiveLimit) as caught:
            unpack(root, tars.file(b"x", bytes(1 << 20)), limits=Limits(bytes_max=1 << 19))
        assert caught.value.data["limit"] == "bytes"

    def test_entries(self, root: str) -> None:
        with pytest.raises(ArchiveLimit, match="entries = 10"):
            unpack(root, *[tars.file(b"%d" % n) for n in range(11)], limits=Limits(entries_max=10))

    def test_name_length(self, root: str) -> None:
        with pytest.raises(ArchiveLimit):
            unpack(root, tars.file(b"x", records={b"path": b"d/" * 50}), limits=Limits(name_bytes_max=99))

    def test_ratio(self, root: str) -> None:
        import gzip

        bomb = io.BytesIO(gzip.compress(tars.archive(tars.file(b"x", bytes(80 << 20)))))
        extractor = Extractor(root, True)
        with pytest.raises(ArchiveLimit, match="ratio"):
            applying.apply(bomb, extractor, Limits(ratio_max=100))
        extractor.close()


class TestOverlayStyle:
    """On disk: deletions as devices 0:0, opaque folders by an xattr."""

    pytestmark = pytest.mark.root

    def opaque(self, root: str, path: str) -> bool:
        return "trusted.overlay.opaque" in os.listxattr(f"{root}/{path}")

    @pytest.fixture
    def lower(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        """A layer below that has something by every name that these tests delete."""
        made = str(tmp_path_factory.mktemp("lower"))
        unpack(made, *(tars.file(name) for name in (b"a/gone", b"d/x", b"e/x", b"f", b"g", b"h/i/j")))
        return made

    def test_a_whiteout_becomes_a_device(self, root: str, lower: str) -> None:
        unpack(root, tars.whiteout(b"a/gone"), overlay=True, lowers=[lower])
        assert tree(root)["a/gone"] == ("special", stat.S_IFCHR, "0")

    def test_a_whiteout_of_nothing_leaves_nothing(self, root: str, lower: str) -> None:
        unpack(root, tars.whiteout(b"no"), tars.whiteout(b"a/no"), tars.opaque(b"no"), tars.whiteout(b"f/x"), overlay=True, lowers=[lower])
        unpack(root, tars.whiteout(b"a"), fresh=True, overlay=True)
        assert tree(root) == {}

    def test_an_opaque_marker_becomes_an_xattr(self, root: str, lower: str) -> None:
        unpack(root, tars.folder(b"d"), tars.opaque(b"d"), tars.file(b"d/f", b"x"), tars.opaque(b"e"), overlay=True, lowers=[lower])
        assert self.opaque(root, "d")
        assert self.opaque(root, "e")
        assert contents(root) == {"d": "/", "d/f": "x", "e": "/"}

    def test_whiteouts_inside_an_opaque_folder_go(self, root: str, lower: str) -> None:
        unpack(root, tars.whiteout(b"h/i/j"), tars.opaque(b"h"), tars.whiteout(b"h/i"), overlay=True, lowers=[lower])
        assert contents(root) == {"h": "/"}

    def test_a_folder_added_after_its_deletion_hides_what_was_below(self, root: str, lower: str) -> None:
        members = tars.whiteout(b"d"), tars.folder(b"d"), tars.whiteout(b"e"), tars.file(b"e/implied")
        unpack(root, *members, overlay=True, lowers=[lower])
        assert self.opaque(root, "d")
        assert self.opaque(root, "e")

    def test_a_folder_deleted_after_it_was_added_hides_what_was_below(self, root: str, lower: str) -> None:
        members = tars.folder(b"d"), tars.file(b"d/f", b"x"), tars.whiteout(b"d"), tars.file(b"g", b"y"), tars.whiteout(b"g")
        unpack(root, *members, overlay=True, lowers=[lower])
        assert self.opaque(root, "d")
        assert contents(root) == {"d": "/", "d/f": "x", "g": "y"}

    def test_a_file_added_after_its_deletion_is_a_file(self, root: str, lower: str) -> None:
        unpack(root, tars.whiteout(b"f"), tars.file(b"f", b"x"), overlay=True, lowers=[lower])
        assert contents(root) == {"f": "x"}

    def test_a_hard_link_to_a_whiteout_is_refused(self, root: str, lower: str) -> None:
        with pytest.raises(InvalidArchive):
            unpack(root, tars.whiteout(b"f"), tars.hard_link(b"g", b"f"), overlay=True, lowers=[lower])

    def test_xattrs_of_overlay_itself_are_not_taken_from_an_archive(self, root: str) -> None:
        redirect = {
            b"SCHILY.xattr.trusted.overlay.redirect": b"/etc",
            b"SCHILY.xattr.user.overlay.metacopy": b"",
            b"SCHILY.xattr.user.mine": b"1",
        }
        applied = unpack(root, tars.pax(redirect) + tars.folder(b"d"), overlay=True)
        assert os.listxattr(root + "/d") == ["user.mine"]
        assert [what for _, what in applied.left_out] == ["xattr trusted.overlay.redirect", "xattr user.overlay.metacopy"]
