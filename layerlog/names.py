"""What Store offers for every kind alike: names, metadata, big data, pins."""

from __future__ import annotations

from layerlog import change
from layerlog.blob_keeping import putting
from layerlog.core import Core
from layerlog.decide import names as decide
from layerlog.decide.common import need_own
from layerlog.eventstore.ids import check_key, check_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, BinaryIO

    from layerlog.eventstore.rows import Rows


class NameMethods(Core):
    """Change what things are called and what is attached to them."""

    def set_names(self, asked: str, names: Iterable[str], kind: str | None = None) -> list[str]:
        """Replace all names; a taken name moves here. Durable on return; the resulting list, newest first."""
        return self._rename(asked, kind, "set", names)

    def add_names(self, asked: str, names: Iterable[str], kind: str | None = None) -> list[str]:
        """Put names in front of those it has."""
        return self._rename(asked, kind, "add", names)

    def remove_names(self, asked: str, names: Iterable[str], kind: str | None = None) -> list[str]:
        """Take names away; those it does not have are ignored."""
        return self._rename(asked, kind, "remove", names)

    def _rename(self, asked: str, kind: str | None, edit: str, names: Iterable[str]) -> list[str]:
        self.must_write()
        wanted, order = check_names(list(names)), (kind,) if kind else ("layer", "image", "container")
        found: list[str] = []
        if self.terms.key is not None:  # a retry is known by the ID, since a name may be what went away
            with self.reading() as rows:
                item_kind, row = decide.renamed(rows, asked, order)
            found = [item_kind, row["id"]]

        def rename(rows: Rows) -> list[Any]:
            if not found:
                item_kind, row = decide.renamed(rows, asked, order)
                found[:] = item_kind, row["id"]
            return decide.rename(rows, found[1], found[0], edit, wanted)

        committed = change.commit(self, rename, f"{edit}-names {' '.join(found[1:])} {wanted}", sees_run=False)
        return list(change.outcome(self, committed, found[0], found[1]).get("names", ()))

    def set_metadata(self, asked: str, metadata: str, kind: str | None = None) -> None:
        """Replace the free text. Durable on return. Raises ItemUnknown."""
        self.must_write()
        what = f"set-metadata {asked} {len(metadata)}"
        change.commit(self, lambda rows: decide.set_metadata(rows, asked, kind, metadata), what, sees_run=False)

    def set_big_data(self, kind: str, asked: str, item: str, data: bytes | BinaryIO) -> None:
        """Store bytes under a key; content and record are durable on return. Raises the kind's NotFound, InvalidBigDataName."""
        self.must_write()
        with self.reading() as rows:
            need_own(rows, kind, asked)
        check_key(item, kind)
        with putting(self):
            digest, size = self.blobs.put(data)
            what = f"set-{kind}-data {asked} {item} {digest}"
            change.commit(self, lambda rows: decide.set_big_data(rows, kind, asked, item, digest, size), what, sees_run=False)

    def remove_big_data(self, kind: str, asked: str, item: str) -> None:
        """Forget an item. Raises BigDataUnknown."""
        self.must_write()
        what = f"remove-{kind}-data {asked} {item}"
        change.commit(self, lambda rows: decide.remove_big_data(rows, kind, asked, item), what, sees_run=False)

    def pin(self, asked: str, word: str = "pinned", kind: str | None = None) -> None:
        """Keep a thing, and what it needs, from deletion and from being freed until the same word unpins it."""
        self.must_write()
        change.commit(self, lambda rows: decide.pin(rows, asked, kind, word), f"pin {asked} {word}", sees_run=False)

    def unpin(self, asked: str, word: str = "pinned", kind: str | None = None) -> None:
        """Take a pin away."""
        self.must_write()
        change.commit(self, lambda rows: decide.unpin(rows, asked, kind, word), f"unpin {asked} {word}", sees_run=False)
