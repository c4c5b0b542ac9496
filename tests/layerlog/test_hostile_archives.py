"""The corpus of hostile archives, given to a store: what is refused leaves every byte of it as it was."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.drivers.choose import probe
from layerlog.eventstore.errors import ArchiveLimit, InvalidArchive, StoreError
from tests.drivers import tars
from tests.drivers.hostile import CORPUS, EITHER, INSIDE, REFUSED
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def every_byte(root: str) -> dict[str, tuple[object, ...]]:
    """path -> kind, mode, owner, content, xattrs of all below *root*. No times of folders: leases come and go."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            content: object = seen.st_rdev
            if stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISLNK(seen.st_mode):
                content = os.readlink(path)
            marks = tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in sorted(os.listxattr(path, follow_symlinks=False)))
            found[path] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_nlink if not stat.S_ISDIR(seen.st_mode) else 0, content, marks)
    return found


@pytest.fixture(params=["vfs", pytest.param("overlay", marks=pytest.mark.root)], scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    """A store with a layer ``base`` in it, beside a folder that no test may change."""
    folder = tmp_path_factory.mktemp("hostile")
    if request.param == "overlay" and (why := probe("overlay", str(folder))):
        pytest.skip(f"the kernel refuses overlay: {why}")
    (folder / "outside").mkdir()
    (folder / "outside/precious").write_text("precious")
    with Store(folder / "root", folder / "run", request.param, retention=0, options=["archive_bytes_max=8m"]) as store:
        members = tars.stream(tars.folder(b"d"), tars.file(b"d/below", b"b"), tars.file(b"keep", b"k"))
        store.import_layer(members, id="base")
        yield store, folder
        store.delete_layer("base")
        assert left_behind(store) == []


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_archive_is_refused_without_a_trace_or_stays_inside(place: tuple[Store, Path], name: str) -> None:
    store, folder = place
    hostile = CORPUS[name]
    before, sequence = every_byte(str(folder)), store.sequence
    refusal, made = None, None
    try:
        made = store.import_layer(io.BytesIO(hostile.archive()), "base")
    except StoreError as error:
        refusal = error
    if made is None:
        assert hostile.verdict in (REFUSED, EITHER), refusal
        assert isinstance(refusal, InvalidArchive) or hostile.verdict == EITHER
        assert store.sequence == sequence
        assert every_byte(str(folder)) == before
        return
    assert hostile.verdict in (INSIDE, EITHER)
    assert b"".join(store.diff(made.id, compression=0)) == hostile.archive()
    store.delete_layer(made.id)
    kept = [str(folder / "outside"), store.driver.path("base")]
    assert {path: seen for path, seen in every_byte(str(folder)).items() if path.startswith(tuple(kept))} == {
        path: seen for path, seen in before.items() if path.startswith(tuple(kept))
    }


@pytest.mark.parametrize("name", [name for name, one in CORPUS.items() if one.verdict == REFUSED][::4])
def test_a_layer_that_refuses_a_diff_keeps_what_it_had(place: tuple[Store, Path], name: str) -> None:
    store, folder = place
    before, sequence = every_byte(str(folder)), store.sequence
    with pytest.raises(InvalidArchive):
        store.apply_diff("base", io.BytesIO(CORPUS[name].archive()))
    assert (store.sequence, every_byte(str(folder))) == (sequence, before)


@pytest.mark.parametrize("pack", [name for name in tars.COMPRESSIONS if name != "none"])
def test_a_bomb_in_any_compression_is_stopped_at_the_limit(place: tuple[Store, Path], pack: str) -> None:
    """24 MB of zeros in a few kB, against a limit of 8 MB."""
    store, folder = place
    before = every_byte(str(folder))
    bomb = tars.COMPRESSIONS[pack](tars.header(b"zeros", size=24 << 20) + bytes(24 << 20))
    with pytest.raises(ArchiveLimit, match="bytes = 8388608"):
        store.import_layer(io.BytesIO(bomb))
    assert every_byte(str(folder)) == before
