from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlog.drivers.tarstream import Feed, TarReader
from layerlog.eventstore.errors import ArchiveLimit, InvalidArchive
from tests.drivers import tars

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.drivers.tarfields import Member


def read(data: bytes, chunk: int = 1 << 20) -> list[tuple[Member, bytes]]:
    reader = TarReader(Feed(data[at : at + chunk] for at in range(0, len(data), chunk)))
    found = []
    while (member := reader.next()) is not None:
        found.append((member, b"".join(map(bytes, reader.pieces()))))
    return found


def only(data: bytes) -> Member:
    [(member, _)] = read(data)
    return member


def test_fields_of_a_ustar_header_are_read() -> None:
    data = tars.archive(tars.header(b"leaf", b"0", 5, 0o4751, 1000, 2000, 1234, prefix=b"a/b") + tars.padded(b"hello"))
    [(member, content)] = read(data)
    assert (member.name, member.kind, member.mode, member.uid, member.gid) == (b"a/b/leaf", b"0", 0o4751, 1000, 2000)
    assert (member.mtime_ns, member.size, content) == (1234 * 10**9, 5, b"hello")


@pytest.mark.parametrize("chunk", [1, 7, 511, 512, 513, 100_000])
def test_the_size_of_the_pieces_that_arrive_does_not_matter(chunk: int) -> None:
    data = tars.archive(
        tars.file(b"a", b"x" * 1000), tars.folder(b"d"), tars.file(b"b" * 90, b"", {b"path": b"long" * 60}), tars.file(b"c", b"y" * 512)
    )
    assert [(m.name, m.kind, c) for m, c in read(data, chunk)] == [(m.name, m.kind, c) for m, c in read(data)]


def test_content_that_nobody_reads_is_skipped() -> None:
    reader = TarReader(Feed(iter([tars.archive(tars.file(b"a", b"x" * 5000), tars.file(b"b", b"y"))])))
    assert [member.name for member in iter(reader.next, None)] == [b"a", b"b"]


def test_an_iteration_abandoned_half_way_is_skipped_to_its_end() -> None:
    reader = TarReader(
        Feed(iter([tars.archive(tars.file(b"a", b"x" * 5000), tars.file(b"b", b"y"))][0][at : at + 100] for at in range(0, 9000, 100)))
    )
    reader.next()
    next(reader.pieces())
    found = reader.next()
    assert found is not None
    assert found.name == b"b"


class TestEnds:
    def test_an_empty_stream_has_no_members(self) -> None:
        assert read(b"") == []

    def test_missing_end_blocks_are_accepted(self) -> None:
        assert [m.name for m, _ in read(tars.file(b"a", b"x"))] == [b"a"]

    def test_a_last_member_without_padding_is_accepted(self) -> None:
        [(member, content)] = read(tars.header(b"a", b"0", 3) + b"abc")
        assert (member.name, content) == (b"a", b"abc")

    def test_one_zero_block_is_an_end(self) -> None:
        assert len(read(tars.file(b"a") + bytes(512))) == 1

    def test_what_follows_the_end_is_not_read_as_members(self) -> None:
        assert len(read(tars.archive(tars.file(b"a")) + tars.file(b"b"))) == 1

    @pytest.mark.parametrize("cut", [1, 100, 511])
    def test_a_cut_header_is_an_unexpected_eof(self, cut: int) -> None:
        with pytest.raises(InvalidArchive, match="unexpected EOF"):
            read(tars.file(b"a", b"x" * 600)[:cut])

    @pytest.mark.parametrize("cut", [512, 513, 1111])
    def test_a_cut_content_is_an_unexpected_eof(self, cut: int) -> None:
        with pytest.raises(InvalidArchive, match="unexpected EOF"):
            read(tars.file(b"a", b"x" * 600)[:cut])

    def test_an_extended_header_without_its_member_is_an_unexpected_eof(self) -> None:
        with pytest.raises(InvalidArchive, match="unexpected EOF"):
            read(tars.pax({b"path": b"x"}) + tars.END)

    @pytest.mark.parametrize("junk", [b"hello", b"x" * 512, b"\0" * 512 + b"x" * 512, os.urandom(2048)])
    def test_junk_is_said_to_be_junk(self, junk: bytes) -> None:
        with pytest.raises(InvalidArchive, match=r"invalid tar header|unexpected EOF"):
            read(junk)

    def test_every_flipped_byte_of_a_header_is_noticed(self) -> None:
        whole = tars.archive(tars.file(b"name", b"x"))
        for at in range(512):
            if 148 <= at < 156:
                continue  # the checksum itself
            damaged = bytearray(whole)
            damaged[at] ^= 0x55
            with pytest.raises(InvalidArchive):
                read(bytes(damaged))


class TestNumbers:
    @pytest.mark.parametrize("mtime", [0, 8**11 - 1, 8**11, -1, -86400 * 365, 2**40, -(2**40)])
    def test_base_256_times_are_read(self, mtime: int) -> None:
        assert only(tars.archive(tars.header(b"a", mtime=mtime))).mtime_ns == mtime * 10**9

    def test_a_large_owner_is_read(self) -> None:
        assert only(tars.archive(tars.header(b"a", uid=3_000_000, gid=2**31))).uid == 3_000_000

    def test_a_negative_size_is_refused(self) -> None:
        with pytest.raises(InvalidArchive, match="negative size"):
            read(tars.archive(tars.header(b"a", size=-5)))

    @pytest.mark.parametrize(
        ("text", "ns"),
        [(b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"0", 0), (b"-0.000000001", -1), (b"12.1234567899", 12_123_456_789)],
    )
    def test_pax_times_keep_their_nanoseconds(self, text: bytes, ns: int) -> None:
        assert only(tars.archive(tars.file(b"a", records={b"mtime": text}))).mtime_ns == ns

    @pytest.mark.parametrize("record", [{b"mtime": b"abc"}, {b"uid": b"-1"}, {b"size": b"x"}, {b"size": b"9" * 30}])
    def test_a_number_that_is_none_is_refused(self, record: dict[bytes, bytes]) -> None:
        with pytest.raises(InvalidArchive):
            read(tars.archive(tars.file(b"a", records=record)))


