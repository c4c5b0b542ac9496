"""What readers see while a commit is on its way to the disk: nothing of it, in this process, another, or a follower."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.eventstore import disk
from layerlog.eventstore.errors import OutcomeUnknown, RetryMismatch, StaleVersion
from layerlog.eventstore.follow import Follower
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import ENVELOPE, fold, make, named, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Asked(disk.Seam):
    """Asks something of the world at every flush, before it happens and after."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.ask = ask
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.fails = False

    def fdatasync(self, fd: int) -> None:
        self.before.append(self.ask())
        if self.fails:
            raise OSError(5, "made to fail")
        os.fdatasync(fd)
        self.after.append(self.ask())


def test_nobody_sees_a_commit_before_it_is_durable_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut at any of these moments could undo it: so no reader may have shown it."""
    with make(tmp_path / "s", 3) as ledger, make(tmp_path / "s") as other, Follower(ledger.folder, 0) as follower:
        assert len(follower.new()) == 4

        def ask() -> tuple[int, int, int, int, bool]:
            with Ledger(ledger.folder, fold=fold, read_only=True) as fresh:
                seen = (ledger.sequence, other.sequence, fresh.sequence, len(follower.new()))
                return (*seen, any(one.rows.get(b"name\0late") for one in (ledger, other, fresh)))

        seam = Asked(ask)
        monkeypatch.setattr(disk, "seam", seam)
        put(ledger, "item", "late")
        assert seam.before == seam.after == [(4, 4, 4, 0, False)]
        assert ask() == (5, 5, 5, 1, True)
        seam.fails = True
        with pytest.raises(OutcomeUnknown):
            put(other, "item-2", "later")
        seam.fails = False
        assert ask() == (5, 5, 5, 0, True), "what the disk refused is shown by nobody, also not after"


def test_one_key_at_once_from_many_threads_and_ledgers_is_one_change(tmp_path: Path) -> None:
    with make(tmp_path / "s") as one, make(tmp_path / "s") as two:
        done: list[tuple[int, bool]] = []

        def retry(ledger: Ledger, number: int) -> None:
            made = ledger.commit(lambda rows: [named(f"i{number}", f"n{number}")], envelope=ENVELOPE, key="k", fingerprint="f")
            done.append((made.sequence, made.repeated))

        threads = [threading.Thread(target=retry, args=((one, two)[number % 2], number)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [sequence for sequence, _ in done] == [2] * 12
        assert sum(not repeated for _, repeated in done) == 1
        assert one.sequence == two.sequence == 2
        with pytest.raises(RetryMismatch):
            two.commit(lambda rows: [named("x", "y")], envelope=ENVELOPE, key="k", fingerprint="another request")


def test_one_plan_carried_out_by_many_at_once_happens_once(tmp_path: Path) -> None:
    """Each planned on the same commit; the first wins, the others are told."""
    with make(tmp_path / "s", 5) as one, make(tmp_path / "s") as two:
        planned = one.sequence
        outcomes: list[str] = []

        def carry_out(ledger: Ledger, number: int) -> None:
            try:
                put(ledger, "item-3", f"by-{number}", expected=planned)
                outcomes.append("done")
            except StaleVersion:
                outcomes.append("stale")

        threads = [threading.Thread(target=carry_out, args=((one, two)[number % 2], number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["done", *["stale"] * 7]
        assert one.sequence == planned + 1
