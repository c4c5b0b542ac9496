"""Redaction: the payload of an old commit is replaced by one of equal length without words; the hash chain still verifies.

For a bundle that is made for others, and for what should never have been written down (``redact``): names, metadata,
labels, paths, flags, options, and the envelope but for the command. IDs, digests, sizes and client keys stay. What a thing
has of such a commit today, it has replaced from then on: state and past are folded from the journal.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256

from layerlog import change
from layerlog.eventstore import disk
from layerlog.eventstore.damage import REDACTED
from layerlog.eventstore.errors import InvalidRequest, NotSupported, OutcomeUnknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog.core import Core

LEASE = ".redact"
PLAN, ASIDE = "redaction", "redaction.new"


def redact(core: Core, sequences: list[int]) -> list[int]:
    """See ``Store.redact``."""
    core.must_write()
    if not sequences or min(sequences) < 2:
        raise InvalidRequest("say which commits, from 2 on: commit 1 says what the store is")
    with core.lease(LEASE, "redact") as lease:
        finish(core)  # what somebody died over
        commits = [core.ledger.commit_at(sequence) for sequence in sorted(set(sequences))]
        plan = [
            (commit.sequence, commit.frame.segment, commit.frame.offset, _replacement(commit.frame.payload or b"", commit.sequence))
            for commit in commits
            if not commit.redacted
        ]
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
    disk.rename(core.folder(ASIDE), core.folder(PLAN))
    disk.sync_folder(core.folder())


def finish(core: Core) -> list[int]:
    """Carry out what is planned, once more if need be: overwrite, say so in a commit, forget the plan. Returns the commits.

    The plan is durable before the first overwrite, so that one that was torn can be repeated.
    """
    try:
        with open(core.folder(PLAN), encoding="ascii") as file:
            plan = json.load(file)
    except FileNotFoundError:
        disk.unlink(core.folder(ASIDE))
        return []
    sequences = [sequence for sequence, _, _, _ in plan]
    with core.ledger.exclusively():
        core.ledger.forget_from(min(sequences))
        for _, segment, offset, payload in plan:
            core.ledger.overwrite_payload(segment, offset, payload.encode("ascii"))
    change.commit(core, lambda rows: [{"type": "PayloadRedacted", "sequences": sequences}], f"redact {sequences}")
    disk.unlink(core.folder(PLAN))
    disk.sync_folder(core.folder())
    return sequences


def _replacement(payload: bytes, sequence: int) -> str:
    return redact_payload(payload, Words(f"r{sequence}-"), keeps_key=True).decode("ascii")


class Words:
    """Placeholders in order of appearance: the same word gets the same one, and tells nothing of it."""

    def __init__(self, start: str = "w") -> None:
        self._start = start
        self._given: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        return self._given.setdefault(word, f"{self._start}{len(self._given) + 1}")


def redact_payload(payload: bytes, words: Callable[[str], str], *, keeps_key: bool = False) -> bytes:
    """The payload without what may be private, of the same length. Raises NotSupported when that has no room."""
    document = json.loads(payload)
    kept: dict[str, Any] = {"envelope": {}, "events": [redact_event(event, words) for event in document["events"]]}
    command = document["envelope"].get("command")
    if "key" in document:
        kept.update(key=document["key"] if keeps_key else words(document["key"]), print=document["print"] if keeps_key else "")
    for envelope in ({"command": command, "redacted": 1} if command else {}, {}):
        kept["envelope"] = envelope
        rest = b'",' + json.dumps(kept, separators=(",", ":")).encode("ascii")[1:-1]
        room = len(payload) - len(REDACTED) - 64 - len(rest) - 1
        if room >= 0:
            rest += b" " * room + b"}"
            return REDACTED + sha256(rest).hexdigest().encode("ascii") + rest
    raise NotSupported("a record is too short to be redacted at its length")


def redact_event(event: dict[str, Any], words: Callable[[str], str]) -> dict[str, Any]:
    """An event, or a row, with placeholders for its words."""
    found = dict(event)
    for field in ("names", "names_history"):
        if field in found:
            found[field] = [words(name) for name in found[field]]
    for field in ("metadata", "mount_label", "path", "archive"):
        if found.get(field):
            found[field] = words(found[field])
    if "flags" in found:
        found["flags"] = {}
    if "options" in found:
        found["options"] = []
    return found
