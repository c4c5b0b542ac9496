"""Following: every commit as it becomes durable, once and in order, in this or any other process.

A follower reads the published position, which each writer overwrites after its fdatasync: inotify (through
watchdog) wakes it, and where that cannot be had (no watchdog, no watches left, a network file system) it
looks by itself often enough. It takes no lock and holds nobody up.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from layerlog.eventstore import disk, ofd
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.reading import POSITION
from layerlog.eventstore.state import Commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LOOK_SECONDS = 0.05
"""How often to look where nothing wakes us: one pread, about 1 us."""
WATCHED_LOOK_SECONDS = 1.0
"""How often to look all the same where something does: a file system may tell nothing."""


class Follower:
    """Commits after one of them. A context manager; used by one thread, ``stop`` may be called by any.

    Damaged commits are left out, as in ``Ledger.history``. The segment that it reads in is locked, shared, so that
    compaction leaves it and all after it where they are.
    """

    def __init__(self, folder: str, after: int, *, durable: bool = True) -> None:
        """Follow the ledger in *folder* from the commit after *after* on. Raises: FileNotFoundError (no ledger here), HistoryCompacted."""
        self.folder = folder
        self.after = after
        """The last commit that was given out."""
        self._through = after
        """The last commit that was read, and those of them that are still to be given out."""
        self._pending: list[Commit] = []
        self._durable = durable
        self._journal = Journal.open(folder, read_only=True, durable=durable)
        self._held = (0, -1)
        """The segment that is locked, and its descriptor."""
        try:
            self._journal.reach_back(after)
            self._at = self._journal.start_of(after + 1)
            self._stand(self._at.segment)
        except BaseException:
            self._journal.close()
            raise
        self._woken = threading.Event()
        self._stopped = False
        self._observer: Any = None
        self._looking = 0.0
        """Seconds between looks; 0 before the first wait."""

    def new(self, seconds: float | None = 0.0) -> list[Commit]:
        """Commits that came since the last call; waits up to *seconds* (None: for ever) for one. Empty also after ``stop``."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._stopped:
            self._look()
            if self._pending:
                found, self._pending, self.after = self._pending, [], self._through
                return found
            self.after = self._through
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return []
            if not self._looking:
                self._looking = self._watch()
                continue  # what came before the watch stood
            self._woken.wait(self._looking if left is None else min(left, self._looking))
            self._woken.clear()
        return []

    def __iter__(self) -> Iterator[Commit]:
        """Commits for ever, until ``stop``."""
        while not self._stopped:
            if not self._pending:
                self._pending = self.new(None)
            if self._pending:
                self.after = self._pending[0].sequence
                yield self._pending.pop(0)

    def _look(self) -> None:
        """Read the whole commits between where we are and what is published. Whatever is raised on the way, the next look finds them."""
        journal = self._journal
        if journal.trusted:
            journal.refresh()
        elif os.path.exists(os.path.join(self.folder, POSITION)):  # nobody had written since the boot: is there a writer now?
            self._journal = Journal.open(self.folder, read_only=True, durable=self._durable)
            journal.close()
            journal = self._journal
        end = journal.position
        if end.sequence <= self._through:
            return
        found, at = [], self._at
        for frame in journal.frames(at, end):
            if frame.sequence > self._through and frame.payload is not None:
                found.append(Commit(frame))
            at = frame.after()
        self._stand(at.segment)
        self._pending, self._at, self._through = [*self._pending, *found], at, end.sequence

    def _stand(self, segment: int) -> None:
        """Lock the segment that we are in; one that compaction took away meanwhile is read in its archive."""
        number, fd = self._held
        if number == segment:
            return
        self._held = (0, -1)
        if fd >= 0:
            os.close(fd)
        with suppress(FileNotFoundError):
            self._held = (segment, disk.open_to_read(self._journal.segment(segment).path))
            ofd.lock(self._held[1], shared=True)

    def _watch(self) -> float:
        """Let the kernel wake us; how many seconds to wait for that at most."""
        try:
            from watchdog.events import FileSystemEventHandler
            from watchdog.observers.inotify import InotifyObserver
        except (ImportError, OSError):
            return LOOK_SECONDS
        woken = self._woken

        class Waker(FileSystemEventHandler):
            def on_modified(self, event: object) -> None:
                woken.set()

        observer = InotifyObserver()
        observer.daemon = True
        observer.schedule(Waker(), self.folder, recursive=False)
        try:
            observer.start()
        except OSError:  # no watches left, or a file system that has none
            return LOOK_SECONDS
        self._observer = observer
        return WATCHED_LOOK_SECONDS

    def stop(self) -> None:
        """End ``new`` and iteration, from any thread."""
        self._stopped = True
        self._woken.set()

    def close(self) -> None:
        """Stop, and let go of everything. May be called twice."""
        self.stop()
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()
        (_, fd), self._held = self._held, (0, -1)
        if fd >= 0:
            os.close(fd)
        self._journal.close()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
