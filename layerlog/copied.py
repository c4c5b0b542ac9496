"""A copied journal, looked at where it lies: no store around it, no layers, nothing is written to it.

    with open_journal("/mnt/evidence/journal") as history:
        print(history.why_gone("app:1.3").commit.by)

Given is the folder of segments (``journal/``), the folder above it (``overlay-layerlog/``), a whole copied root, or a bundle.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress

from layerlog.eventstore import segments
from layerlog.eventstore.errors import InvalidRequest
from layerlog.eventstore.genesis import choose_home, journal_folder
from layerlog.eventstore.reading import SEGMENTS
from layerlog.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.findings import Finding

DRIVER = "null"


class CopiedJournal(Store):
    """A read-only Store without contents. Its root is a temporary folder that goes with ``close``."""

    def verify(self, last_known: str | int | None = None) -> Iterator[Finding]:
        """As ``Store.verify``; data items only where they were copied along."""
        alone = not os.path.isdir(self.blobs.folder)
        return (found for found in super().verify(last_known) if not (alone and found.id.startswith("sha256:")))

    def close(self) -> None:
        """Close it and remove the folder of links that it was read through."""
        super().close()
        shutil.rmtree(self.root, ignore_errors=True)


def open_journal(path: str | os.PathLike[str]) -> CopiedJournal:
    """See above. All questions about present and past work; what changes something raises ReadOnlyStore.

    Raises InvalidRequest (no journal there), InvalidImage (not a whole bundle), UnknownFormat, JournalError.
    """
    source = os.path.abspath(os.path.expanduser(os.fspath(path)))
    root = tempfile.mkdtemp(prefix="layerlog-")
    try:
        if os.path.isdir(source):
            _link(source, journal_folder(root, DRIVER))
        else:
            from layerlog.bundling import replay

            replay(source, root).close()
        return CopiedJournal(root, driver=DRIVER, read_only=True)
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise


def _link(source: str, target: str) -> None:
    """Let *target* be the folder of a ledger whose segments are those of *source*."""
    if _holds_segments(source):
        os.mkdir(target)
        os.symlink(source, os.path.join(target, SEGMENTS))
        return
    if _holds_segments(os.path.join(source, SEGMENTS)):
        os.symlink(source, target)
        return
    driver = choose_home(source) if os.path.isdir(source) else None
    if driver is None:
        raise InvalidRequest(f"{source}: no journal here, nor in its {SEGMENTS}/")
    os.symlink(journal_folder(source, driver), target)


def _holds_segments(folder: str) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return bool(segments.listing(folder))
    return False
