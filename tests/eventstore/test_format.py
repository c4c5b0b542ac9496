"""FORMAT.md is true: its examples decode to what it says, and journals of every version read as they did."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import typing
from pathlib import Path
from zlib import crc32

import pytest

from layerlog import Store
from layerlog.eventstore import base, codec, events, frame, position, run_writer, runs, segments
from layerlog.eventstore.blobs import Blobs
from layerlog.eventstore.errors import UnknownFormat
from layerlog.eventstore.leases import Leases
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import fold, make

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "eventstore" / "FORMAT.md").read_text(encoding="utf-8")
GOLDEN = ROOT / "tests" / "golden"


def example(kind: str) -> bytes:
    """A hex block of the page."""
    found = re.search(rf"```hex {kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return bytes.fromhex(found.group(1))


def test_example_segment_header_decodes() -> None:
    segment = segments.parse(example("segment"), "")
    assert segment is not None
    assert (segment.number, segment.first_sequence, segment.size, segment.reserve_bytes) == (1, 1, 131072, 32768)
    assert (segment.journal_id, segment.time_ns, segment.why) == (bytes(range(1, 17)), 1790000000001000000, segments.WHY_FIRST)
    assert segment.header() == example("segment")


def test_example_frame_decodes() -> None:
    header = example("frame")
    assert frame.header_whole(header, bytes(range(1, 9)), 128)
    found = frame.Frame(1, header)
    payload = re.search(r"```json payload\n(.*?)\n```", PAGE, re.DOTALL)
    assert payload
    assert (found.sequence, found.length, found.offset, found.batch_bytes, found.back) == (1, 306, 128, 0, 0)
    assert hashlib.sha256(payload.group(1).encode()).digest() == found.payload_hash
    assert found.hash == hashlib.sha256(header).digest()
    assert codec.decode(payload.group(1).encode())["events"][0]["type"] == "StoreCreated"


def test_example_position_is_the_point_after_the_example_frame() -> None:
    raw = example("position")
    found = position.decode(raw, bytes(range(1, 17)), bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert found is not None
    after = frame.Frame(1, example("frame")).after()
    fields = ("segment", "offset", "sequence", "time_ns", "hash", "back", "flags")
    assert [getattr(found, name) for name in fields] == [getattr(after, name) for name in fields]
    assert position.encode(after, bytes(range(1, 17)), bytes.fromhex("00112233445566778899aabbccddeeff")) == raw


def test_example_run_is_read_and_written_as_it_stands(tmp_path: Path) -> None:
    raw = example("run")
    path = tmp_path / "000000000064-000000000128.run"
    path.write_bytes(raw)
    run = runs.Run(str(path), bytes(range(1, 17)), 1)
    assert (run.after, run.last, run.rows, run.deleted, run.lost, run.start_hash) == (64, 128, 3, 1, 2, b"\xaa" * 32)
    assert (run.end.segment, run.end.offset, run.end.back, run.end.hash) == (1, 40000, 500, b"\xbb" * 32)
    rows = {b"child\0base\0top": b"1", b"gone\0layer\0old": b"null", b"layer\0top": b'{"id":"top","parent":"base"}'}
    for key, value in rows.items():
        assert run.get(key, crc32(key)) == value
    assert run.get(b"layer\0tob", crc32(b"layer\0tob")) == runs.MISSING
    writer = run_writer.RunWriter(str(tmp_path / "again"))
    writer.add(list(rows), list(rows.values()))
    writer.finish(bytes(range(1, 17)), 1, (64, b"\xaa" * 32), run.end, 2)
    assert (tmp_path / "again").read_bytes() == raw


def test_example_blob_has_its_digest_for_a_name() -> None:
    path, contents = re.search(r"```text blob\n(.*?)\n(.*?)\n```", PAGE, re.DOTALL).groups()  # type: ignore[union-attr]
    blobs = Blobs("blobs")
    assert blobs.path("sha256:" + hashlib.sha256(contents.encode()).hexdigest()) == path


def test_example_lease_reads_as_its_holder(tmp_path: Path) -> None:
    path, note = re.search(r"```text lease\n(.*?)\n(.*?)\n```", PAGE, re.DOTALL).groups()  # type: ignore[union-attr]
    leases = Leases(str(tmp_path / "leases"))
    with leases.take(os.path.basename(path), json.loads(note)):
        assert (tmp_path / path).read_text(encoding="ascii") == note
        assert leases.holders() == {os.path.basename(path): json.loads(note)}


def test_every_file_that_a_store_has_is_on_the_page(tmp_path: Path) -> None:
    """Each stands in the table of files, with what is lost when it is lost."""
    patterns = [
        re.compile(re.sub("<[^>]*>", "[^/]+", re.escape(one)).replace(r"\*", ".*") + "$")
        for one in re.findall(r"^\| `([^`]*)` \|", PAGE, re.MULTILINE)
    ]
    with Store(tmp_path / "root", tmp_path / "run", "vfs", retention=0) as store:
        image = store.create_image(big_data={"k": b"v"})
        for number in range(80):
            store.set_metadata(image.id, str(number))
        store.redact(3)
        folder = Path(store.folder())
        with store.sandbox():
            there = [path for path in folder.rglob("*") if path.is_file()]
            there += [path for path in Path(store.run_folder()).rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder if path.is_relative_to(folder) else Path(store.run_folder()))) for path in there}
    assert len(names) > 7
    assert [name for name in names if not any(pattern.match(name) for pattern in patterns)] == []


def test_page_names_every_magic_and_size() -> None:
    for magic in (segments.MAGIC, frame.MAGIC, position.MAGIC, runs.MAGIC):
        assert magic.hex(" ") in PAGE
        with pytest.raises(UnicodeDecodeError):
            magic.decode()
    assert (segments.HEADER_BYTES, frame.HEADER_BYTES, position.BYTES, runs.FOOTER_BYTES) == (128, 128, 128, 256)
    assert (segments.FIRST_BYTES, segments.BYTES_MAX, frame.PAYLOAD_BYTES_MAX) == (128 << 10, 8 << 20, 64 << 20)


GOLDENS = ("journal-v1", "journal-v1-mended")


@pytest.mark.parametrize("name", GOLDENS)
def test_golden_journal_of_version_1_reads_as_it_did(tmp_path: Path, name: str) -> None:
    (tmp_path / "journal").mkdir()
    shutil.copy(GOLDEN / f"{name}.segment", tmp_path / "journal" / segments.file_name(1, 1))
    expected = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    with Ledger(str(tmp_path), fold=fold, read_only=True) as ledger:
        found = list(ledger.history())
        assert list(ledger.verify()) == []
    assert [commit.sequence for commit in found] == [one["sequence"] for one in expected]
    for commit, one in zip(found, expected, strict=True):
        assert commit.events == one["events"]
        assert (commit.time_ns, commit.envelope, commit.key, commit.fingerprint) == (
            one["time_ns"],
            one["envelope"],
            one["key"],
            one["print"],
        )
        assert commit.frame.hash.hex() == one["hash"]


def test_golden_journal_has_every_event_type() -> None:
    commits = [commit for name in GOLDENS for commit in json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))]
    golden = {event["type"] for commit in commits for event in commit["events"]}
    golden |= {event["type"] for event in json.loads((GOLDEN / "base-v1.json").read_text(encoding="utf-8"))["events"]}
    assert golden == set(codec.VERSIONS) - {"RunStarted"}


def test_golden_base_of_version_1_reads_as_it_did() -> None:
    """Made from the golden journal by ``base.write``; its name says where it stands."""
    expected = json.loads((GOLDEN / "base-v1.json").read_text(encoding="utf-8"))
    (path,) = GOLDEN.glob("*.base")
    found = base.Base(str(path))
    after = found.after()
    assert (found.sequence, after.segment, after.offset, after.back, after.time_ns) == tuple(expected["after"])
    assert after.hash.hex() == expected["hash"]
    assert found.archives == expected["archives"]
    assert [[key.decode("utf-8", "surrogateescape"), value] for key, value in found.rows()] == expected["rows"]
    assert list(found.damage()) == []


def test_codec_knows_the_declared_events() -> None:
    declared = {cls.__name__ for cls in typing.get_args(events.Event)}
    assert set(codec.VERSIONS) == declared | {"RunStarted", "PayloadRedacted"}


def test_encoded_payloads_decode_to_the_same() -> None:
    encoder = codec.Encoder()
    for commit in json.loads((GOLDEN / "journal-v1.json").read_text(encoding="utf-8")):
        payload = encoder.encode(commit["events"], commit["envelope"], commit["key"], commit["print"])
        document = codec.decode(payload)
        assert payload.isascii()
        assert (document["events"], document["envelope"], document.get("key")) == (commit["events"], commit["envelope"], commit["key"])


def test_older_events_are_brought_up_and_newer_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec.VERSIONS, "Pinned", 3)
    monkeypatch.setitem(codec.UPCASTERS, ("Pinned", 1), lambda event: {**event, "second": True})
    monkeypatch.setitem(codec.UPCASTERS, ("Pinned", 2), lambda event: {**event, "third": True})
    one = codec.decode(b'{"envelope":{},"events":[{"type":"Pinned"}]}')["events"]
    assert one == [{"type": "Pinned", "second": True, "third": True}]
    payload = codec.Encoder().encode([{"type": "Pinned"}], {})
    assert json.loads(payload)["events"] == [{"type": "Pinned", "v": 3}]
    assert codec.decode(payload)["events"] == [{"type": "Pinned"}]
    with pytest.raises(UnknownFormat):
        codec.decode(b'{"envelope":{},"events":[{"type":"Pinned","v":4}]}')


def test_newer_frame_and_segment_versions_stop_the_reader(tmp_path: Path) -> None:
    make(tmp_path / "s", 2).close()
    segment = next((tmp_path / "s" / "journal").iterdir())
    data = bytearray(segment.read_bytes())
    from layerlog.eventstore.crc32c import crc32c

    for at in (0, 128):
        newer = bytearray(data)
        newer[at + 12] = 2
        newer[at + 8 : at + 12] = crc32c(bytes(newer[at + 12 : at + 128])).to_bytes(4, "little")
        segment.write_bytes(newer)
        with pytest.raises(UnknownFormat):
            Ledger(str(tmp_path / "s"), fold=fold)
        assert segment.read_bytes() == newer, "nothing was written"


def test_crc32c_is_castagnolis() -> None:
    from layerlog.eventstore.crc32c import crc32c, crc32c_plain

    assert crc32c_plain(b"123456789") == 0xE3069283
    for size in range(200):
        assert crc32c(bytes(range(size))) == crc32c_plain(bytes(range(size)))
