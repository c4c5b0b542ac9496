from __future__ import annotations

import base64
import gzip
import io
import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerlog.drivers import applying, tarsplit
from layerlog.drivers.extract import Extractor
from layerlog.eventstore.errors import ContentsDamaged, InvalidArchive
from tests.drivers import tars

if TYPE_CHECKING:
    from pathlib import Path


def record(root: Path | str, data: bytes) -> io.BytesIO:
    split = io.BytesIO()
    extractor = Extractor(str(root), not os.listdir(root))
    try:
        applying.apply(io.BytesIO(data), extractor, tar_split=split)
    finally:
        extractor.close()
    split.seek(0)
    return split


def assemble(root: Path | str, split: io.BytesIO) -> bytes:
    split.seek(0)
    return b"".join(tarsplit.assemble(tarsplit.entries(split), str(root), "layer"))


def test_the_lines_are_those_of_the_original(tmp_path: Path) -> None:
    """Compared with what vbatts/tar-split writes for this archive."""
    data = tars.file(b"f", b"content") + tars.file(b"caf\xe9", b"") + tars.folder(b"<&>") + tars.END
    lines = [json.loads(line) for line in gzip.decompress(record(tmp_path, data).read()).splitlines()]
    assert [line["type"] for line in lines] == [2, 1, 2, 1, 2, 1, 2]
    assert [line["position"] for line in lines] == list(range(7))
    assert (
        lines[1] == {"type": 1, "name": "f", "size": 7, "payload": "hcWVZNLRb1g=", "position": 1}
        or len(base64.b64decode(lines[1]["payload"])) == 8
    )
    assert lines[3] == {"type": 1, "name_raw": base64.b64encode(b"caf\xe9").decode(), "payload": None, "position": 3}
    assert lines[5] == {"type": 1, "name": "<&>/", "payload": None, "position": 5}
    assert base64.b64decode(lines[6]["payload"]) == tars.END


def test_markup_in_names_is_escaped_as_go_does(tmp_path: Path) -> None:
    plain = gzip.decompress(record(tmp_path, tars.archive(tars.file('<&>\u2028"\\é'.encode()))).read())
    assert '"name":"\\u003c\\u0026\\u003e\\u2028\\"\\\\é"'.encode() in plain


