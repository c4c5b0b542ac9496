"""The same archives for Debian's containers-storage and for our drivers: the same tree, the same tar-split record, the same verdict.

Where they differ, ``DIFFERENT`` says how and why; docs/differences.md says it to users.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from layerlog.drivers import resolve, tarsplit
from layerlog.drivers.choose import open_driver, probe
from layerlog.eventstore.errors import StoreError
from tests.drivers import corpus, tars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from layerlog.drivers.driver import Driver

pytestmark = [
    pytest.mark.skipif(shutil.which("containers-storage") is None, reason="containers-storage is not installed to compare with"),
    pytest.mark.root,
]

ALL = {**corpus.FORMS, **corpus.REFUSED}
SPARSE = "the original records the size and sum of the whole file, and then cannot give the archive back"
NOT_KNOWN = "the original knows no members of this kind"
DIFFERENT = {
    "dot members": "the original does not give a layer's root the attributes that the archive has for it",
    "the root without a dot": "as above",
    "PAX times": "the original makes times before 1970 that of 1970",
    "base-256 numbers": "as above",
    "a global header": "the original makes the folder that the name of a global header implies",
    "xattrs of overlay itself": "they steer where a mount looks, so an archive does not set them here",
    "old GNU sparse": NOT_KNOWN,
    "old GNU sparse with many parts": NOT_KNOWN,
    "GNU tar, its own format": NOT_KNOWN,
    "kinds 7 and NUL": NOT_KNOWN,
    "PAX sparse 0.0": SPARSE,
    "PAX sparse 0.1": SPARSE,
    "PAX sparse 1.0": SPARSE,
    "GNU tar, PAX": SPARSE,
    "a folder removed and added again": "the original shows what was in it below, though the archive removed it",
    "an opaque root": "the kernel does not look for the mark there, so the original hides nothing",
    "whiteouts by other spellings": "the original records contents that no file holds, and then cannot give the archive back",
    "an xattr without a value": "the original takes it for none",
    "a hard link with other attributes than its file": "the original gives them to the file; tar, bsdtar and umoci do not",
    "whiteouts of nothing": "the original leaves devices that hide nothing",
    "AUFS metadata": "the original takes it for whiteouts",
    "a name twice": "the original cannot record such an archive",
    "an extended header without a member": "the original does not miss the member",
}  # fmt: skip
# The tree is the same for these all the same, or the record is.
SAME_TREE = {"whiteouts by other spellings", "PAX sparse 0.0", "PAX sparse 0.1", "PAX sparse 1.0", "GNU tar, PAX"}
SAME_RECORD = set(DIFFERENT) - SAME_TREE - {name for name, why in DIFFERENT.items() if why == NOT_KNOWN}
ON_OVERLAY_ONLY = {
    "an opaque root", "AUFS metadata", "xattrs of overlay itself", "whiteouts of nothing", "a folder removed and added again",
}  # fmt: skip

Tree = dict[bytes, tuple[Any, ...]]


class Seen(NamedTuple):
    """What became of one archive: the error, or tree, lines of the tar-split record, and owners."""

    error: str
    tree: Tree
    lines: list[bytes]
    owners: tuple[list[int], list[int]]


def tree(root: str, dated: set[bytes]) -> Tree:
    """Everything about every path; times only of those that the archive names."""
    found: Tree = {b".": shape(os.fsencode(root), b".", dated)}
    for at, folders, files in os.walk(os.fsencode(root)):
        for path in (os.path.join(at, name) for name in folders + files):
            name = os.path.relpath(path, os.fsencode(root))
            found[name] = shape(path, name, dated)
    return found


def shape(path: bytes, name: bytes, dated: set[bytes]) -> tuple[Any, ...]:
    seen = os.lstat(path)
    xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
    content = b""
    if stat.S_ISREG(seen.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    elif stat.S_ISLNK(seen.st_mode):
        content = os.readlink(path)
    links = 0 if stat.S_ISDIR(seen.st_mode) else seen.st_nlink
    when = seen.st_mtime_ns if name in dated else 0
    return oct(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_rdev, links, when, xattrs, content


def read_at_once(lines: list[bytes]) -> list[bytes]:
    """A record whose last entries, the end of the archive, are one.

    The original writes one for each read from a pipe (tar-split, ``NewInputTarStream``): on a busy machine two, by chance.
    """
    last = len(lines)
    while last and lines[last - 1].startswith(b'{"type":2,'):
        last -= 1
    ends = [json.loads(line) for line in lines[last:]]
    if len(ends) < 2:
        return lines
    payload = base64.b64encode(b"".join(base64.b64decode(one["payload"]) for one in ends)).decode()
    return [*lines[:last], json.dumps({**ends[0], "payload": payload}, separators=(",", ":")).encode()]


def named(lines: list[bytes]) -> set[bytes]:
    """Names of the members, cleaned, without whiteouts: what an archive gives a time."""
    entries = tarsplit.entries(io.BytesIO(b"".join(line + b"\n" for line in lines)))
    names = (one.name for one in entries if one.kind == tarsplit.FILE)
    return {os.path.normpath(name.lstrip(b"/")) for name in names if b".wh." not in name}


@pytest.fixture(scope="module", params=["vfs", "overlay"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The name of a driver and a folder for both."""
    folder = tmp_path_factory.mktemp(request.param)
    if why := request.param == "overlay" and probe("overlay", str(folder)):
        pytest.skip(f"the kernel refuses overlay: {why}")
    yield request.param, folder
    subprocess.run(["umount", "-R", str(folder / "graph" / "overlay")], stderr=subprocess.DEVNULL, check=False)


