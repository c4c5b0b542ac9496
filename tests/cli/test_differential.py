"""Side by side with Debian's containers-storage: same arguments, same inputs, same output, status and state.

What differs on purpose, or because 1.43 is older than the contract, is listed in docs/differences.md; the steps below
keep clear of it, or ``KNOWN`` names it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import FrontDoor, Result
from tests.cli.sequences import FIRST, SECOND, Chances, questions
from tests.seeds import seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("containers-storage") is None, reason="containers-storage is not installed to compare with"),
    pytest.mark.root,
]


SECONDS = float(os.environ.get("LAYERLOG_TEST_SECONDS", "11"))
TAR = FIRST


class Pair:
    """The original and ours, each on a store of its own, driven with the same words."""

    def __init__(self, folder: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.driver = folder, driver
        self.ids: dict[str, dict[str, str]] = {"theirs": {}, "ours": {}}
        self.ours = FrontDoor(["containers-storage"], self.flags("ours"), monkeypatch)

    def flags(self, side: str) -> list[str]:
        return ["-g", str(self.folder / side / "graph"), "-R", str(self.folder / side / "run"), "-s", self.driver, "--debug=false"]

    def theirs(self, *words: str, stdin: bytes = b"") -> Result:
        program = ["containers-storage", *self.flags("theirs"), *words]
        ended = subprocess.run(program, input=stdin, capture_output=True, check=False, timeout=60)
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def both(self, *words: str, stdin: bytes = b"") -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        """Status, stdout and stderr of each, made comparable."""
        found = []
        for side in ("theirs", "ours"):
            here = [word.replace("@", str(self.folder / side)) for word in words]
            shown = self.theirs(*here, stdin=stdin) if side == "theirs" else self.ours(*here, stdin=stdin)
            found.append((shown.code, self.neutral(side, shown.out), self.neutral(side, shown.err)))
        return found[0], found[1]

    def neutral(self, side: str, text: str) -> str:
        """Paths, random IDs and times by neutral words; IDs by the order in which they were first seen."""
        if "ustar" in text:
            return plain_tar(text)
        seen = self.ids[side]
        text = text.replace(str(self.folder / side), "@")
        text = re.sub(r"(?<![0-9a-f:])[0-9a-f]{64}(?![0-9a-f])", lambda found: seen.setdefault(found.group(0), f"<{len(seen)}>"), text)
        return re.sub(r'"created":"[^"]*"', '"created":"T"', text)

    def same(self, *words: str, stdin: bytes = b"") -> None:
        """Run both and compare everything."""
        theirs, ours = self.both(*words, stdin=stdin)
        assert _shown(" ".join(words), ours) == _shown(" ".join(words), theirs), words

    def same_state(self, plain: bool = True) -> None:
        """Everything that listings show is equal. An empty list of layers is ``[]`` in 1.43 and ``null`` since."""
        for listing in ("layers", "images", "containers"):
            theirs, ours = self.both(listing, "-j")
            assert ours == ((0, "null\n", "") if theirs == (0, "[]\n", "") and listing == "layers" else theirs), listing
            if plain:
                self.same(listing)

    def lacks_both_to_compare_with(self, words: list[str]) -> bool:
        """A base layer beside a layer that is not there: nothing for ours, an error of its driver for 1.43 (docs/differences.md)."""
        layer, *ref = [word for word in words[1:] if not word.startswith("-")] if words[0] in ("diff", "diffsize") else [""]
        if not ref or not self.ours("exists", "-l", ref[0]).code:
            return False
        return any(one["id"] == layer and "parent" not in one for one in json.loads(self.ours("layers", "-j").out) or [])

    def same_everything(self) -> None:
        """Whatever can be asked of whatever may be there has one answer."""
        for words in questions():
            theirs, ours = self.both(*words)
            assert _shown(words[0], ours) == _shown(words[0], theirs), words


def plain_tar(text: str) -> str:
    """A tar without what 1.43 puts into those it makes itself: names of users and groups, file types in modes."""
    import io
    import tarfile

    data, found = text.encode("utf-8", "surrogateescape"), []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            told = (member.name, member.type, member.mode & 0o7777, member.uid, member.gid, member.size, member.mtime, member.linkname)
            found.append(f"{told} {sorted(member.pax_headers.items())} {content.read()!r}" if content else str(told))
    return f"{len(data)} bytes\n" + "\n".join(found)


@contextmanager
def opened_pair(folder: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A pair of stores that leaves no mount behind."""
    for side in ("theirs", "ours"):
        (folder / side).mkdir()
    pair = Pair(folder, driver, monkeypatch)
    yield pair
    for run in (pair.ours, pair.theirs):
        with suppress(subprocess.TimeoutExpired):  # 1.43 may wait for a lock of its own
            run("wipe")
            run("shutdown", "-f")


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    with opened_pair(tmp_path, "vfs", monkeypatch) as pair:
        yield pair


