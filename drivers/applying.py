"""How does one pass over a stream unpack it and learn all that the store records about it?

Two threads: the caller's reads the stream, parses the tar and writes files; a second one hashes and
decompresses (hashlib and the codecs release the GIL). Queues between them are bounded, so memory is, too.
"""

from __future__ import annotations

from layerlog.drivers import tarstream, whiteouts
from layerlog.drivers.recording import Recorder
from layerlog.drivers.tarfields import GLOBAL
from layerlog.drivers.unpacking import Unpacking
from layerlog.eventstore.errors import ArchiveLimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from layerlog.drivers.extract import Extractor

__all__ = ["Applied", "Limits", "Unpacking", "apply"]


class Limits:
    """What an archive may be at most, against bombs. None: no limit.

    ``ratio_max`` (unpacked to packed) is looked at beyond 64 MiB unpacked, since little data may well be mostly zeros.
    """

    __slots__ = ("bytes_max", "entries_max", "name_bytes_max", "ratio_max")

    def __init__(
        self,
        bytes_max: int | None = 1 << 42,
        entries_max: int | None = 20_000_000,
        ratio_max: int | None = 5000,
        name_bytes_max: int | None = 8192,
    ) -> None:
        self.bytes_max, self.entries_max, self.ratio_max, self.name_bytes_max = bytes_max, entries_max, ratio_max, name_bytes_max


class Applied:
    """What one pass learned. Digests are ``sha256:…``; ``compressed_*`` describe the stream as given.

    ``uids``, ``gids``: sorted owners named in the archive, whiteouts not counted. ``left_out``: (path, what) that
    an ordinary user could not apply. ``entries``: members.
    """

    __slots__ = ("compressed_digest", "compressed_size", "compression", "diff_digest", "diff_size", "entries", "gids", "left_out", "uids")

    def __init__(self) -> None:
        self.compressed_digest = self.diff_digest = ""
        self.compressed_size = self.diff_size = self.compression = self.entries = 0
        self.uids: list[int] = []
        self.gids: list[int] = []
        self.left_out: list[tuple[bytes, str]] = []


def apply(
    stream: IO[bytes],
    extractor: Extractor,
    limits: Limits | None = None,
    tar_split: IO[bytes] | None = None,
    progress: Callable[[int], None] | None = None,
    unpacked: Callable[[int], None] | None = None,
) -> Applied:
    """Unpack *stream* through *extractor*. ``progress`` is called with the number of bytes just read from *stream*,
    ``unpacked`` with the number of bytes they became.

    Raises InvalidArchive, ArchiveEscape, ArchiveLimit, NotSupported; OSError from the file system.
    """
    limits = limits or Limits()
    unpacking = Unpacking(stream, limits, progress, unpacked)
    try:
        applied = Applied()
        _walk(unpacking, extractor, applied, limits, tar_split)
        extractor.finish()
        unpacking.report(applied)
        applied.left_out = extractor.attributes.left_out
        return applied
    finally:
        unpacking.close()


def _walk(unpacking: Unpacking, extractor: Extractor, applied: Applied, limits: Limits, tar_split: IO[bytes] | None) -> None:
    feed = tarstream.Feed(iter(unpacking))
    reader = tarstream.TarReader(feed, keep_raw=tar_split is not None)
    recorder = Recorder(reader, tar_split) if tar_split is not None else None
    if recorder is not None:
        extractor.save = recorder.save
    try:
        _members(reader, recorder, extractor, applied, limits)
    finally:
        if recorder is not None:
            recorder.abandon()


def _members(reader: tarstream.TarReader, recorder: Recorder | None, extractor: Extractor, applied: Applied, limits: Limits) -> None:
    uids: set[int] = set()
    gids: set[int] = set()
    entries_max = limits.entries_max if limits.entries_max is not None else 1 << 62
    name_max = limits.name_bytes_max if limits.name_bytes_max is not None else 1 << 62
    while (member := reader.next()) is not None:
        applied.entries += 1
        if applied.entries > entries_max:
            raise ArchiveLimit(limit="entries", allowed=entries_max, offset=member.offset)
        if len(member.name) > name_max or len(member.link) > name_max:
            raise ArchiveLimit(limit="name bytes", allowed=name_max, offset=member.offset)
        if member.sparse is not None and limits.bytes_max is not None and member.real_size > limits.bytes_max:
            raise ArchiveLimit(limit="bytes", allowed=limits.bytes_max, offset=member.offset)
        if recorder is not None:
            recorder.headers()
        if member.kind == GLOBAL:
            if recorder is not None:
                recorder.member(member, 0, 0)
            continue
        if not whiteouts.is_named(member.name):
            uids.add(member.uid)
            gids.add(member.gid)
        if recorder is not None:
            recorder.unpack(extractor, member)
        else:
            content = reader.content(member.size)
            extractor.add(member, (content,) if content is not None else reader.pieces())
    if recorder is not None:
        recorder.headers()
        recorder.tail()
        recorder.close(extractor)
    else:
        for _ in reader.tail():
            pass
    applied.uids, applied.gids = sorted(uids), sorted(gids)