HARD = {
    "no end": tars.file(b"a", b"x"),
    "no padding": tars.header(b"a", size=3) + b"abc",
    "nothing": b"",
    "one zero block": tars.file(b"a", b"x") + bytes(512),
    "zeros behind": tars.archive(tars.file(b"a", b"x")) + bytes(10240),
    "junk behind": tars.archive(tars.file(b"a", b"x")) + os.urandom(3_000_000),
    "whiteout with content": tars.archive(tars.file(b".wh.x", b"why not"), tars.file(b"a", b"x")),
    "link with size": tars.archive(tars.file(b"a", b"x"), tars.header(b"l", b"1", size=700, link=b"a"), tars.file(b"b", b"y")),
    "global header": tars.archive(tars.pax({b"comment": b"x"}, b"g"), tars.file(b"a", b"x")),
    "twice the same": tars.archive(tars.file(b"a", b"one"), tars.file(b"a", b"two")),
    "three times": tars.archive(tars.file(b"a", b"one" * 1000), tars.file(b"./a", b"two" * 1000), tars.file(b"a", b"three")),
    "by another way": tars.archive(tars.folder(b"d"), tars.symlink(b"s", b"d"), tars.file(b"s/a", b"one"), tars.file(b"d/a", b"two")),
    "a folder in the way": tars.archive(tars.folder(b"d"), tars.file(b"d/a", b"one"), tars.file(b"d", b"two")),
    "hard link replaced": tars.archive(tars.file(b"a", b"one"), tars.hard_link(b"b", b"a"), tars.file(b"a", b"two")),
    "sparse": tars.archive(
        tars.file(
            b"x",
            b"abcdeZ",
            {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.size": b"99999", b"GNU.sparse.map": b"0,3,5000,3"},
        )
    ),
    "sparse 1.0": tars.archive(
        tars.file(
            b"x",
            tars.padded(b"1\n10\n3\n") + b"abc",
            {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"13", b"GNU.sparse.name": b"s"},
        )
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_an_archive_comes_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    split = record(tmp_path, HARD[name])
    assert assemble(tmp_path, split) == HARD[name]


def test_an_archive_that_could_not_be_given_back_is_refused(tmp_path: Path) -> None:
    """A file unpacked through a symlink that changes afterwards: its name leads nowhere any more."""
    data = tars.archive(tars.folder(b"d"), tars.symlink(b"s", b"d"), tars.file(b"s/a", b"one"), tars.folder(b"e"), tars.symlink(b"s", b"e"))
    with pytest.raises(InvalidArchive, match="duplicates of file paths not supported"):
        record(tmp_path, data)


NAMES = st.sampled_from(
    [b"a", b"b", b"./a", b"d", b"d/", b"d/a", b"d/b", b"e/a", b"s/a", b".wh.a", b"d/.wh.b", b".wh..wh..opq", b"d/.wh..wh..opq", b"caf\xe9"]
)
MEMBERS = st.one_of(
    st.builds(tars.file, NAMES, st.binary(max_size=700)),
    st.builds(tars.folder, NAMES),
    st.builds(tars.symlink, NAMES, st.sampled_from([b"d", b"e", b".", b"..", b"/d"])),
    st.builds(tars.hard_link, NAMES, NAMES),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(st.lists(MEMBERS, max_size=12), st.binary(max_size=30))
def test_what_was_accepted_comes_back(members: list[bytes], tail: bytes) -> None:
    import tempfile

    data = tars.archive(*members) + tail
    with tempfile.TemporaryDirectory() as root:
        try:
            split = record(root, data)
        except (InvalidArchive, PermissionError):
            return
        assert assemble(root, split) == data


def test_a_changed_content_is_noticed(tmp_path: Path) -> None:
    split = record(tmp_path, tars.archive(tars.file(b"d/f", b"content")))
    (tmp_path / "d" / "f").write_bytes(b"CONTENT")
    with pytest.raises(ContentsDamaged, match="file integrity checksum failed") as caught:
        assemble(tmp_path, split)
    assert caught.value.data["path"] == "d/f"


@pytest.mark.parametrize("change", ["shorter", "longer", "gone", "a symlink"])
def test_every_other_change_of_a_file_is_noticed(change: str, tmp_path: Path) -> None:
    split = record(tmp_path, tars.archive(tars.file(b"f", b"content"), tars.file(b"g", b"content")))
    file = tmp_path / "f"
    if change in ("shorter", "longer"):
        file.write_bytes(b"con" if change == "shorter" else b"content!")
    else:
        file.unlink()
        if change == "a symlink":
            file.symlink_to("g")
    with pytest.raises(ContentsDamaged):
        assemble(tmp_path, split)


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_cut_tar_split_data_are_noticed(cut: int, tmp_path: Path) -> None:
    whole = record(tmp_path, tars.archive(tars.file(b"f", b"content"))).getvalue()
    with pytest.raises(ContentsDamaged):
        assemble(tmp_path, io.BytesIO(whole[: -cut - 8]))


@pytest.mark.parametrize("line", [b"{}", b"[]", b"x", b'{"type":3}', b'{"type":1,"size":-1}', b'{"type":2,"payload":5}'])
def test_lines_that_make_no_sense_are_refused(line: bytes) -> None:
    with pytest.raises(ContentsDamaged):
        list(tarsplit.entries(io.BytesIO(line + b"\n")))


LINES = [
    b'{"type":2,"payload":"aGFsbG8=","position":0}',
    b'{"type":1,"name":"usr/bin/x","size":12,"payload":"hcWVZNLRb1g=","position":1}',
    b'{"type":1,"name":"usr/bin/","payload":null,"position":2}',
    b'{"type":1,"name":"a\\u003cb","size":1,"payload":"hcWVZNLRb1g=","position":3}',
    b'{"type":1,"name_raw":"Y2Fm6Q==","payload":null,"position":4}',
    '{"type":1,"name":"zażółć","size":99,"payload":"hcWVZNLRb1g=","position":5}'.encode(),
    b'{"type":1,"payload":null,"position":6}',
    b'{"type": 1, "name": "spaced", "size": 3, "payload": "hcWVZNLRb1g=", "position": 7}',
]


@pytest.mark.parametrize("line", LINES)
def test_the_quick_way_to_read_a_line_finds_what_the_parser_of_json_finds(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> list[tuple[object, ...]]:
        return [(one.kind, one.name, one.size, one.payload) for one in tarsplit.entries(io.BytesIO(line + b"\n"))]

    quick = read()
    monkeypatch.setattr(tarsplit, "_plain_entry", lambda line: None)
    assert quick == read()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(LINES), st.integers(0, 80), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_line_is_damage_or_another_line_and_nothing_else(line: bytes, place: int, put: bytes, cut: int) -> None:
    hurt = (line[:place] + put + line[place + cut :]).replace(b"\n", b"")
    try:
        found = list(tarsplit.entries(io.BytesIO(hurt + b"\n")))
    except ContentsDamaged:
        return
    assert all(one.kind in (tarsplit.FILE, tarsplit.SEGMENT) and one.size >= 0 for one in found)
