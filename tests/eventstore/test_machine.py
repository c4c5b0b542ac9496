"""A state machine with crashes: the ledger against a dictionary, whatever is asked of it and wherever it is cut off."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from layerlog.eventstore import disk
from layerlog.eventstore.errors import OutcomeUnknown, StaleVersion
from layerlog.eventstore.ledger import Ledger
from tests.eventstore.ledgers import ENVELOPE, deleted, fold, make, named, rows_of

items = st.sampled_from([f"item-{number}" for number in range(6)])


class Cut(BaseException):
    """The process ends here."""


class CutOff(disk.Seam):
    """Lets so many changes through; the one after is cut short, and nothing happens any more."""

    def __init__(self, calls: int, share: float) -> None:
        self.left = calls
        self.share = share
        self.fails_sync = False

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if self.left == 0:
            os.pwrite(fd, bytes(data)[: int(len(data) * self.share)], offset)
        self._count()
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        if self.fails_sync:
            self.fails_sync = False
            raise OSError(5, "made to fail")
        self._count()
        os.fdatasync(fd)


class LedgerAgainstDictionary(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="machine-")
        self.ledger = make(os.path.join(self.folder, "s"))
        self.model: dict[str, list[str]] = {}
        self.sequence = 1
        self.past: dict[int, dict[str, list[str]]] = {1: {}}
        self.keys: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self.doubt: tuple[str, list[str]] | None = None
        """A change of unknown outcome that nobody has settled yet."""

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.folder)

    def _apply(self, item: str, names: list[str] | None) -> None:
        self.sequence += 1
        self.doubt = None
        if names is None:
            self.model.pop(item, None)
        else:
            self.model[item] = names
        self.changed[item] = self.sequence
        self.past[self.sequence] = dict(self.model)

    def _commit(self, item: str, names: list[str] | None, **options: Any) -> int:
        event = deleted(item) if names is None else named(item, *names)
        return self.ledger.commit(lambda rows: [event], envelope=ENVELOPE, **options).sequence

    @rule(item=items, name=st.text("ab\udcff\u00e9", min_size=1, max_size=3), delete=st.booleans())
    def change(self, item: str, name: str, delete: bool) -> None:
        names = None if delete and item in self.model else [f"{item}/{name}"]
        assert self._commit(item, names) == self.sequence + 1
        self._apply(item, names)

    @rule(item=items, key=st.sampled_from("xyz"))
    def change_once(self, item: str, key: str) -> None:
        found = self._commit(item, [f"{item}/{key}"], key=key, fingerprint="f")
        if key in self.keys:
            assert found == self.keys[key]
        else:
            assert found == self.sequence + 1
            self._apply(item, [f"{item}/{key}"])
            self.keys[key] = found

    @rule(item=items, back=st.integers(0, 5))
    def change_as_planned(self, item: str, back: int) -> None:
        expected = max(self.sequence - back, 1)
        try:
            self._commit(item, [f"{item}/planned"], expected=expected)
        except StaleVersion:
            assert self.changed.get(item, 0) > expected
        else:
            assert self.changed.get(item, 0) <= expected
            self._apply(item, [f"{item}/planned"])

    @rule(many=st.integers(60, 140))
    def many_changes(self, many: int) -> None:
        for number in range(many):
            self._commit("busy", [f"busy/{number}"])
            self._apply("busy", [f"busy/{number}"])

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = make(os.path.join(self.folder, "s"))

    @rule()
    def restart_the_machine(self) -> None:
        self.ledger.close()
        os.unlink(os.path.join(self.folder, "s", "position"))
        self.ledger = make(os.path.join(self.folder, "s"))
        if self.doubt is not None and self.ledger.sequence == self.sequence + 1:
            self._apply(*self.doubt)  # the disk had it after all; from now on it stays
        self.doubt = None

    @rule(item=items, calls=st.integers(0, 2), share=st.floats(0, 1))
    def cut_off(self, item: str, calls: int, share: float) -> None:
        before, disk.seam = disk.seam, CutOff(calls, share)
        try:
            self._commit(item, [f"{item}/cut"])
            happened: bool | None = True
        except Cut:
            happened = None
        finally:
            self.ledger._let_go()
            disk.seam = before
        self._settle(item, [f"{item}/cut"], happened)

    @rule(item=items)
    def fail_the_sync(self, item: str) -> None:
        seam = CutOff(1 << 40, 0)
        seam.fails_sync = True
        before, disk.seam = disk.seam, seam
        try:
            self._commit(item, [f"{item}/doubt"])
        except OutcomeUnknown:
            self.doubt = (item, [f"{item}/doubt"])
        finally:
            disk.seam = before
        assert self.ledger.sequence == self.sequence, "what the disk refused is not shown"

    def _settle(self, item: str, names: list[str], happened: bool | None) -> None:
        """After a cut the change is wholly there or wholly absent, for good; so is one in doubt, which stands before it."""
        self.ledger = make(os.path.join(self.folder, "s"))
        possible = [(item, names), *([self.doubt] if self.doubt is not None else [])]
        found = [commit.events[0] for commit in self.ledger.history(self.sequence)]
        came = [(event["id"], event["names"]) for event in found]
        assert came in ([], *([one] for one in possible), possible[::-1])
        assert not happened or came[-1:] == [(item, names)]
        for one, its_names in came:
            self._apply(one, its_names)

    @rule(back=st.integers(0, 200))
    def look_back(self, back: int) -> None:
        sequence = max(self.sequence - back, 1)
        rows = {key[6:].decode(): row["names"] for key, row in self.ledger.at(sequence).scan(b"layer\0")}
        assert rows == self.past[sequence]

    @invariant()
    def same_as_the_dictionary(self) -> None:
        if hasattr(self, "ledger"):
            rows = rows_of(self.ledger)
            assert {key[6:].decode(): row["names"] for key, row in rows.items() if key.startswith(b"layer\0")} == self.model
            index = {key[5:].decode("utf-8", "surrogateescape") for key in rows if key.startswith(b"name\0")}
            assert index == {name for names in self.model.values() for name in names}
            with Ledger(self.ledger.folder, fold=fold, read_only=True) as other:
                assert rows_of(other) == rows


TestLedgerAgainstDictionary = LedgerAgainstDictionary.TestCase
TestLedgerAgainstDictionary.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