SCRIPT = """
wipe -j
shutdown -j
layer -j nope
image -j nope
container -j nope
create-layer -i L1
applydiff L1 < TAR
layer L1
layer -j L1
create-layer -i L2 -n two -n deux L1
applydiff L2 < SECOND
changes L2
changes -j L2
diffsize L1
diffsize L2
diffsize L2 L1
diff -u L1
diff -u L2
create-image -i im -n img L2
image im
create-container -i c1 im
container c1
layers -t
mount c1
mount c1
mounted im c1
mounted -j L1
shutdown
unmount c1
unmount -f c1
unmount c1
unmount -j c1
shutdown
copy nope L1:/y
copy @/../tree L1:/x
copy @/../tree/file L1:/y/z
copy @/../tree/file nope:/z
copy L1:/y/z @/out
layer-parent-owners L1
layer-parent-owners -j L1
container-parent-owners c1
container-parent-owners -j c1
list-container-data c1
list-container-data -j c1
set-container-data -f @/../tree/file c1 ''
set-container-data c1 k < TAR
set-container-data c1 We/ird < SECOND
list-container-data -j c1
get-container-data c1 k
get-container-data c1 nope
get-container-data c1 No/pe
get-container-data nope k
get-container-data-size c1 k
get-container-data-digest c1 k
get-container-data-digest c1 nok
get-container-data-size c1 nok
get-container-data-size nope nok
container c1
set-image-data im manifest < TAR
set-image-data im '' < TAR
set-image-data nope k < TAR
set-layer-data L1 k < TAR
set-layer-data nope k < TAR
get-layer-data L1 k
get-layer-data two k2
list-layer-data L1
list-layer-data nope
image im
images-by-digest nope
images-by-digest sha256:0
images-by-digest -q sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be5
delete-image im
delete-image -j im nope
delete-layer L2
delete-layer -j L1
delete-layer nope
delete-container nope
delete-image nope
delete nope
delete -j nope nope
set-metadata -m hello L1
metadata L1 im c1 nope
metadata -q L1 nope
metadata -j L1 nope
set-metadata -m '<&> ü' im
set-metadata L1
set-metadata -m x nope
get-names L2
get-names -j L2
get-names nope
get-names -j c1
set-names -n b -n b -n a -j img
set-names im
set-names -j im
set-names nope
exists L1
exists -l L1
exists -q nope
exists -j L1 nope
get-container-dir nope
get-container-dir c1
get-container-run-dir c1
create-layer -i L1
create-layer -n two
create-layer nope
create-image -n img -i im2 nope
create-image -i im
create-image -i im3 -n zz ''
create-image -i im4 -d bogus
create-image -i im5 -n zz
create-image -i im6 -m meta -f @/../tree/file
create-container -i c1 im
create-container nope
create-container -i c9 ''
create-container -i c8 -m meta --volatile im
import-layer -i I1 < TAR
import-layer -i I2 I1 < TAR
applydiff nope < TAR
applydiff -f /nope L2
diff -x I1
diff -b I1
diff -c nope
create-layer -j -i M1 --uidmap 0:1000:10 --gidmap 0:1000:10
layer M1
layer-parent-owners M1
create-layer --uidmap 0:1000
create-layer --uidmap 0:1000:10 --hostuidmap
create-layer --gidmap 0:1000:10 --hostgidmap
create-layer --subuidmap nobody-at-all
create-layer --subgidmap nobody-at-all
create-layer --bogus
create-layer -Z
create-layer -i
create-layer --id
layers --json=maybe
layers -qz
layers -tj
layers --json=false
bogus
status
status -j
get-image-data-size im nope
get-image-data-digest im nope
get-image-data-digest im manifest
delete-image --test im3
delete-image im3
delete-container c8
delete-container -j c9
delete-container c1
delete-image -t im
delete-image im
delete-image -j im4 im6
delete L1
delete-layer I2 I1
delete-layer M1
-- layers
- layers
layers --
layers -- --bogus
"""


