"""What holds of every history: the fold is deterministic, indexes are what a scan finds, checkpoints give what a replay gives."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerlog.eventstore import checkpoints, runs, segments, state
from layerlog.eventstore.ledger import Ledger
from layerlog.projections import containers, images, items, layers
from layerlog.projections.fold import FOLD_VERSION, fold
from layerlog.projections.keys import key, prefix
from tests.eventstore.ledgers import ENVELOPE, GENESIS
from tests.projections.histories import KINDS, NAMES, History
from tests.projections.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SEEDS = st.integers(0, 2**32)


def played(seed: int, steps: int) -> tuple[State, list[list[Any]]]:
    """The state after a history, and its commits."""
    made, history, commits = State(), History(seed), []
    for _ in range(steps):
        if events := history(made.rows):
            commits.append(copy.deepcopy(events))
            made.commit(events)
    return made, commits


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_fold_is_deterministic_and_leaves_events_alone(seed: int) -> None:
    one, commits = played(seed, 60)
    two, before = State(), copy.deepcopy(commits)
    for events in commits:
        two.commit(events)
    assert two.dump() == one.dump()
    assert commits == before


def scanned(rows: dict[bytes, Any]) -> Iterator[tuple[bytes, Any]]:
    """All index rows, worked out from the things alone and without any code of the fold."""
    by_kind = {kind: [row for found, row in rows.items() if found.startswith(kind.encode() + b"\0")] for kind in KINDS}
    for kind, there in by_kind.items():
        for row in there:
            for name in row.get("names", []):
                yield b"\0".join((b"name", kind.encode(), name.encode("utf-8", "surrogateescape"))), row["id"]
            for item, ref in row.get("big_data", {}).items():
                yield f"blob\0{ref['blob']}\0{kind}\0{row['id']}\0{item}".encode(), 1
    for row in by_kind["layer"]:
        contents = row.get("contents", {})
        if row.get("parent"):
            yield f"child\0{row['parent']}\0{row['id']}".encode(), 1
        for space, field in (("diff", "diff_digest"), ("archive", "compressed_digest")):
            if contents:
                yield f"{space}\0{contents[field]}\0{row['id']}".encode(), 1
        if contents:
            yield f"blob\0{contents['tar_split']['blob']}\0layer\0{row['id']}".encode(), 1
    for row in by_kind["image"]:
        manifests = [ref["blob"] for item, ref in row.get("big_data", {}).items() if item.startswith("manifest")]
        for digest in {*manifests, *([row["digest"]] if "digest" in row else [])}:
            yield f"digest\0{digest}\0{row['id']}".encode(), 1
        for top in {row.get("layer"), *row.get("mapped_layers", [])} - {None, ""}:
            yield f"top\0{top}\0{row['id']}".encode(), 1
    for row in by_kind["container"]:
        yield f"of-layer\0{row['layer']}".encode(), row["id"]
        if row.get("image"):
            yield f"of-image\0{row['image']}\0{row['id']}".encode(), 1


INDEXES = {b"name", b"child", b"top", b"of-layer", b"of-image", b"diff", b"archive", b"digest", b"blob"}


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_indexes_are_what_a_scan_finds(seed: int) -> None:
    rows = played(seed, 80)[0].dump()
    indexed = {found: value for found, value in rows.items() if found.split(b"\0")[0] in INDEXES and b"\0trash\0" not in found}
    assert indexed == dict(scanned(rows))
    keyed = {found[9:].decode(): value for found, value in rows.items() if found.startswith(b"made-for\0")}
    for wanted, layer_id in keyed.items():
        assert wanted in rows[key("layer", layer_id)]["keys"]


class Looked(dict[str, Any]):
    """A row that notes which of its fields were looked at."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        self.at: set[str] = set()

    def get(self, name: str, otherwise: Any = None) -> Any:
        self.at.add(name)
        return super().get(name, otherwise)

    def __getitem__(self, name: str) -> Any:
        self.at.add(name)
        return super().__getitem__(name)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_an_index_looks_at_no_other_fields_than_it_says(seed: int) -> None:
    """While none of these changed, no index row is worked out anew."""
    rows = played(seed, 80)[0].dump()
    said = {"layer": layers, "image": images, "container": containers}
    indexes: dict[str, items.Index] = {
        "layer": layers.layer_index,
        "image": images.image_index,
        "container": containers.container_index,
    }
    for found, value in rows.items():
        if (kind := found.partition(b"\0")[0].decode()) in said:
            row = Looked(value)
            list(indexes[kind](row))
            assert row.at - {"id"} <= set(said[kind].INDEXED)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_what_the_trash_needs_stays_referenced_and_what_nothing_needs_does_not(seed: int) -> None:
    """By the blob index alone the collector must never take what a live or a kept thing refers to, and leave nothing else."""
    rows = played(seed, 80)[0].dump()
    referenced = {found.split(b"\0")[1].decode() for found in rows if found.startswith(b"blob\0")}
    things = [row for found, row in rows.items() if found.split(b"\0")[0].decode() in KINDS]
    things += [row["row"] for found, row in rows.items() if found.startswith(b"trash\0")]
    needed = {ref["blob"] for row in things for ref in row.get("big_data", {}).values()}
    needed |= {row["contents"]["tar_split"]["blob"] for row in things if "contents" in row}
    assert referenced == needed