@pytest.fixture(scope="module")
def theirs(place: tuple[str, Path]) -> dict[str, Seen]:
    """What the original makes of each archive, on top of the same base."""
    kind, folder = place
    graph = folder / "graph"
    front = ["containers-storage", "-g", str(graph), "-R", str(folder / "run"), "-s", kind, "import-layer", "-i"]
    subprocess.run([*front, "base"], input=corpus.BASE, check=True, capture_output=True)
    errors = {}
    for number, (name, data) in enumerate(ALL.items()):
        done = subprocess.run([*front, f"l{number}", "base"], input=data, capture_output=True, check=False)
        errors[name] = done.stderr.decode(errors="replace") if done.returncode else ""
    with open(graph / f"{kind}-layers" / "layers.json", encoding="utf-8") as file:
        records = {record["id"]: record for record in json.load(file)}
    found = {}
    for number, (name, error) in enumerate(errors.items()):
        if error:
            found[name] = Seen(error, {}, [], ([], []))
            continue
        layer_id = f"l{number}"
        with gzip.open(graph / f"{kind}-layers" / f"{layer_id}.tar-split.gz") as split:
            lines = split.read().splitlines()
        if lines[-1].startswith(b'{"type":2,"payload":"",'):
            lines.pop()  # newer versions of the original do not write that
        lines = read_at_once(lines)
        root = graph / "overlay" / layer_id / "diff" if kind == "overlay" else graph / "vfs" / "dir" / layer_id
        record = records[layer_id]
        found[name] = Seen("", tree(str(root), named(lines)), lines, (record.get("uidset", []), record.get("gidset", [])))
    return found


@pytest.fixture(scope="module")
def driver(place: tuple[str, Path]) -> Driver:
    """Ours, with the same base."""
    made = open_driver(place[0], str(place[1] / "ours"))
    made.setup()
    made.stage("base", []).apply(io.BytesIO(corpus.BASE))
    made.place("base")
    return made


def seen_by(driver: Driver, name: str) -> Seen:
    split = io.BytesIO()
    try:
        applied = driver.stage("new", ["base"]).apply(io.BytesIO(ALL[name]), tar_split=split)
        driver.place("new")
    except StoreError as error:
        driver.discard("new")
        return Seen(str(error), {}, [], ([], []))
    try:
        split.seek(0)
        assert b"".join(tarsplit.reassemble(driver, "new", split)) == ALL[name], "it does not come back bit for bit"
        lines = read_at_once(gzip.decompress(split.getvalue()).splitlines())
        return Seen("", tree(driver.own_tree("new"), named(lines)), lines, (applied.uids, applied.gids))
    finally:
        driver.remove("new")


@pytest.mark.parametrize("name", [name for name in ALL if name not in DIFFERENT])
def test_an_archive_is_unpacked_and_recorded_as_the_original_does(name: str, theirs: dict[str, Seen], driver: Driver) -> None:
    ours = seen_by(driver, name)
    if theirs[name].error:
        assert ours.error
        return
    assert ours == theirs[name]


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_from_the_original_differs_in_nothing_else(name: str, theirs: dict[str, Seen], driver: Driver) -> None:
    """A difference that is gone is to be removed from the list."""
    ours = seen_by(driver, name)
    original = theirs[name]
    if ours.error or original.error:
        assert bool(ours.error) != bool(original.error)
        return
    if driver.name == "vfs" and name in ON_OVERLAY_ONLY:
        assert ours.lines == original.lines
        return
    assert ours != original
    if name in SAME_TREE:
        assert ours.tree == original.tree
    if name in SAME_RECORD:
        assert ours.lines == original.lines


@pytest.mark.parametrize("name", corpus.FORMS)
def test_however_few_folders_stay_open_an_archive_is_unpacked_the_same(name: str, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was closed for others while something is made in it would be found by this."""
    before = seen_by(driver, name)
    monkeypatch.setattr(resolve, "_OPEN_MAX", 2)
    assert seen_by(driver, name) == before


PLAIN = tars.archive(*[tars.file(b"f%d" % number, bytes([number]) * 3000) for number in range(120)])
ENDS: dict[str, Callable[[Callable[[bytes], bytes]], bytes]] = {
    "whole": lambda pack: pack(PLAIN),
    "in two frames": lambda pack: pack(PLAIN[:100_000]) + pack(PLAIN[100_000:]),
    "with an empty frame after it": lambda pack: pack(PLAIN) + pack(b""),
    "with junk after it": lambda pack: pack(PLAIN) + b"junkjunkjunk",
    "with zeros after it": lambda pack: pack(PLAIN) + bytes(1000),
    "cut off": lambda pack: pack(PLAIN)[:-9],
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", [name for name in tars.COMPRESSIONS if name != "none"])
def test_compressed_streams_are_taken_and_refused_as_the_original_does(name: str, end: str, tmp_path: Path) -> None:
    data = ENDS[end](tars.COMPRESSIONS[name])
    front = ["containers-storage", "-g", str(tmp_path / "graph"), "-R", str(tmp_path / "run"), "-s", "vfs", "import-layer"]
    refused = subprocess.run(front, input=data, capture_output=True, check=False).returncode != 0
    made = open_driver("vfs", str(tmp_path / "ours"))
    made.setup()
    staged = made.stage("l", [])
    if refused:
        with pytest.raises(StoreError):
            staged.apply(io.BytesIO(data))
    else:
        assert staged.apply(io.BytesIO(data)).diff_size == len(PLAIN)
