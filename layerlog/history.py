"""What Store offers about the past: commits, past states, and what became of things."""

from __future__ import annotations

import time
from shlex import quote

from layerlog.core import Core
from layerlog.decide.restoring import thrown as find_thrown
from layerlog.eventstore.errors import CommitUnknown, ItemUnknown, NotInTrash, StoreError
from layerlog.projections import trash
from layerlog.projections.items import get
from layerlog.view import PastView
from layerlog.when import parse_when

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from layerlog.eventstore.rows import Rows


class Commit:
    """One atomic change: who made it, when, why, and its events."""

    __slots__ = ("envelope", "events", "redacted", "sequence", "size", "time_ns")

    def __init__(
        self, sequence: int, time_ns: int, envelope: dict[str, Any], events: list[Any], size: int = 0, redacted: bool = False
    ) -> None:
        self.sequence, self.time_ns = sequence, time_ns
        self.envelope, self.events = envelope, events
        self.size = size
        """Bytes it takes in the journal."""
        self.redacted = redacted
        """Its words were replaced by placeholders (redacting.py)."""

    @property
    def actor(self) -> str:
        """The caller's own word for who asked, else the program."""
        return str(self.envelope.get("actor") or self.envelope.get("program") or "")

    @property
    def by(self) -> str:
        """The caller's own word for who asked, else the user's name on this host, else ``uid 1000``."""
        uid = self.envelope.get("uid")
        return str(self.envelope.get("actor") or ("?" if not isinstance(uid, int) else _user_name(uid)))

    @property
    def reason(self) -> str:
        return str(self.envelope.get("reason", ""))

    @property
    def command(self) -> str:
        return str(self.envelope.get("command", ""))

    def __repr__(self) -> str:
        return f"Commit({self.sequence}: {', '.join(event['type'] for event in self.events)})"


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


class WhyGone:
    """What removed a thing: the commit, what went with it, and how it comes back."""

    __slots__ = ("can_return", "commit", "id", "kind", "names", "why_not", "with_it", "words")

    def __init__(
        self, kind: str, id: str, names: list[str], commit: Commit, with_it: list[tuple[str, str]], why_not: str, words: Sequence[str] = ()
    ) -> None:
        self.kind, self.id, self.names = kind, id, names
        self.commit = commit
        self.with_it = with_it
        """(kind, ID) of everything else the same commit deleted."""
        self.can_return = not why_not
        self.why_not = why_not
        self.words = tuple(words) or (id,)
        """What ``restore`` takes to bring back this thing, and no other of the same name or ID."""

    @property
    def command(self) -> str:
        """What brings it back; empty when nothing does."""
        return f"layerlog restore {' '.join(map(quote, self.words))}" if self.can_return else ""

    @property
    def sequence(self) -> int:
        return self.commit.sequence

    @property
    def time_ns(self) -> int:
        return self.commit.time_ns

    @property
    def envelope(self) -> dict[str, Any]:
        return self.commit.envelope


class HistoryMethods(Core):
    """Questions that only a journal can answer."""

    def history(self, after: int = 0, until: int | None = None, reverse: bool = False) -> Iterator[Commit]:
        """Durable commits with ``after < sequence <= until``; newest first with *reverse*."""
        for found in self.ledger.history(after, until, reverse):
            yield Commit(found.sequence, found.time_ns, found.envelope, found.events, found.size, found.redacted)

    def commit_at(self, sequence: int) -> Commit:
        """One commit. Raises CommitUnknown."""
        for found in self.history(sequence - 1, sequence):
            return found
        raise CommitUnknown(asked=sequence)

    def at(self, when: str | int | float) -> PastView:
        """The store as it was then: same reading methods, same answers as at that time.

        *when*: see when.py. Raises InvalidWhen, CommitUnknown, HistoryCompacted.
        """
        sequence = self.sequence_at(when)
        past = self.ledger.at(sequence)
        return PastView(past, self.blobs, sequence, self.ledger.time_at(sequence), self if self.image_roots else None)

    def sequence_at(self, when: str | int | float) -> int:
        """The last commit at that point; 0 is the empty store, before the first. Raises CommitUnknown."""
        kind, number = parse_when(when, time.time_ns())
        if kind == "back":
            number = self.sequence - number
        elif kind == "time":
            number = self.ledger.sequence_at(number)
        if not 0 <= number <= self.sequence:
            raise CommitUnknown(asked=when)
        return number

    def why_gone(self, asked: str) -> WhyGone:
        """What removed *asked* (ID, name or prefix of an ID). Raises ItemUnknown if nothing by that word was ever deleted."""
        with self.reading() as rows:
            kind, item_id, sequence = _last_deletion(rows, asked)
            row = trash.get(rows, kind, sequence, item_id)
            words = _words(rows, asked, row) if row is not None else []
            why_not = _why_not(rows, kind, item_id, row, words)
        commit = self.commit_at(sequence)
        names = (row or {}).get("row", {}).get("names")
        if names is None:
            was = self.at(sequence - 1)
            names = was.names(item_id, kind) if was.exists(item_id, kind) else []
        also = [(_deleted_kind(event), event["id"]) for event in commit.events if event["type"].endswith("Deleted")]
        return WhyGone(kind, item_id, list(names), commit, [one for one in also if one != (kind, item_id)], why_not, words)


def _deleted_kind(event: Any) -> str:
    return str(event["type"]).removesuffix("Deleted").lower()


def _last_deletion(rows: Rows, asked: str) -> tuple[str, str, int]:
    """Kind, ID and commit of the newest deletion that *asked* can mean."""
    seen = [found for kind in ("image", "container", "layer") if (found := trash.last_seen(rows, kind, asked))]
    if seen:
        newest = max(seen, key=lambda one: one["sequence"])
        return newest["kind"], newest["id"], newest["sequence"]
    try:
        row = find_thrown(rows, asked)
    except NotInTrash as unknown:
        raise ItemUnknown(asked=asked) from unknown
    return row["kind"], row["id"], row["sequence"]


def _words(rows: Rows, asked: str, row: dict[str, Any]) -> list[str]:
    """The word that was asked, or the ID, and the kind where needed: what means the thing of *row* to ``restore``; empty: none does."""
    for words in ([asked], [asked, "--kind", row["kind"]], [row["id"]], [row["id"], "--kind", row["kind"]]):
        try:
            if find_thrown(rows, words[0], row["kind"] if len(words) > 1 else None) == row:
                return words
        except NotInTrash:
            continue
    return []


def _why_not(rows: Rows, kind: str, item_id: str, row: dict[str, Any] | None, words: list[str]) -> str:
    """Why it cannot come back; empty when it can."""
    if get(rows.own, kind, item_id) is not None:
        return "it came back, and is here"
    if row is None or not row["kept"]:
        return "its contents were freed"
    if not words:
        return f"another {kind} of that ID was deleted after it, and comes back first"
    from layerlog.decide.restoring import restore

    try:
        restore(rows, words[0], kind)
    except StoreError as refused:
        return str(refused)
    return ""
