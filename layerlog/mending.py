"""A whole journal made of what is left of one: the engine of ``journal salvage``, ``journal import`` and ``rebuild``.

Everything is worked out first, and only read for it. Then, under the writer lock: the new journal is written aside,
things that nothing claims are moved to ``lost+found/``, and the new journal takes the old one's place by one exchange of
names; the old one is kept in ``quarantine/``. Sequence numbers stay: a commit that is lost is followed by a commit of the
same number that says so, since trash entries, heads and people name commits by number.

Nothing is removed. A crash before the exchange leaves the store as it was, but for what went to ``lost+found/``, which
nothing claimed; the tool is run again. After it recovery finishes what is left to do (mending_switch.py).
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from layerlog.adopting import gather
from layerlog.decide.adopting import Adoption, adopt
from layerlog.drivers.choose import open_driver
from layerlog.eventstore import codec, disk
from layerlog.eventstore.blobs import Blobs
from layerlog.eventstore.envelope import envelope
from layerlog.eventstore.errors import InUse, StoreError
from layerlog.eventstore.genesis import journal_folder
from layerlog.eventstore.journal import LOCK, Journal, make_first_segment
from layerlog.eventstore.leases import Leases, describe
from layerlog.eventstore.locks import FileLock
from layerlog.eventstore.rows import Overlay, Rows, Table
from layerlog.eventstore.state import Meta, fold_commit
from layerlog.mending_moves import Move, moves, without_files
from layerlog.mending_switch import ASIDE, LEASE, must_be_as_planned, settle, switch
from layerlog.projections.fold import fold
from layerlog.recovery import sync_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.eventstore.leases import Lease
    from layerlog.eventstore.scavenge import Lost
    from layerlog.remains import Remains

BATCH_BYTES = 1 << 20
ROWS_BYTES = 2 << 20
"""About so many bytes of restated rows go into one commit."""


class Mending:
    """What is going to be done, in words and as data. ``lines`` is the plan; ``mend`` carries it out."""

    def __init__(self, root: str, run_root: str, driver_name: str, tool: str, remains: Remains) -> None:
        self.root, self.run_root, self.driver_name, self.tool, self.remains = root, run_root, driver_name, tool, remains
        self.folder = journal_folder(root, driver_name)
        self.driver = open_driver(driver_name, root, run_root)
        self.blobs = Blobs(os.path.join(self.folder, "blobs"))
        self.readable = 0
        self.lost: list[Lost] = []
        self.restated: dict[bytes, Any] = {}
        self.slot = 0
        """The first lost commit that no checkpoint covers: what is adopted stands there, so that later commits apply to it."""
        self.early = Adoption()
        self.adoption = Adoption()
        """What is adopted at the end, since some later commit took it away again."""
        self.moves: list[Move] = []
        self.bare = 0
        """How many layers have a record with contents, and no folder."""

    def lines(self) -> list[str]:
        """What was found and what will be done, a line each."""
        found = [f"{self.remains.what}: {self.readable} commits can be read", *self.remains.notes()]
        found += [f"lost: {one}" for one in self.lost]
        if self.restated:
            found.append(f"restated from checkpoints: {len(self.restated)} rows that lost commits made or changed")
        found += [*self.early.did, *self.adoption.did, *(move.words for move in self.moves)]
        found += [f"lost: {one}" for one in self.adoption.lost]
        if self.bare:
            found.append(f"{self.bare} layers have no files here: layerlog check names them, layerlog repair --from fetches them")
        return found

    @property
    def whole(self) -> bool:
        """Whether there is nothing to mend: never where there is no journal."""
        adopted = [*self.early.events, *self.adoption.events, *self.adoption.lose]
        return self.remains.in_place and not (self.lost or adopted or self.moves or self.remains.notes())


def plan(root: str, run_root: str, driver_name: str, tool: str, remains: Remains) -> Mending:
    """Work out what can be brought back. Reads only. Raises UnknownFormat, StoreError."""
    found = Mending(root, run_root, driver_name, tool, remains)
    found.lost = remains.lost(_last_in_trash(found))
    base, last = remains.checkpoint() if found.lost else remains.beginning()
    rows, mentioned, found.readable = _folded(found, base, last)
    evidence = gather(rows, found.driver, found.blobs)
    found.slot = next((max(one.first, last + 1, 2) for one in found.lost if one.last > max(last, 1)), 0)
    if found.slot and found.readable:
        found.early = adopt(rows, evidence)
        rows, _, _ = _folded(found, base, last)
    found.adoption = adopt(rows, evidence)
    after = Overlay(rows)
    if found.adoption.events:
        after.update(fold_commit(fold, after, Meta(1, 1, ""), found.adoption.events, None, None).items())
    found.moves = moves(found, after, mentioned)
    found.bare = len(without_files(found.driver, after))
    if last and not found.whole:
        mine, _, _ = _folded(found, Table(), 0)
        found.restated = _difference(mine, rows)
    return found


def _last_in_trash(found: Mending) -> int:
    """The newest commit that a trash entry names: it was made, whatever the journal says."""
    numbers = [entry.partition("-")[0] for entry in found.driver.trash()]
    return max((int(number) for number in numbers if number.isdigit() and len(number) < 19), default=0)


def _folded(found: Mending, base: Table, after: int) -> tuple[Overlay, set[str], int]:
    """The rows after all readable commits beyond *after*, every blob that any commit mentions, and how many commits there are."""
    from layerlog.blob_keeping import blobs_in

    rows = Overlay(base)
    mentioned: set[str] = set()
    count = 0
    waiting = list(found.early.events)
    for sequence, time_ns, payload in found.remains.commits():
        document = codec.decode(payload)
        count += 1
        if waiting and sequence > found.slot:
            rows.update(fold_commit(fold, rows, Meta(found.slot, time_ns - 1, ""), waiting, None, None).items())
            waiting = []
        for event in document["events"]:
            mentioned.update(blobs_in(event))
        if sequence > after:
            meta = Meta(sequence, time_ns, document["envelope"].get("actor", ""))
            rows.update(fold_commit(fold, rows, meta, document["events"], document.get("key"), document.get("print")).items())
    if waiting:
        rows.update(fold_commit(fold, rows, Meta(found.slot, 1, ""), waiting, None, None).items())
    return rows, mentioned, count


def _difference(mine: Rows, best: Rows) -> dict[bytes, Any]:
    """What has to be put or (None) taken away to make *mine* equal *best*."""
    have, want = dict(mine.scan(b"")), dict(best.scan(b""))
    return {key: want.get(key) for key in {*have, *want} if have.get(key) != want.get(key)}


# --- carrying it out


def mend(found: Mending, *, actor: str = "", reason: str = "", command: str = "") -> int:
    """Do what was planned; the last commit of the new journal. Durable on return.

    Raises InUse while somebody works on the store, OSError and StoreError when the disk refuses; then the old journal,
    if there was one, is still in its place.
    """
    disk.make_folders(found.folder)
    leases = Leases(os.path.join(found.folder, "leases"))
    with FileLock(os.path.join(found.folder, LOCK)):
        for holder_id, note in leases.holders().items():
            raise InUse(id=holder_id, holder=describe(note))
        who = envelope(actor=actor, reason=reason, command=command)
        lease = leases.take(LEASE, note := {"doing": f"mend the journal ({found.tool})", "pid": who["pid"], "program": who["program"]})
        try:
            settle(found.folder)
            must_be_as_planned(found.folder, found.remains.in_place)
            lease.rewrite(note)
            last = _carry_out(found, who)
        except BaseException:
            _after_failure(found.folder, lease)
            raise
        lease.release()
    return last


def _carry_out(found: Mending, who: dict[str, Any]) -> int:
    found.driver.setup()
    sync_names(found.driver, found.folder)  # before anything is moved there, or called done
    last = _write_aside(found, who)
    for move in found.moves:
        move.act()
    for layer_id in found.adoption.lose:
        if found.driver.exists(layer_id):
            found.driver.lose(layer_id)
    found.driver.sync_places()
    switch(found.folder)
    return last


def _after_failure(folder: str, lease: Lease) -> None:
    """Back, or, after the exchange, to the end; when the disk refuses that too, the next who opens the store does it."""
    try:
        settle(folder)
    except (StoreError, OSError):
        lease.abandon()
    else:
        lease.release()


def _write_aside(found: Mending, who: dict[str, Any]) -> int:
    """The new ledger, whole and durable, beside the old one."""
    aside = os.path.join(found.folder, ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    disk.make_folder(aside)
    commits = _numbered(found, who)
    _, first_ns, genesis = next(commits)
    make_first_segment(aside, genesis, durable=True, time_ns=first_ns)
    journal = Journal.open(aside)
    try:
        journal.begin()
        try:
            payloads: list[bytes] = []
            times: list[int] = []
            for _, time_ns, payload in commits:
                payloads.append(payload)
                times.append(time_ns)
                if sum(map(len, payloads)) >= BATCH_BYTES or len(payloads) >= 512:
                    journal.append(payloads, times)
                    payloads, times = [], []
            if payloads:
                journal.append(payloads, times)
        finally:
            journal.end()
        return journal.position.sequence
    finally:
        journal.close()


def _numbered(found: Mending, who: dict[str, Any]) -> Iterator[tuple[int, int, bytes]]:
    """Every commit of the new journal: what was read, a word about what was lost, and what was worked out."""
    encoder = codec.Encoder()
    why = {sequence: one.why for one in found.lost for sequence in range(one.first, one.last + 1)}
    before = time_ns = 0

    def fill(until: int) -> Iterator[tuple[int, int, bytes]]:
        nonlocal before, time_ns
        for sequence in range(before + 1, until + 1):
            time_ns += 1
            said = {"type": "StoreMended", "tool": found.tool, "did": [], "lost": [f"commit {sequence}: {why.get(sequence, 'no record')}"]}
            instead = found.early.events if sequence == found.slot else []
            yield sequence, time_ns, found.remains.genesis() if sequence == 1 else encoder.encode([*instead, said], who)
        before = max(before, until)

    for sequence, read_ns, payload in found.remains.commits():
        if not before and sequence > 1:
            time_ns = max(read_ns - sequence, 1)
        yield from fill(sequence - 1)
        before, time_ns = sequence, max(read_ns, time_ns + 1)
        yield sequence, time_ns, payload
    if not before:
        time_ns = time.time_ns() - max(why, default=1) - 1
    yield from fill(max(1, *why) if why else 1)
    for events in _closing(found):
        before, time_ns = before + 1, max(time.time_ns(), time_ns + 1)
        yield before, time_ns, encoder.encode(events, who)


def _closing(found: Mending) -> Iterator[list[Any]]:
    """The commits that come after what was read: rows of checkpoints, what is adopted, the account of it all."""
    piece: dict[str, Any] = {}
    size = 0
    for key, value in sorted(found.restated.items()):
        piece[key.decode("utf-8", "surrogateescape")] = value
        size += len(key) + len(repr(value))
        if size > ROWS_BYTES:
            yield [{"type": "RowsRestated", "rows": piece}]
            piece, size = {}, 0
    if piece:
        yield [{"type": "RowsRestated", "rows": piece}]
    for start in range(0, len(found.adoption.events), 2000):
        yield found.adoption.events[start : start + 2000]
    lost = [str(one) for one in found.lost] + found.adoption.lost
    did = [*found.remains.notes(), *found.early.did, *found.adoption.did, *(move.words for move in found.moves)]
    said = {"type": "StoreMended", "tool": found.tool, "did": did or [f"{found.readable} commits kept"]}
    yield [{**said, "lost": lost} if lost else said]
