"""What a program did in a mounted layer, told by Debian's containers-storage and by us, on overlay."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.drivers.choose import open_driver, probe
from layerlog.drivers.driver import MountOptions
from tests.drivers import tars
from tests.drivers.corpus import CAPABILITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.drivers.changes import Change
    from layerlog.drivers.driver import Driver

pytestmark = [
    pytest.mark.skipif(shutil.which("containers-storage") is None, reason="containers-storage is not installed to compare with"),
    pytest.mark.root,
]

WHEN = 1_600_000_123
BASE = tars.archive(
    *[tars.folder(b"d"), tars.file(b"d/a", b"aaa"), tars.file(b"d/b", b"bbb"), tars.folder(b"e"), tars.file(b"e/c", b"cccc")],
    *[tars.folder(b"e/deep"), tars.file(b"e/deep/x", b"x"), tars.file(b"f", b"12345"), tars.file(b"g", b"777"), tars.symlink(b"s", b"f")],
    *[tars.folder(b"t", 0o1777), tars.file(b"h1", b"hard"), tars.hard_link(b"h2", b"h1"), tars.fifo(b"p")],
)


def stamp(*paths: str) -> None:
    for path in paths:
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)


def put(path: str, text: str = "new") -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    stamp(path)


def emptied(root: str) -> None:
    os.unlink(root + "/d/a")
    os.unlink(root + "/d/b")


def made_anew(root: str) -> None:
    shutil.rmtree(root + "/e")
    os.mkdir(root + "/e")
    put(root + "/e/new")
    stamp(root + "/e")


def to_folder(root: str) -> None:
    os.unlink(root + "/f")
    os.mkdir(root + "/f")
    put(root + "/f/in")


def new_tree(root: str) -> None:
    os.makedirs(root + "/n/o")
    put(root + "/n/o/p")


def folder_to_file(root: str) -> None:
    shutil.rmtree(root + "/e")
    put(root + "/e")


def folder_to_symlink(root: str) -> None:
    shutil.rmtree(root + "/e")
    os.symlink("d", root + "/e")
    stamp(root + "/e")


def other_symlink(root: str) -> None:
    os.unlink(root + "/s")
    os.symlink("g", root + "/s")
    stamp(root + "/s")


def copied_away(root: str) -> None:
    shutil.copytree(root + "/e", root + "/e2")
    shutil.rmtree(root + "/e")


def new_links(root: str) -> None:
    put(root + "/n1", "nnn")
    os.link(root + "/n1", root + "/n2")
    os.link(root + "/n1", root + "/d/n3")


def specials(root: str) -> None:
    os.mkfifo(root + "/pipe")
    os.mknod(root + "/null", 0o600 | 0o020000, os.makedev(1, 3))
    stamp(root + "/pipe", root + "/null")


def made_again(root: str) -> None:
    os.unlink(root + "/f")
    put(root + "/f", "12345")


def made_and_removed(root: str) -> None:
    put(root + "/x")
    os.unlink(root + "/x")


def odd_names(root: str) -> None:
    for name in ("d-x", "d.y", "d/zz"):
        put(f"{root}/{name}")


DOINGS: dict[str, Callable[[str], object]] = {
    "nothing": lambda root: None,
    "a new file": lambda root: put(root + "/new"),
    "a new file deep inside": lambda root: put(root + "/e/deep/new"),
    "a new tree": new_tree,
    "a file written": lambda root: put(root + "/f", "54321x"),
    "a file written with the same size": lambda root: put(root + "/f", "54321"),
    "the mode of a file": lambda root: os.chmod(root + "/f", 0o600),
    "the mode of a folder": lambda root: os.chmod(root + "/d", 0o700),
    "the owner of a file": lambda root: os.chown(root + "/f", 5, 6),
    "the time of a file": lambda root: stamp(root + "/f"),
    "the time of a folder": lambda root: stamp(root + "/d"),
    "an xattr of a file": lambda root: os.setxattr(root + "/f", "user.k", b"v"),
    "an xattr of a folder": lambda root: os.setxattr(root + "/d", "user.k", b"v"),
    "a capability": lambda root: os.setxattr(root + "/f", "security.capability", CAPABILITY),
    "a file removed": lambda root: os.unlink(root + "/d/a"),
    "all of a folder removed": emptied,
    "a folder removed": lambda root: shutil.rmtree(root + "/e"),
    "a folder made anew": made_anew,
    "a file that becomes a folder": to_folder,
    "a folder that becomes a file": folder_to_file,
    "a folder that becomes a symlink": folder_to_symlink,
    "another target of a symlink": other_symlink,
    "a file renamed": lambda root: os.rename(root + "/f", root + "/f2"),
    "a file renamed over another": lambda root: os.rename(root + "/f", root + "/g"),
    "a folder copied and removed": copied_away,
    "a hard link to an old file": lambda root: os.link(root + "/f", root + "/d/l"),
    "hard links of a new file": new_links,
    "one of two hard links written": lambda root: put(root + "/h1", "other"),
    "a pipe and a device": specials,
    "a file removed and made again": made_again,
    "a file made and removed": made_and_removed,
    "names that sort oddly": odd_names,
    "a name that is not UTF-8": lambda root: put(root + "/caf\udce9"),
    "a large file": lambda root: put(root + "/big", "x" * 3_000_000),
    "a file opened for writing": lambda root: os.close(os.open(root + "/f", os.O_RDWR)),
}
OURS_SAYS_MORE = {
    "a folder made anew": "the original lists it as deleted; both hide what it held, with a marker or name by name",
    "a file that becomes a folder": "the original cannot list that",
    "an xattr of a folder": "the original does not list that, though its diff has it",
}


class Pair:
    """The original and ours, each with the same layers on overlay."""

    def __init__(self, folder: Path) -> None:
        self._front = ["containers-storage", "-g", str(folder / "graph"), "-R", str(folder / "run"), "-s", "overlay"]
        self.ours: Driver = open_driver("overlay", str(folder / "ours"))
        self.ours.setup()
        self.ours.stage("base", []).apply(io.BytesIO(BASE))
        self.ours.place("base")
        self.theirs("import-layer", "-i", "base", stdin=BASE)

    def theirs(self, *words: str, stdin: bytes = b"") -> bytes:
        return subprocess.run([*self._front, *words], input=stdin, capture_output=True, check=True).stdout

    def do(self, doing: Callable[[str], object]) -> None:
        self.theirs("create-layer", "-i", "box", "base")
        doing(self.theirs("mount", "box").decode().strip())
        self.theirs("unmount", "box")
        self.ours.create("box", ["base"])
        doing(self.ours.mount("box", ["base"], MountOptions()))
        self.ours.unmount("box")

    def undo(self) -> None:
        self.theirs("delete-layer", "box")
        self.ours.remove("box")


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    """Not on tmpfs, where a folder has another size, and is listed by the original, when a name in it came."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        if why := probe("overlay", folder):
            pytest.skip(f"the kernel refuses overlay: {why}")
        yield Pair(Path(folder))
        subprocess.run(["umount", "-R", f"{folder}/graph/overlay"], stderr=subprocess.DEVNULL, check=False)