class TestNames:
    @pytest.mark.parametrize("name", [b"a" * 101, b"d/" * 200 + b"leaf", "zażółć".encode(), b"latin1-caf\xe9", b"new\nline", b"eq=ual"])
    def test_pax_names_are_bytes_of_any_kind(self, name: bytes) -> None:
        member = only(tars.archive(tars.file(b"short", records={b"path": name, b"hdrcharset": b"BINARY"})))
        assert member.name == name

    def test_gnu_long_names_and_links_are_read(self) -> None:
        name, link = b"n" * 300, b"l" * 400
        data = (
            tars.header(b"././@LongLink", b"K", 401)
            + tars.padded(link + b"\0")
            + tars.header(b"././@LongLink", b"L", 301)
            + tars.padded(name + b"\0")
        )
        member = only(tars.archive(data + tars.header(b"n" * 100, b"2", link=b"l" * 100, magic=b"ustar  \0")))
        assert (member.name, member.link) == (name, link)

    def test_a_gnu_header_has_no_prefix(self) -> None:
        assert only(tars.archive(tars.header(b"a", magic=b"ustar  \0", prefix=b"garbage"))).name == b"a"

    def test_a_name_with_nul_is_refused(self) -> None:
        with pytest.raises(InvalidArchive, match="NUL"):
            read(tars.archive(tars.file(b"a", records={b"path": b"a\0b"})))

    def test_an_empty_record_takes_the_field_of_the_header(self) -> None:
        assert only(tars.archive(tars.file(b"own", records={b"path": b""}))).name == b"own"

    def test_a_huge_extended_header_is_refused_before_it_is_read(self) -> None:
        with pytest.raises(ArchiveLimit):
            read(tars.header(b"x", b"x", 1 << 40))

    @pytest.mark.parametrize("data", [b"xx path=a\n", b"99 path=a\n", b"5 a\n\n", b"9 path=ab", b"6 =ab\n"])
    def test_malformed_records_are_refused(self, data: bytes) -> None:
        with pytest.raises(InvalidArchive):
            read(tars.header(b"p", b"x", len(data)) + tars.padded(data) + tars.archive(tars.file(b"a")))


def test_xattrs_are_binary() -> None:
    value = b"\0\xff\n=\0"
    member = only(tars.archive(tars.file(b"a", records={b"SCHILY.xattr.user.b": value, b"SCHILY.xattr.user.empty": b""})))
    assert member.xattrs == {b"user.b": value, b"user.empty": b""}


def test_a_global_header_is_a_member_that_changes_nothing() -> None:
    members = read(tars.archive(tars.pax({b"comment": b"git", b"path": b"evil"}, b"g"), tars.file(b"a", b"x")))
    assert [(m.name, m.kind) for m, _ in members] == [(b"PaxHeaders/x", b"g"), (b"a", b"0")]


def test_header_only_kinds_have_no_content_whatever_their_size_says() -> None:
    data = tars.archive(tars.header(b"l", b"1", size=5000, link=b"t"), tars.file(b"a", b"x"))
    assert [m.name for m, _ in read(data)] == [b"l", b"a"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60), min_size=1, max_size=8
    ),
    data=st.binary(max_size=2000),
)
def test_what_tarfile_writes_is_read_alike(form: int, names: list[str], data: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for place, name in enumerate(names):
            info = tarfile.TarInfo(f"d{place}/{name}")
            info.size, info.mtime, info.uid = len(data), 12345 + place, place
            try:
                tar.addfile(info, io.BytesIO(data))
            except ValueError:
                return  # ustar cannot hold that name
    seen = [(m.name.decode("utf-8", "surrogateescape"), m.uid, m.mtime_ns // 10**9, c) for m, c in read(out.getvalue(), 700)]
    assert seen == [(f"d{place}/{name}", place, 12345 + place, data) for place, name in enumerate(names)]


@pytest.mark.skipif(not shutil.which("tar"), reason="needs GNU tar")
@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
)
@pytest.mark.parametrize("parts", [1, 3, 30])
def test_sparse_files_of_gnu_tar_are_read(options: list[str], parts: int, tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        for part in range(parts):
            file.seek(part << 20)
            file.write(b"data %d" % part)
        file.truncate((parts << 20) + 12345)
    done = subprocess.run(["tar", "--sparse", *options, "-cf", "-", "sparse"], cwd=tmp_path, capture_output=True, check=True)
    [(member, content)] = read(done.stdout, 3000)
    assert member.name == b"sparse"
    assert member.sparse is not None
    whole = bytearray(member.real_size)
    at = 0
    for start, length in member.sparse:
        whole[start : start + length] = content[at : at + length]
        at += length
    assert bytes(whole) == (tmp_path / "sparse").read_bytes()


def test_a_sparse_map_that_lies_is_refused() -> None:
    for text in (b"0,100", b"0,5,3,5", b"0", b"-1,5", b"9999999,5"):
        records = {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.size": b"1000", b"GNU.sparse.map": text}
        with pytest.raises(InvalidArchive):
            read(tars.archive(tars.file(b"a", b"12345", records)))


@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data, 600)
    except InvalidArchive:
        return
