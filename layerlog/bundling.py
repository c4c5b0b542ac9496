"""Bundles: a journal without any contents, as a tar that can be sent, and replayed to the same state elsewhere.

The tar holds ``bundle.json`` and the segments under ``journal/``, each up to where it ended, with owners and
times of zero: the same journal gives the same bytes. A redacted bundle has other payloads, of equal length and
with the frames' headers as they were, so its chain verifies.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
import tempfile

from attrs import frozen

from layerlog.eventstore import disk, segments
from layerlog.eventstore.base import ASIDE
from layerlog.eventstore.base import write as write_base
from layerlog.eventstore.damage import is_redacted
from layerlog.eventstore.errors import InvalidImage, InvalidRequest
from layerlog.eventstore.frame import HEADER_BYTES
from layerlog.eventstore.genesis import journal_folder
from layerlog.eventstore.journal import GENESIS, Journal
from layerlog.eventstore.position import Position, boot_id
from layerlog.eventstore.reading import SEGMENTS
from layerlog.eventstore.schema import SchemaBroken, structure_frame
from layerlog.redacting import Words, redact_payload, redact_row
from layerlog.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore.base import Base

FORMAT = 1
DOCUMENT = "bundle.json"
DRIVER = "null"
_MEMBER = re.compile(SEGMENTS + r"/[0-9]{8}-[0-9]{16}\.(segment|base)")


@frozen
class Bundle:
    """What is in a bundle."""

    path: str
    sequence: int
    """The last commit in it."""
    head: str
    size: int
    """Bytes of the tar."""
    redacted: bool


def bundle(core: Core, path: str | os.PathLike[str], *, redact: bool = False) -> Bundle:
    """See ``Store.bundle``."""
    target = os.path.abspath(os.fspath(path))
    journal = Journal.open(core.ledger.folder, read_only=True, durable=True)
    aside = f"{target}.{os.urandom(6).hex()}.new"
    made = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)  # in whatever folder the caller names
    try:
        end = journal.position
        head = f"{end.sequence}:{end.hash.hex()}"
        document = {"format": FORMAT, "sequence": end.sequence, "head": head, "redacted": redact}
        with os.fdopen(made, "w+b") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, DOCUMENT, json.dumps(document, sort_keys=True).encode() + b"\n")
            words = Words()
            if (based := journal.base()) is not None:
                _add_base(tar, based, words if redact else None)
            for segment, start, stop in _pieces(journal, end):
                data = os.pread(journal.read_fd(segment.number), stop.offset, 0)
                _add(tar, f"{SEGMENTS}/{os.path.basename(segment.path)}", _redacted(journal, data, start, stop, words) if redact else data)
        os.replace(aside, target)
    finally:
        disk.unlink(aside)
        journal.close()
    return Bundle(target, end.sequence, head, os.path.getsize(target), redact)


def _pieces(journal: Journal, end: Position) -> Iterator[tuple[segments.Segment, Position, Position]]:
    """Each segment up to *end*, with the points where its frames begin and end."""
    numbers = [number for number, _, _ in segments.listing(journal.segments_folder) if number <= end.segment]
    for number, following in zip(numbers, [*numbers[1:], 0], strict=True):
        segment = journal.segment(number)
        stop = end
        if following:
            after = journal.segment(following)
            size = after.before_end or os.fstat(journal.read_fd(number)).st_size
            stop = Position(number, size, after.first_sequence - 1, after.time_ns, after.before_hash, after.before_back)
        yield segment, segment.start(), stop


def _add_base(tar: tarfile.TarFile, based: Base, words: Words | None) -> None:
    """What a compacted journal begins with; its rows redacted where *words* are given."""
    name = f"{SEGMENTS}/{os.path.basename(based.path)}"
    with tempfile.TemporaryDirectory() as folder:
        path = based.path
        if words is not None:
            write_base(folder, _redacted_rows(based, words), based.after(), based.segment.journal_id, [], redacted=True)
            path = os.path.join(folder, ASIDE)
        with open(path, "rb") as file:
            _add(tar, name, file.read())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


# --- redaction


def _redacted(journal: Journal, data: bytes, start: Position, stop: Position, words: Words) -> bytes:
    found = bytearray(data)
    for frame in journal.frames(start, stop):
        if frame.payload is not None and not is_redacted(frame.payload):
            at = frame.offset + HEADER_BYTES
            found[at : at + frame.length] = redact_payload(frame.payload, words)
    return bytes(found)


def _redacted_rows(based: Base, words: Words) -> list[tuple[bytes, Any]]:
    """The rows of a base with the same placeholders as the commits after it; names and client keys stand in keys, too."""
    return sorted((redact_row(key, value, words) for key, value in based.rows()), key=lambda row: row[0])


# --- replay


def replay(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> Store:
    """Make a store of a bundle in *root*, on the null driver, and open it: the same records, past and present, no contents.

    *root* may hold other things, but no replayed store yet. Raises InvalidImage (not a bundle, or not whole), InvalidRequest.
    """
    target = os.path.abspath(os.path.expanduser(os.fspath(root)))
    folder = journal_folder(target, DRIVER)
    if Journal.exists(folder):
        raise InvalidRequest(f"{folder} holds a journal already: give another --graph directory")
    document, parts = _read(os.fspath(path))
    disk.make_folders(os.path.join(folder, SEGMENTS))
    for name, data in sorted(parts.items(), reverse=True):  # the first one makes it a journal
        _write_segment(os.path.join(folder, name), data)
    if min(parts).endswith(segments.SUFFIX):  # else the journal begins with a base
        _write(os.path.join(folder, GENESIS), _first_bytes(parts[min(parts)]))
    _write(os.path.join(folder, "settled"), boot_id().hex().encode())  # nothing of this boot is to be recovered
    try:
        _check(os.fspath(path), folder, document["head"])
    except BaseException:
        shutil.rmtree(folder)
        raise
    return Store(target, driver=DRIVER)


def _check(path: str, folder: str, head: str) -> None:
    """A journal from elsewhere is folded only when all of it reads as this one would have written it."""
    journal = Journal.open(folder, read_only=True)
    try:
        found = f"{journal.position.sequence}:{journal.position.hash.hex()}"
        if found != head:
            raise InvalidImage(where=path, why=f"its journal ends with {found[:20]}…, its {DOCUMENT} says {head[:20]}…")
        for frame in journal.frames(journal.start()):
            structure_frame(frame.payload or b"", f"commit {frame.sequence}")
    except SchemaBroken as broken:
        raise InvalidImage(where=path, why=str(broken)) from broken
    finally:
        journal.close()


def _read(path: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            members = {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar if member.isfile()}
        document = json.loads(members.pop(DOCUMENT))
    except (tarfile.TarError, KeyError, ValueError, EOFError) as error:
        raise InvalidImage(where=path, why=f"not a bundle ({error})") from error
    strange = [name for name in members if not _MEMBER.fullmatch(name)]
    if strange or not members or document.get("format") != FORMAT or not isinstance(document.get("head"), str):
        raise InvalidImage(where=path, why=f"not a bundle of format {FORMAT}")
    return document, members


def _write_segment(path: str, data: bytes) -> None:
    """A segment as it was, zero-filled to its size."""
    segment = segments.parse(data[: segments.HEADER_BYTES], path) if path.endswith(segments.SUFFIX) else None
    size = max(segment.size if segment is not None and segment.size <= 2 * segments.BYTES_MAX else 0, len(data))
    _write(path, data, size)


def _write(path: str, data: bytes, size: int = 0) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        disk.pwrite_all(fd, data, 0)
        disk.write_zeros(fd, len(data), max(size - len(data), 0))
        disk.fsync(fd)
    finally:
        os.close(fd)


def _first_bytes(data: bytes) -> bytes:
    """What the copy of the genesis holds: the first segment's header and first frame."""
    length = int.from_bytes(data[segments.HEADER_BYTES + 16 : segments.HEADER_BYTES + 20], "little")
    return data[: segments.HEADER_BYTES + HEADER_BYTES + length]