def lines(changes: Iterator[Change]) -> list[str]:
    """As ``changes`` prints them."""
    from layerlog.cli.gojson import quoted

    return sorted(f"{('Modify', 'Add', 'Delete')[one.kind]} {quoted(os.fsdecode(one.path))}" for one in changes)


def members(data: bytes) -> list[tuple[Any, ...]]:
    """Everything but the times of folders and whiteouts, which the original takes from the clock, and the kind in its modes."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            gone = "/.wh." in "/" + member.name
            xattrs = {key: value for key, value in member.pax_headers.items() if "xattr" in key}
            content = archive.extractfile(member) if member.isreg() else None
            facts = (member.mode & 0o7777, member.uid, member.gid, member.size, "" if gone else member.linkname, xattrs)
            when = 0 if gone or member.isdir() else member.mtime
            device = (member.devmajor, member.devminor)
            found.append((member.name, member.type, *facts, when, device, content.read() if content else b""))
    return found


@pytest.mark.parametrize("name", DOINGS)
def test_what_was_written_is_told_as_the_original_tells_it(name: str, both: Pair) -> None:
    both.do(DOINGS[name])
    try:
        ours = lines(both.ours.changes("box", ["base"]))
        size = both.ours.diff_size("box", ["base"])
        assert f"{size}\n".encode() == both.theirs("diffsize", "box")
        made = b"".join(both.ours.diff("box", ["base"]))
        assert made == b"".join(both.ours.diff("box", ["base"]))
        if name in OURS_SAYS_MORE:
            assert ours
            return
        assert ours == sorted(both.theirs("changes", "box").decode().splitlines())
        assert members(made) == members(both.theirs("diff", "-u", "box"))
    finally:
        both.undo()
