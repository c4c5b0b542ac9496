"""A bundle is the journal alone; replayed elsewhere it gives the same store, past and present."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.asking import rows_by_id
from layerlog.bundling import replay
from layerlog.eventstore.errors import InvalidImage, InvalidRequest, NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with a little of everything, in more than one segment."""
    with Store(tmp_path / "root", tmp_path / "run", "vfs", actor="anna") as opened:
        opened.import_layer(io.BytesIO(bytes(10240)), names=["base"])
        image = opened.create_image("base", names=["secret-project:1", "other"])
        opened.set_big_data("image", image.id, "manifest", b"{}")
        opened.create_container(image.id, names=["box"])
        opened.delete("box")
        for number in range(400):
            opened.set_metadata("other", f"private text {number}")
        yield opened


def test_a_replayed_bundle_is_in_the_same_state_now_and_at_every_time_before(store: Store, tmp_path: Path) -> None:
    made = store.bundle(tmp_path / "b.tar")
    with replay(tmp_path / "b.tar", tmp_path / "elsewhere") as other:
        assert (other.driver_name, other.head(), other.sequence) == ("null", store.head(), made.sequence)
        for sequence in (1, 2, 5, 6, 7, 100, made.sequence):
            assert rows_by_id(other.at(sequence)) == rows_by_id(store.at(sequence))
        assert [(one.kind, one.id) for one in other.trash()] == [(one.kind, one.id) for one in store.trash()]
        assert not [one for one in other.verify(made.head) if not one.id.startswith("sha256:")]  # blobs were not sent


def test_a_replayed_store_takes_changes_of_records_and_refuses_what_needs_contents(store: Store, tmp_path: Path) -> None:
    store.bundle(tmp_path / "b.tar")
    with replay(tmp_path / "b.tar", tmp_path / "elsewhere") as other:
        other.restore("box")
        assert other.container("box").names == ["box"]
        other.undo(last=1)
        other.untag("other")
        with pytest.raises(NotSupported):
            other.mount("base")


def test_the_same_journal_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    store.bundle(tmp_path / "one.tar")
    store.bundle(tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_redacted_bundle_tells_no_names_and_still_chains(store: Store, tmp_path: Path) -> None:
    made = store.bundle(tmp_path / "b.tar", redact=True)
    data = (tmp_path / "b.tar").read_bytes()
    assert not [word for word in (b"secret-project", b"private text", b"anna", b"box") if word in data]
    with replay(tmp_path / "b.tar", tmp_path / "elsewhere") as other:
        assert [one.id for one in other.layers()] == [one.id for one in store.layers()]
        assert len(other.images()[0].names) == 2
        found = [one.id for one in other.verify(made.head) if one.id.startswith("commit")]
        assert found == [f"commits 1-{made.sequence}"]  # as redacted, and as nothing worse


def test_bundling_while_others_write_gives_a_point_in_between(store: Store, tmp_path: Path) -> None:
    """What is committed after the position was read is not in it."""
    made = store.bundle(tmp_path / "b.tar")
    store.create_layer()
    with replay(tmp_path / "b.tar", tmp_path / "elsewhere") as other:
        assert other.sequence == made.sequence == store.sequence - 1


def test_what_is_no_bundle_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar")
    with pytest.raises(InvalidImage):
        replay(tmp_path / "text", tmp_path / "a")
    for name in ("../evil", "journal/../../evil", "/journal/evil"):
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            for member, content in (("bundle.json", json.dumps({"format": 1, "head": "1:"}).encode()), (name, b"x")):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        with pytest.raises(InvalidImage):
            replay(tmp_path / "evil.tar", tmp_path / "b")
        assert not (tmp_path / "b").exists()


def test_a_root_that_holds_a_replay_is_not_written_again(store: Store, tmp_path: Path) -> None:
    store.bundle(tmp_path / "b.tar")
    replay(tmp_path / "b.tar", tmp_path / "elsewhere").close()
    with pytest.raises(InvalidRequest):
        replay(tmp_path / "b.tar", tmp_path / "elsewhere")


def test_a_record_that_no_layerlog_would_write_is_named_and_its_bundle_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksums fit and its chain holds: only the schema tells."""
    layer = store.create_layer()
    monkeypatch.undo()
    strange = {"type": "MetadataSet", "kind": "layer", "id": layer.id, "metadata": "m", "strange": 1}
    store.ledger.commit(lambda rows: [strange], envelope={})
    assert [(one.grade, one.id) for one in store.verify()] == [("content", f"commit {store.sequence}")]
    store.bundle(tmp_path / "b.tar")
    with pytest.raises(InvalidImage, match="strange"):
        replay(tmp_path / "b.tar", tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []
