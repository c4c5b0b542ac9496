"""Image stores side by side with Debian's containers-storage, on vfs and overlay: every command that 1.43 gets right."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import FrontDoor
from tests.cli.test_differential import TAR, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_the_original = [
    pytest.mark.skipif(shutil.which("containers-storage") is None, reason="containers-storage is not installed to compare with"),
    pytest.mark.root,
]

LENDER = """
import-layer -n base -i aaaa1111 < TAR
create-layer -i bbbb2222 -n empty aaaa1111
create-image -n img -i imgA bbbb2222
set-image-data imgA manifest < TAR
create-container -i ctrA img
"""

SCRIPT = """
layers
layers -j
layers -t
images
images -j
containers -j
layer base
layer -j base
image img
image -j img
exists base
exists img
exists aaaa
exists ctrA
metadata base
get-names img
get-image-data-size img manifest
list-image-data img
create-layer -i own1 base
create-container -i own2 img
add-names -n box own2
container -j box
mount box
mounted box
mount base
mount aaaa1111
mounted base
unmount base
changes aaaa1111
changes bbbb2222
diffsize aaaa1111
diff -u aaaa1111
add-names -n x base
set-metadata -m x base
delete-layer base
delete-layer aaaa1111
delete base
delete-image imgA
apply-diff aaaa1111 < TAR
unmount box
delete-container box
set-names -n only img
get-names only
image newname
delete-layer own1
create-layer -i zz -n base
layer base
layers -t
exists imgA
set-image-data nope foo < TAR
wipe
layers -j
images -j
"""


class LentPair(Pair):
    """The pair, on two more stores that their roots look into."""

    lends = False

    def flags(self, side: str) -> list[str]:
        place = self.folder / side
        if self.lends:
            return ["-g", str(place / "lender"), "-R", str(place / "lender-run"), "-s", self.driver, "--debug=false"]
        return [*super().flags(side), "--storage-opt", f"{self.driver}.imagestore={place / 'lender'}"]

    def run(self, script: str, lends: bool) -> None:
        self.lends = lends
        self.ours.where = self.flags("ours")
        for line in script.strip().splitlines():
            words, _, source = line.partition(" < ")
            self.same(*words.split(), stdin=TAR if source else b"")


@pytest.fixture(params=["vfs", "overlay"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LentPair]:
    for side in ("theirs", "ours"):
        (tmp_path / side).mkdir()
    made = LentPair(tmp_path, request.param, monkeypatch)
    yield made
    for lends in (False, True):
        made.lends = lends
        made.theirs("shutdown", "-f")


class TestBeside:
    """What both print, on both streams, and how they end."""

    pytestmark = needs_the_original

    def test_every_command_shows_and_refuses_what_is_in_another_store_as_the_original_does(self, pair: LentPair) -> None:
        pair.run(LENDER, lends=True)
        pair.run(SCRIPT, lends=False)

    @pytest.mark.parametrize("option", ["overlay.imagestore=/nonexistent", "overlay.imagestore=relative", ".imagestore=/etc/passwd"])
    def test_a_place_that_can_be_no_image_store_is_refused_in_the_original_s_words(self, pair: LentPair, option: str) -> None:
        if pair.driver == "overlay":
            pair.same("--storage-opt", option, "layers")


@pytest.mark.parametrize("driver", ["vfs", pytest.param("overlay", marks=pytest.mark.root)])
def test_findings_in_a_store_that_is_looked_into_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, archive: bytes
) -> None:
    there = ["-g", str(tmp_path / "lent"), "-R", str(tmp_path / "lent-run"), "-s", driver]
    lender = FrontDoor(["containers-storage"], there, monkeypatch)
    lender("import-layer", "-i", "base", stdin=archive)
    lender("create-image", "-i", "img", "base")
    (tmp_path / "file").write_bytes(b"y" * 5000)
    lender("copy", str(tmp_path / "file"), "base:/g")
    option = f"{driver}.imagestore={tmp_path / 'lent'}"
    here = ["-g", str(tmp_path / "own"), "-R", str(tmp_path / "run"), "-s", driver, "--storage-opt", option]
    cs = FrontDoor(["containers-storage"], here, monkeypatch)
    wrong = " read-only layer base: file integrity checksum failed\n"
    assert cs("check").out == f"read-only layer base:\n{wrong}read-only image img:\n{wrong}"
    assert cs("check", "-r").err == "1 read-only layer errors, 1 read-only image errors, 0 container errors\n"
