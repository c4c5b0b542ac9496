"""An archive that was accepted is not called damaged afterwards: whatever it holds, `check` finds nothing."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.drivers.choose import probe
from layerlog.eventstore.errors import StoreError
from tests.drivers import corpus, tars

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["vfs", "overlay"])
def name_of_driver(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "overlay" and os.geteuid() != 0:
        pytest.skip("needs root (mounts, owners, devices)")
    if request.param == "overlay" and (why := probe("overlay", str(tmp_path))):
        pytest.skip(f"the kernel refuses overlay: {why}")
    return str(request.param)


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_check_finds_nothing_in_any_archive_that_was_accepted(name_of_driver: str, tmp_path: Path) -> None:
    with Store(str(tmp_path), driver=name_of_driver, options=["sync=none"]) as store:
        store.import_layer(io.BytesIO(corpus.BASE), id="base")
        accepted = {}
        for number, (name, data) in enumerate({**corpus.FORMS, **corpus.REFUSED}.items()):
            try:
                store.import_layer(io.BytesIO(data), "base", id=f"l{number}")
            except StoreError:
                continue
            accepted[f"l{number}"] = name
        assert len(accepted) > 50
        wrong = [(accepted.get(finding.id), finding.message) for finding in store.check()]
    assert not wrong


def test_check_notices_a_folder_that_was_implied_and_is_gone(tmp_path: Path) -> None:
    with Store(str(tmp_path), driver="vfs", options=["sync=none"]) as store:
        store.import_layer(tars.stream(tars.symlink(b"a/b/c", b"x")), id="one")
        assert list(store.check()) == []
        shutil.rmtree(store.driver.path("one") + "/a/b")
        assert ["-/a/b" in finding.message for finding in store.check()].count(True) >= 1


def test_check_says_nothing_of_a_path_through_a_symlink(tmp_path: Path) -> None:
    """Where it leads differs between drivers, as in the original."""
    with Store(str(tmp_path), driver="vfs", options=["sync=none"]) as store:
        store.import_layer(tars.stream(tars.folder(b"usr/lib"), tars.symlink(b"lib", b"usr/lib")), id="base")
        store.import_layer(tars.stream(tars.file(b"lib/x", b"1")), "base", id="top")
        assert list(store.check()) == []