def test_a_long_script_reads_the_same_line_by_line(pair: Pair) -> None:
    (pair.folder / "tree/sub").mkdir(parents=True)
    (pair.folder / "tree/file").write_text("hi\n")
    (pair.folder / "tree/link").symlink_to("file")
    different = []
    for line in SCRIPT.strip().splitlines():
        words = shlex.split(line)
        stdin = b""
        if "<" in words:
            stdin = {"TAR": TAR, "SECOND": SECOND}[words.pop()]
            words.remove("<")
        theirs, ours = pair.both(*words, stdin=stdin)
        if _shown(line, theirs) != _shown(line, ours):
            different.append((line, theirs, ours))
    assert not different, "\n".join(map(str, different))
    pair.same_state()


def _shown(line: str, found: tuple[int, str, str]) -> tuple[int, object, str]:
    """Changes are listed in random order by 1.43, sorted by ours."""
    code, out, err = found
    if not line.startswith("changes") or code:
        return found
    return code, sorted(map(str, json.loads(out) or []) if "-j" in line else out.splitlines()), err


@pytest.mark.parametrize("driver", ["vfs", "overlay"])
def test_a_ref_that_is_not_there_is_the_parent_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    with opened_pair(tmp_path, driver, monkeypatch) as pair:
        pair.same("import-layer", "-i", "L1", stdin=FIRST)
        pair.same("import-layer", "-i", "L2", "L1", stdin=SECOND)
        for asked in (["diffsize"], ["changes"], ["diff", "-u"]):
            pair.same(*asked, "L2", "nope")
            theirs, ours = pair.both(*asked, "L1", "nope")
            assert (theirs[0], theirs[2].split(": ", 1)[1]) == (1, "no such file or directory\n")
            assert (ours[0], ours[2]) == (0, "")
            assert ours == pair.both(*asked, "L1")[1]


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["vfs", "overlay"])
def test_generated_sequences_lead_to_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    """As many steps as the time allows: LAYERLOG_TEST_SECONDS per driver, LAYERLOG_TEST_SEED for another sequence."""
    seed = seed_of("LAYERLOG_TEST_SEED")
    ends = time.monotonic() + SECONDS
    chances = Chances(random.Random(seed), driver)
    with opened_pair(tmp_path, driver, monkeypatch) as pair:
        done: list[list[str]] = []
        try:
            while time.monotonic() < ends:
                words, stdin = chances.step()
                if words[0] in ("applydiff", "apply-diff") and f'"parent":"{words[1]}"' in pair.ours("layers", "-j").out:
                    continue  # what its children show then depends on when a driver makes them
                if pair.lacks_both_to_compare_with(words):
                    continue
                done.append(words)
                pair.same(*words, stdin=stdin)
                pair.same_state(plain=False)
                if len(done) % 40 == 0:
                    pair.same_everything()
            pair.same_everything()
        except Exception as different:  # a time-out, or a traceback of ours, is of no use without its sequence either
            steps = "\n".join(shlex.join(words) for words in done)
            told = f"driver {driver}, {len(done)} steps; LAYERLOG_TEST_SEED={seed} repeats them"
            raise AssertionError(f"{told}:\n{steps}\n{different!r}\n{different}") from different
        print(f"{driver}: {len(done)} steps of seed {seed}")
