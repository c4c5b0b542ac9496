"""``journal export``: every commit as a line of JSON, for safe keeping elsewhere; and such a file as what is left of a journal.

A file is a first line that says what it is; where the journal begins with a base (compaction dropped what was before), the
base's rows, a line each; then the commits, with the payload as it is in the journal. Each line carries the SHA-256 of
what it holds, and the first line the last commit: so a line that was changed, and an end that was cut off, are told, and all
others are still of use.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from layerlog.eventstore import codec, disk
from layerlog.eventstore.errors import CommitUnknown, InvalidImage, JournalError, UnknownFormat
from layerlog.eventstore.journal import Journal
from layerlog.eventstore.rows import Table
from layerlog.eventstore.scavenge import Lost, genesis_copy, orphaned_runs, rows_of
from layerlog.eventstore.schema import SchemaBroken, structure_frame
from layerlog.remains import Remains

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from layerlog.core import Core

FORMAT = 1
LINE_BYTES_MAX = 1 << 20
CHANGED = "its line in the export is not as it was written"


def export(core: Core, path: str) -> int:
    """Write the file; how many commits. *path* is made anew, durable, whole or not at all.

    Raises OSError (it cannot be written), JournalError (the journal has holes: salvage first).
    """
    target = os.path.abspath(path)
    aside = f"{target}.{os.urandom(6).hex()}.new"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            count = _write(core, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(aside, target)
        disk.sync_folder(os.path.dirname(target))
    finally:
        disk.unlink(aside)
    return count


def _write(core: Core, out: BinaryIO) -> int:
    journal = Journal.open(core.ledger.folder, read_only=True, durable=True)
    try:
        with suppress(CommitUnknown):  # then it begins with a base
            journal.reach_back(0)
        base, start = journal.base(), journal.start()
        based = base if base is not None and start.sequence else None
        genesis = genesis_copy(core.ledger.folder).decode("ascii")
        first = {"export": FORMAT, "driver": core.driver_name, "journal": journal.id.hex(), "base": start.sequence}
        rows = list(based.rows()) if based is not None else []
        _line(out, {**first, "rows": len(rows), "last": journal.position.sequence, "genesis": genesis})
        for key, value in rows:
            _line(out, {"key": key.decode("utf-8", "surrogateescape"), "value": value})
        count = 0
        for frame in journal.frames(start):
            assert frame.payload is not None
            _line(out, {"sequence": frame.sequence, "time_ns": frame.time_ns, "payload": frame.payload.decode("ascii")})
            count += 1
        for damage in journal.damage.values():
            if not damage.mended:
                raise JournalError(f"{damage}: an export would have holes; layerlog journal salvage mends it first")
        return count
    finally:
        journal.close()


def _line(out: BinaryIO, content: dict[str, Any]) -> None:
    out.write(json.dumps({**content, "sha256": _digest(content)}).encode("ascii") + b"\n")


def _digest(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content).encode("ascii")).hexdigest()


class Exported(Remains):
    """What ``export`` wrote."""

    what = "an export"

    def __init__(self, folder: str, driver: str, path: str) -> None:
        """Raises InvalidImage when *path* is no export, UnknownFormat, OSError."""
        super().__init__(folder, driver)
        self.path = path
        self._first = first_line(path)
        self._base: int = self._first["base"]
        self._rows = Table((found["key"].encode("utf-8", "surrogateescape"), found["value"]) for found in self._whole("key"))
        if len(self._rows) != self._first["rows"]:
            raise InvalidImage(where=path, why="what its journal begins with is not as it was written")
        self._known = [sequence for sequence, _, payload in self.commits() if self._is_ours(sequence, payload)]
        if not self._known:
            raise InvalidImage(where=path, why="no commit in it can be read")
        self._runs, self._runs_last = rows_of(orphaned_runs(folder, self._first["journal"]))

    def _is_ours(self, sequence: int, payload: bytes) -> bool:
        """A journal from elsewhere is folded only when all of it reads as this one would have written it."""
        try:
            structure_frame(payload, f"commit {sequence}")
        except SchemaBroken as broken:
            raise InvalidImage(where=self.path, why=str(broken)) from broken
        return True

    def _whole(self, kind: str) -> Iterator[dict[str, Any]]:
        """The lines that hold what was written there, of those that have that word."""
        with open(self.path, "rb") as lines:
            for line in lines:
                found = _parsed(line)
                if found is not None and kind in found:
                    yield found

    def commits(self) -> Iterator[tuple[int, int, bytes]]:
        last = self._base
        for found in self._whole("sequence"):
            if found["sequence"] > last:
                last = found["sequence"]
                yield last, found["time_ns"], found["payload"].encode("ascii")

    def beginning(self) -> tuple[Table, int]:
        return self._rows, self._base

    def checkpoint(self) -> tuple[Table, int]:
        """Of those beside the journal that is gone, if it is the same one: they may know more than the export."""
        return max((self._runs, self._runs_last), self.beginning(), key=lambda found: found[1])

    def lost(self, known_last: int) -> list[Lost]:
        found: list[Lost] = []
        at, last = self._base, int(self._first["last"])
        for sequence in [*self._known, last + 1]:
            if sequence > at + 1:
                found.append(Lost(at + 1, sequence - 1, CHANGED))
            at = sequence
        after = max(known_last, self._runs_last)
        return [*found, Lost(last + 1, after, "made after the export")] if after > last else found

    def genesis(self) -> bytes:
        return str(self._first["genesis"]).encode("ascii") or super().genesis()

    @property
    def store_id(self) -> str:
        """Of the store that was exported; empty when that is not known."""
        return store_id_of(self.genesis()) if self._first["genesis"] else ""


def store_id_of(genesis: bytes) -> str:
    """The store that a commit 1 made; empty when that cannot be read."""
    try:
        return str(codec.decode(genesis)["events"][0]["store_id"])
    except (ValueError, KeyError, IndexError, TypeError, UnknownFormat):
        return ""


def first_line(path: str) -> dict[str, Any]:
    """What an export says of itself. Raises InvalidImage, UnknownFormat, OSError."""
    with open(path, "rb") as file:
        line = file.readline(LINE_BYTES_MAX)
    try:
        found = json.loads(line)
        if found["export"] > FORMAT:
            raise UnknownFormat(what="this export", found=found["export"], known=FORMAT)
        whole = _parsed(line)
        if whole is None:
            raise ValueError("its first line is not as it was written")
        return {**whole, "journal": bytes.fromhex(whole["journal"])}
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidImage(where=path, why=f"not an export of a journal ({error})") from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's content; None when it is not what was written."""
    try:
        found = json.loads(line)
        whole = found.pop("sha256") == _digest(found)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    typed = "sequence" not in found or (isinstance(found["sequence"], int) and isinstance(found.get("time_ns"), int) and _is_ascii(found))
    return found if whole and typed else None


def _is_ascii(found: dict[str, Any]) -> bool:
    return isinstance(found.get("payload"), str) and found["payload"].isascii()
