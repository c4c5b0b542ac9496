"""Redaction: the payload of an old commit is replaced by one of equal length without words; the hash chain still verifies.

For a bundle that is made for others: names, metadata, labels, paths, flags, options, client keys, and the envelope but for the
command; IDs, digests, sizes and pins stay. For what should never have been written down (``redact``): the same but for client
keys and what mounts need. What a thing has of such a commit today, it has replaced from then on: state and past are folded
from the journal.

A commit that compaction folded away is refused: the base holds what it said, and a later commit proves the base by its hash.
Compaction of redacted commits is like any other: what it folds is what they say now.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256

from layerlog import change
from layerlog.eventstore import disk
from layerlog.eventstore.damage import REDACTED
from layerlog.eventstore.errors import InvalidRequest, NotSupported, OutcomeUnknown
from layerlog.projections.keys import key
from layerlog.recovery import COMPACT_LEASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog.core import Core
    from layerlog.eventstore import state
    from layerlog.history import Commit, HistoryMethods

USED_FLAGS = frozenset(("MountLabel", "ProcessLabel", "Volatile", "Sandbox", "OldTree"))
"""Flags that the store itself goes by."""
LEASE = ".redact"
PLAN, ASIDE = "redaction", "redaction.new"


class TooShort(NotSupported):
    """A payload of the same length has no room for its placeholders."""

    message = "a record is too short to be redacted at its length"


class CannotBeRedacted(NotSupported):
    """Nothing was changed. Data: ``sequence``, ``why``."""

    message = "commit {sequence} cannot be redacted: {why}"


def plan_redaction(core: HistoryMethods, sequences: list[int]) -> list[Commit]:
    """See ``Store.plan_redaction``."""
    return [core.commit_at(commit.sequence) for commit, _ in _planned(core, sequences)]


def _planned(core: Core, sequences: list[int]) -> list[tuple[state.Commit, str]]:
    """The commits that are to be redacted, each with its new payload."""
    if not sequences or min(sequences) < 2:
        raise InvalidRequest("say which commits, from 2 on: commit 1 says what the store is")
    row = _compacted(core)
    if row is not None and min(sequences) <= row["through"]:
        raise CannotBeRedacted(sequence=min(sequences), why=_in_base(row))
    commits = [core.ledger.commit_at(sequence) for sequence in sorted(set(sequences))]
    return [(commit, _replacement(commit)) for commit in commits if not commit.redacted]


def _compacted(core: Core) -> dict[str, Any] | None:
    with core.reading() as rows:
        found: dict[str, Any] | None = rows.own.get(key("store", "compacted"))
        return found


def _in_base(row: dict[str, Any]) -> str:
    base = f"it was folded, with all up to {row['through']}, into a base that commit {row['sequence']} proves by its hash"
    archive = " and take its archive away" if row["archive"] else ""
    return f"{base}; give what still has these words others, compact once more{archive}"


def redact(core: Core, sequences: list[int]) -> list[int]:
    """See ``Store.redact``."""
    core.must_write()
    # No compaction meanwhile: it would fold the old words into its base.
    with core.lease(LEASE, "redact") as lease, core.lease(COMPACT_LEASE, "redact"):
        finish(core)  # what somebody died over
        plan = [(one.sequence, one.frame.segment, one.frame.offset, payload) for one, payload in _planned(core, sequences)]
        if not plan:
            return []
        lease.sync()
        _write_plan(core, json.dumps(plan).encode("ascii"))
        try:
            return finish(core)
        except BaseException as error:
            lease.abandon()  # for recovery: what is begun is carried out
            if isinstance(error, OSError):
                raise OutcomeUnknown(sequence=core.sequence, cause=error) from error
            raise


def _write_plan(core: Core, plan: bytes) -> None:
    """Under a name that recovery knows until it is whole."""
    fd = disk.open_to_write(core.folder(ASIDE), os.O_CREAT | os.O_TRUNC)
    try:
        disk.write_all(fd, plan)
        disk.fsync(fd)
    except BaseException:
        disk.unlink(core.folder(ASIDE))
        raise
    finally:
        os.close(fd)
    try:
        disk.rename(core.folder(ASIDE), core.folder(PLAN))
    except BaseException:
        disk.unlink(core.folder(ASIDE))
        raise


def finish(core: Core) -> list[int]:
    """Carry out what is planned, once more if need be: overwrite, say so in a commit, forget the plan. Returns the commits.

    The plan is durable before the first overwrite, so that one that was torn can be repeated.
    """
    try:
        with disk.reading(core.folder(PLAN)) as file:
            plan = json.load(file)
    except FileNotFoundError:
        disk.unlink(core.folder(ASIDE))
        disk.sync_folder(core.folder())  # a plan that comes back after a power cut may name commits that were folded away since
        return []
    disk.sync_folder(core.folder())  # the plan is durable before the first overwrite, whoever wrote it
    sequences = [sequence for sequence, _, _, _ in plan]
    with core.ledger.exclusively():
        core.ledger.forget_from(min(sequences))
        for _, segment, offset, payload in plan:
            core.ledger.overwrite_payload(segment, offset, payload.encode("ascii"))
    change.commit(core, lambda rows: [{"type": "PayloadRedacted", "sequences": sequences}], f"redact {sequences}")
    disk.unlink(core.folder(PLAN))
    disk.sync_folder(core.folder())
    return sequences


def _replacement(commit: state.Commit) -> str:
    """Raises CannotBeRedacted."""
    try:
        return redact_payload(commit.frame.payload or b"", Words(f"r{commit.sequence}-"), in_place=True).decode("ascii")
    except TooShort as error:
        raise CannotBeRedacted(sequence=commit.sequence, why=str(error)) from error


class Words:
    """Placeholders in order of appearance: the same word gets the same one, and tells nothing of it."""

    def __init__(self, start: str = "w") -> None:
        self._start = start
        self._given: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        return self._given.setdefault(word, f"{self._start}{len(self._given) + 1}")


def redact_payload(payload: bytes, words: Callable[[str], str], *, in_place: bool = False) -> bytes:
    """The payload without what may be private, of the same length. Raises TooShort.

    *in_place*: what the store needs to go on stays, too: client keys, what mounts need, and where its archives are.
    """
    document = json.loads(payload)
    kept: dict[str, Any] = {"envelope": {}, "events": [redact_event(event, words, in_place=in_place) for event in document["events"]]}
    command = document["envelope"].get("command")
    if "key" in document:
        kept.update(key=document["key"] if in_place else words(document["key"]), print=document["print"] if in_place else "")
    for envelope in ({"command": command, "redacted": 1} if command else {}, {}):
        kept["envelope"] = envelope
        rest = b'",' + json.dumps(kept, separators=(",", ":")).encode("ascii")[1:-1]
        room = len(payload) - len(REDACTED) - 64 - len(rest) - 1
        if room >= 0:
            rest += b" " * room + b"}"
            return REDACTED + sha256(rest).hexdigest().encode("ascii") + rest
    raise TooShort


def redact_event(event: dict[str, Any], words: Callable[[str], str], *, in_place: bool = False) -> dict[str, Any]:
    """An event, or a row, with placeholders for its words."""
    found = dict(event)
    if found.get("type") == "RowsRestated":
        rows = [redact_row(key.encode("utf-8", "surrogateescape"), row, words, in_place=in_place) for key, row in found["rows"].items()]
        found["rows"] = {key.decode("utf-8", "surrogateescape"): row for key, row in rows}
    for field in ("names", "names_history", "did", "lost"):
        if field in found:
            found[field] = [words(name) for name in found[field]]
    for field in ("metadata", "path") if in_place else ("metadata", "mount_label", "path", "archive"):
        if found.get(field):
            found[field] = words(found[field])
    if "flags" in found:
        found["flags"] = {name: value for name, value in found["flags"].items() if in_place and name in USED_FLAGS}
    if "options" in found:
        found["options"] = []
    return found


def redact_row(key: bytes, value: Any, words: Callable[[str], str], *, in_place: bool = False) -> tuple[bytes, Any]:
    """A row with the same placeholders: names, and client keys, stand in keys, too."""
    space, *parts = key.split(b"\0")
    if space in ((b"name", b"gone-name") if in_place else (b"name", b"gone-name", b"k")):
        parts[-1] = words(parts[-1].decode("utf-8", "surrogateescape")).encode()
    if isinstance(value, dict):
        value = redact_event(value, words, in_place=in_place)
        if isinstance(value.get("row"), dict):
            value["row"] = redact_event(value["row"], words, in_place=in_place)
    return b"\0".join([space, *parts]), value