# --- the same through the journal and its checkpoints


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four levels of runs after a few hundred commits."""
    for module in (checkpoints, state):
        monkeypatch.setattr(module, "UNIT", 4)
        monkeypatch.setattr(module, "FANOUT", 3)


def kept(folder: Path, seed: int, steps: int) -> dict[bytes, Any]:
    """A history in a ledger that is opened anew now and then; its rows."""
    Ledger.create(str(folder), GENESIS, fold=fold, envelope=ENVELOPE).close()
    history = History(seed)
    for _ in range(4):
        with Ledger(str(folder), fold=fold) as ledger:
            for _ in range(steps // 4):
                ledger.commit(history, envelope=ENVELOPE)
            rows = dict(ledger.rows.scan(b""))
    return rows


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("seed", range(5))
def test_checkpoints_and_the_tail_give_what_a_whole_replay_gives(tmp_path: Path, seed: int) -> None:
    rows = kept(tmp_path / "s", seed, 300)
    with Ledger(str(tmp_path / "s"), fold=fold) as ledger:
        assert ledger._state.base_sequence > 50
        assert dict(ledger.rows.scan(b"")) == rows
        middle = ledger.sequence // 2
        past = dict(ledger.at(middle).scan(b""))
    shutil.rmtree(tmp_path / "s" / "checkpoints")
    with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as ledger:
        assert ledger._state.base_sequence == 0
        assert dict(ledger.rows.scan(b"")) == rows
        assert dict(ledger.at(middle).scan(b"")) == past


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("seed", range(3))
def test_every_question_is_answered_from_checkpoints_as_from_memory(tmp_path: Path, seed: int) -> None:
    """IDs, prefixes, names, digests, parents: through runs that are looked into, and in a table of all rows."""
    rows = kept(tmp_path / "s", seed, 300)
    table = State().rows
    for found, value in rows.items():
        table.put(found, value)
    with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as ledger:
        assert ledger._state.base_sequence > 50
        for kind in KINDS:
            for row in items.every(table, kind):
                for asked in (row["id"], row["id"][:1], row["id"][:2], row["id"] + "x", *row.get("names", [])):
                    assert items.find(ledger.rows, kind, asked) == items.find(table, kind, asked)
            for name in NAMES:
                assert items.holder(ledger.rows, kind, name) == items.holder(table, kind, name)
        for row in items.every(table, "layer"):
            assert layers.children(ledger.rows, row["id"]) == layers.children(table, row["id"])
            assert layers.chain(ledger.rows, row["id"]) == layers.chain(table, row["id"])
            assert layers.image_tops(ledger.rows, row["id"]) == layers.image_tops(table, row["id"])
            for digest in (row.get("contents") or {"diff_digest": "sha256:none"},):
                wanted = digest["diff_digest"]
                assert layers.with_digest(ledger.rows, "diff", wanted) == layers.with_digest(table, "diff", wanted)
        for row in items.every(table, "image"):
            for digest in images.digests(row):
                assert images.by_digest(ledger.rows, digest) == images.by_digest(table, digest)
            assert images.containers_of(ledger.rows, row["id"]) == images.containers_of(table, row["id"])
        for row in items.every(table, "container"):
            assert containers.find(ledger.rows, row["layer"]) == row


def test_a_look_up_reads_a_handful_of_blocks_of_however_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are looked into and never loaded: by ID, by prefix, by name, by parent, by what is not there."""
    from layerlog.eventstore import disk

    Ledger.create(str(tmp_path / "s"), GENESIS, fold=fold, envelope=ENVELOPE).close()
    monkeypatch.setattr(disk.seam, "fdatasync", lambda fd: None)
    ids = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(6000)]
    with Ledger(str(tmp_path / "s"), fold=fold) as ledger:
        for start in range(0, len(ids), 4):  # four layers a commit, each the child of the one before
            made = [{"type": "LayerCreated", "id": ids[n], "names": [f"n{n}"], "parent": ids[n - 1]} for n in range(start, start + 4)]
            ledger.commit(lambda rows, made=made: made, envelope=ENVELOPE)  # type: ignore[misc]
        ledger._state.flush()
    read: list[int] = []
    reads = runs.Run._read

    def counting(self: runs.Run, offset: int, size: int) -> Any:
        read.append(size)
        return reads(self, offset, size)

    monkeypatch.setattr(runs.Run, "_read", counting)
    whole = sum(path.stat().st_size for path in (tmp_path / "s" / "checkpoints").iterdir())
    with Ledger(str(tmp_path / "s"), fold=fold, read_only=True) as ledger:
        count = len(ledger._state.checkpoints.cover(ledger.sequence))
        for ask in (
            lambda: items.get(ledger.rows, "layer", ids[70]),
            lambda: items.find_prefix(ledger.rows, "layer", ids[4000][:20]),
            lambda: items.find(ledger.rows, "layer", "n1234"),
            lambda: layers.children(ledger.rows, ids[2345]),
            lambda: items.find(ledger.rows, "layer", "n-none"),
        ):
            read.clear()
            ask()
            assert len(read) <= 4 * count
            assert sum(read) < whole / 8
        assert len(list(ledger.rows.keys(prefix("child", ids[7])))) == 1


def test_rows_of_the_golden_journal_are_those_of_this_version_of_the_fold(tmp_path: Path) -> None:
    """When this fails, the fold makes other rows than it did: FOLD_VERSION must go up, or old checkpoints are believed."""
    (tmp_path / "journal").mkdir()
    shutil.copy(GOLDEN / "journal-v1.segment", tmp_path / "journal" / segments.file_name(1, 1))
    with Ledger(str(tmp_path), fold=fold, read_only=True) as ledger:
        states = [sorted((found.hex(), value) for found, value in ledger.at(number).scan(b"")) for number in range(ledger.sequence + 1)]
    found = {"fold_version": FOLD_VERSION, "rows": hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()}
    expected = GOLDEN / "rows-v1.json"
    if os.environ.get("LAYERLOG_GOLDEN") == "write":
        expected.write_text(json.dumps(found) + "\n", encoding="ascii")
    assert found == json.loads(expected.read_text(encoding="ascii"))
