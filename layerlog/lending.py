"""The other stores that a store looks into: additional image stores, read and never written.

No lock is taken there and nothing is made there: the journal is read as any reader does, up to the position that
its owner published. Its owner may commit, compact or wipe meanwhile; what was borrowed from it is verified when it
is used (decide/lending.py). Source: contract/semantics.md §7.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from threading import Lock

from layerlog.eventstore.blobs import Blobs
from layerlog.eventstore.errors import InvalidRequest, JournalError, StoreClosed
from layerlog.eventstore.genesis import guard, journal_folder
from layerlog.eventstore.ledger import Ledger
from layerlog.projections.fold import FOLD_VERSION, fold
from layerlog.projections.keys import key
from layerlog.projections.several import Borrowed, Several

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from layerlog.eventstore.rows import Rows

KEYS = ("imagestore", "additionalimagestore")
"""Driver options that name image stores."""


def roots_in(options: Sequence[str], driver: str) -> list[str]:
    """Roots of the image stores that driver options name, in their order (contract/cli.md §2).

    Raises InvalidRequest for one that is not absolute, not there or no folder.
    """
    found: list[str] = []
    for option in options:
        name, _, value = option.partition("=")
        owner, _, rest = name.lower().rpartition(".")
        if rest in KEYS and owner in ("", driver, "storage"):
            found += [checked(os.path.normpath(one), driver) for one in value.split(",") if one]
    return found


def checked(root: str, driver: str) -> str:
    """*root*, if it can be an image store. Raises InvalidRequest in the original's words."""
    if not os.path.isabs(root):
        raise InvalidRequest(f'{driver}: image path "{root}" is not absolute.  Can not be relative')
    try:
        os.stat(root)
    except OSError as error:
        why = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise InvalidRequest(f"{driver}: can't stat imageStore dir {root}: stat {root}: {why}") from error
    if not os.path.isdir(root):
        raise InvalidRequest(f'{driver}: image path "{root}" must be a directory')
    return root


class Lender:
    """One store that is looked into. A root that holds no store yet lends nothing, until it does."""

    def __init__(self, root: str, driver: str, place: int, *, read_only: bool = True, whole: bool = False) -> None:
        self.root, self.driver, self.place = root, driver, place
        self.read_only, self.whole = read_only, whole
        self.blobs = Blobs(os.path.join(journal_folder(root, driver), "blobs"))
        self._ledger: Ledger | None = None
        self._opening = Lock()
        self._store_id = ""

    def enter(self, stack: ExitStack) -> Rows | None:
        """Its rows, caught up, which stand still until *stack* is left; None where there is no store.

        Opened anew when its journal was replaced under us: a compaction, or a store made again in its place.
        """
        ledger = self._ledger
        if ledger is not None:
            try:
                return self._marked(ledger, stack.enter_context(ledger.reading()))
            except (FileNotFoundError, JournalError, StoreClosed):  # closed: another thread has just found out the same
                ledger.close()
        with self._opening:
            if self._ledger is ledger:
                self._ledger, self._store_id = None, ""
                if not guard(self.root, self.driver):
                    return None
                self._ledger = Ledger.open(journal_folder(self.root, self.driver), fold, fold_version=FOLD_VERSION, read_only=True)
            found = self._ledger
        return self._marked(found, stack.enter_context(found.reading())) if found is not None else None

    def _marked(self, ledger: Ledger, rows: Rows) -> Rows:
        if not self._store_id:
            genesis: dict[str, Any] = rows.get(key("store", "genesis")) or {}
            self._store_id = str(genesis.get("store_id", ""))
        origin = {"store": self._store_id, "sequence": ledger.sequence, "root": self.root}
        mark = {"place": self.place, "borrowed": origin, **({"read_only": True} if self.read_only else {})}
        return Borrowed(rows, mark, whole=self.whole)

    def close(self) -> None:
        """Give up its files; the next look opens them again."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self._store_id = ""


class Lenders:
    """All stores that one looks into, in look-up order."""

    def __init__(self, roots: Sequence[str], driver: str, images_first: str = "", whole: Sequence[str] = ()) -> None:
        self.all = [Lender(root, driver, place, read_only=root != images_first, whole=root in whole) for place, root in enumerate(roots, 1)]
        self._images_first = bool(images_first)

    @contextmanager
    def standing(self) -> Iterator[list[Rows]]:
        """Rows of each, which do not move inside."""
        with ExitStack() as stack:
            yield [rows for one in self.all if (rows := one.enter(stack)) is not None]

    def under(self, own: Rows, others: Sequence[Rows], run: Rows | None = None) -> Rows:
        """Own rows over those of the others; those of the *run* journal come after the other half's."""
        first = self._images_first and bool(others)
        if run is not None:
            others = [*others[:1], run, *others[1:]] if first else [run, *others]
        return Several(own, others, first) if others else own

    def blobs_with(self, digest: str) -> Blobs | None:
        """The blob store of the first that has that blob."""
        return next((one.blobs for one in self.all if one.blobs.has(digest)), None)

    def close(self) -> None:
        for one in self.all:
            one.close()
