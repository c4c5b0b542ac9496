"""The bytes of an archive, unpacked and hashed on a second thread.

The caller's thread reads the stream and gets the pieces; the other one hashes and decompresses, since hashlib and
the codecs release the GIL. Queues between them are bounded, so memory is, too.
"""

from __future__ import annotations

import hashlib
from collections import deque

from layerlog.drivers import compression
from layerlog.eventstore.errors import ArchiveLimit, InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

    from layerlog.drivers.applying import Applied, Limits

_READ_BYTES = 256 << 10
_AHEAD = 4  # pieces that may wait in each direction
_THREAD_FROM_BYTES = 128 << 10  # a smaller archive is unpacked before a thread would have started


class Unpacking:
    """The unpacked bytes of *stream* in pieces, while both digests are taken.

    Iterate once. ``report`` is valid when the iteration has ended. The caller's thread alone touches
    *stream*, so an error of its ``read`` reaches the caller and nothing reads on behind its back.
    """

    def __init__(
        self,
        stream: IO[bytes],
        limits: Limits,
        progress: Callable[[int], None] | None,
        unpacked: Callable[[int], None] | None = None,
    ) -> None:
        self._stream, self._limits, self._progress, self._unpacked = stream, limits, progress, unpacked
        self._read_size = self._out_size = 0
        self._code = compression.NONE
        self._packed_sum = hashlib.sha256()
        self._unpacked_sum: Any = hashlib.sha256()
        self._worker: _Worker | None = None

    def __iter__(self) -> Iterator[bytes]:
        first = self._first()
        self._code = compression.detect(first)
        if self._code == compression.NONE:
            self._unpacked_sum = self._packed_sum
        decoder = compression.decoder(self._code)
        blocks = self._blocks(first)
        try:
            if len(first) < _THREAD_FROM_BYTES:
                pieces = _in_line(blocks, decoder, self._sums())
            else:
                self._worker = _Worker(decoder, self._sums())
                pieces = self._worker.pieces(blocks)
            for piece in pieces:
                self._out_size += len(piece)
                self._check_limits()
                yield piece
                if self._unpacked is not None:
                    self._unpacked(len(piece))
        except InvalidArchive as error:
            if isinstance(error, ArchiveLimit):
                raise
            raise InvalidArchive(why=error.data["why"], offset=self._out_size) from error

    def _sums(self) -> tuple[Any, Any]:
        return self._packed_sum, None if self._code == compression.NONE else self._unpacked_sum

    def _first(self) -> bytes:
        """Enough of the stream to tell its compression and whether it is small."""
        parts: list[bytes] = []
        size = 0
        while size < _THREAD_FROM_BYTES:
            part = self._stream.read(_READ_BYTES)
            if not part:
                break
            self._count(part)
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _count(self, part: bytes) -> None:
        self._read_size += len(part)
        if self._progress is not None:
            self._progress(len(part))

    def _blocks(self, first: bytes) -> Iterator[bytes]:
        for start in range(0, len(first), _READ_BYTES):
            yield first[start : start + _READ_BYTES]
        if len(first) >= _THREAD_FROM_BYTES:
            while part := self._stream.read(_READ_BYTES):
                self._count(part)
                yield part

    def _check_limits(self) -> None:
        limits = self._limits
        if limits.bytes_max is not None and self._out_size > limits.bytes_max:
            raise ArchiveLimit(limit="bytes", allowed=limits.bytes_max, offset=self._out_size)
        if limits.ratio_max is not None and self._out_size > 64 << 20 and self._out_size > limits.ratio_max * max(self._read_size, 1):
            raise ArchiveLimit(limit="ratio", allowed=limits.ratio_max, offset=self._out_size)

    def report(self, applied: Applied) -> None:
        applied.compression = self._code
        applied.compressed_size, applied.diff_size = self._read_size, self._out_size
        applied.compressed_digest = "sha256:" + self._packed_sum.hexdigest()
        applied.diff_digest = "sha256:" + self._unpacked_sum.hexdigest()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()


def _in_line(blocks: Iterator[bytes], decoder: compression.Decoder, sums: tuple[Any, Any]) -> Iterator[bytes]:
    packed_sum, unpacked_sum = sums
    for block in blocks:
        packed_sum.update(block)
        for piece in decoder.feed(block):
            if unpacked_sum is not None:
                unpacked_sum.update(piece)
            yield piece
    decoder.finish()


class _Worker:
    """The second thread: blocks in, pieces out; hashes both."""

    def __init__(self, decoder: compression.Decoder, sums: tuple[Any, Any]) -> None:
        import threading

        self._decoder, self._sums = decoder, sums
        self._inward: deque[bytes | None] = deque()
        self._outward: deque[tuple[str, Any]] = deque()
        self._to_do = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self._room = threading.Semaphore(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="layerlog-unpack", daemon=True)
        self._thread.start()

    def pieces(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """On the caller's thread: keep a few blocks under way and yield what comes back."""
        under_way = 0
        more = True
        while True:
            while more and under_way < _AHEAD:
                block = next(blocks, None)
                self._inward.append(block)
                self._to_do.release()
                under_way += 1
                more = block is not None
            self._done.acquire()
            word, value = self._outward.popleft()
            if word == "piece":
                yield value
                self._room.release()
            elif word == "block":
                under_way -= 1
            elif word == "error":
                raise value
            else:
                return

    def close(self) -> None:
        """End the thread; at most a few pieces of work are in its hands."""
        self._stop.set()
        self._inward.clear()
        self._inward.append(None)
        self._to_do.release(_AHEAD + 1)
        self._room.release(2 * _AHEAD)
        self._thread.join()

    def _say(self, word: str, value: Any = None) -> None:
        self._outward.append((word, value))
        self._done.release()

    def _run(self) -> None:
        packed_sum, unpacked_sum = self._sums
        try:
            while not self._stop.is_set():
                self._to_do.acquire()
                block = self._inward.popleft() if self._inward else None
                if block is None:
                    if not self._stop.is_set():
                        self._decoder.finish()
                    break
                packed_sum.update(block)
                for piece in self._decoder.feed(block):
                    if unpacked_sum is not None:
                        unpacked_sum.update(piece)
                    self._room.acquire()
                    if self._stop.is_set():
                        return
                    self._say("piece", piece)
                self._say("block")
            self._say("end")
        except BaseException as error:  # noqa: BLE001  handed to the caller's thread, which raises it there
            self._say("error", error)
