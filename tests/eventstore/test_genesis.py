"""The guard before a root: ours, empty, or left alone byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore.errors import ForeignStore, JournalMissing, UnknownFormat
from layerlog.eventstore.genesis import check_format, choose_home, guard, make_genesis

if TYPE_CHECKING:
    from pathlib import Path


def _names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_empty_and_missing_roots_may_be_used(tmp_path: Path) -> None:
    assert choose_home(str(tmp_path / "none")) is None
    assert not guard(str(tmp_path), "vfs")
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "l").mkdir()
    assert not guard(str(tmp_path), "overlay"), "an empty home is nobody's"
    assert _names(tmp_path) == {"overlay", "overlay/l"}


def test_own_root_is_known_by_its_journal(tmp_path: Path) -> None:
    make_genesis(str(tmp_path), "vfs", [])
    assert choose_home(str(tmp_path)) == "vfs"
    assert guard(str(tmp_path), "vfs")
    (tmp_path / "vfs" / "dir" / "abc").mkdir(parents=True)
    assert guard(str(tmp_path), "vfs")
    assert choose_home(str(tmp_path), "overlay") == "overlay", "one root, several drivers"


@pytest.mark.parametrize("sign", ["overlay-layers", "vfs-images", "overlay-containers", "storage.lock", "libpod", "overlay-locks"])
def test_root_that_podman_made_is_refused_untouched(tmp_path: Path, sign: str) -> None:
    (tmp_path / sign).mkdir()
    (tmp_path / "overlay" / "abc" / "diff").mkdir(parents=True)
    before = _names(tmp_path)
    for driver in (None, "overlay", "vfs"):
        with pytest.raises(ForeignStore):
            choose_home(str(tmp_path), driver)
    assert _names(tmp_path) == before


def test_populated_home_without_any_journal_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "overlay" / "abc" / "diff").mkdir(parents=True)
    with pytest.raises(ForeignStore):
        choose_home(str(tmp_path))


def test_missing_journal_over_our_own_layers_is_named(tmp_path: Path) -> None:
    make_genesis(str(tmp_path), "vfs", [])
    (tmp_path / "vfs" / "dir" / "abc").mkdir(parents=True)
    for path in (tmp_path / "vfs-layerlog" / "journal").iterdir():
        path.unlink()
    with pytest.raises(JournalMissing):
        choose_home(str(tmp_path), "vfs")


def test_newer_store_is_refused() -> None:
    check_format(1)
    with pytest.raises(UnknownFormat):
        check_format(2)
