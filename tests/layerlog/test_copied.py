"""A copied journal answers as the store does, and nothing is written to it."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store, open_journal
from layerlog.asking import rows_by_id
from layerlog.eventstore.errors import InvalidRequest, ReadOnlyStore
from tests.layerlog.builders import BASE, tar

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with Store(tmp_path / "root", tmp_path / "run", "vfs", actor="ci/7") as store:
        layer = store.import_layer(io.BytesIO(tar(BASE)))
        store.create_image(layer.id, names=["app:1"], big_data={"k": b"some"})
        store.delete_image("app:1")
        store.create_layer(names=["left"])
    return tmp_path / "root"


def files(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("what", ["root", "root/vfs-layerlog", "root/vfs-layerlog/journal", "bundle"])
def test_every_way_to_copy_it_answers_alike(root: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    copied = tmp_path / "copied"
    with Store(root, root.parent / "run", "vfs") as store:
        expected = rows_by_id(store), rows_by_id(store.at(3)), [one.sequence for one in store.history()], store.head()
        if what == "bundle":
            store.bundle(copied)
        else:
            shutil.copytree(tmp_path / what, copied)
    before = files(copied) if what != "bundle" else {}
    with open_journal(copied) as alone:
        found = rows_by_id(alone), rows_by_id(alone.at(3)), [one.sequence for one in alone.history()], alone.head()
        assert found == expected
        assert alone.why_gone("app:1").commit.by == "ci/7"
        assert [one.by for one in (tenure.since for tenure in alone.blame("app:1"))] == ["ci/7"]
        assert list(alone.verify(expected[3])) == []
        assert alone.diff_state(0)
        with pytest.raises(ReadOnlyStore):
            alone.create_layer()
        with pytest.raises(ReadOnlyStore):
            alone.undo(last=1)
    assert before == (files(copied) if what != "bundle" else {})
    assert os.listdir(tmp_path / "tmp") == []


def test_a_folder_without_a_journal_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no journal"):
        open_journal(tmp_path)
