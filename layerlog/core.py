"""What every part of Store stands on: the open ledger, driver, blobs and leases of one root.

Layout of a root (DESIGN §5)::

    ROOT/<driver>/                      layers, staging/, trash/      (drivers/)
    ROOT/<driver>-layerlog/journal/     the truth                     (eventstore/FORMAT.md)
                           checkpoints/ derived, may be deleted
                           blobs/       big data by digest
                           leases/      who works on which ID
    RUN/<driver>-layerlog/journal/      mounts of this boot, not fsynced
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from threading import local

from layerlog.eventstore import disk
from layerlog.eventstore.errors import InUse, ReadOnlyStore
from layerlog.eventstore.ids import check_key
from layerlog.eventstore.state import key_row
from layerlog.projections.items import get
from layerlog.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, Self

    from layerlog.drivers.applying import Limits
    from layerlog.drivers.driver import Driver
    from layerlog.eventstore.blobs import Blobs
    from layerlog.eventstore.ledger import Ledger
    from layerlog.eventstore.locks import Lease, Leases
    from layerlog.eventstore.rows import Rows
    from layerlog.history import Commit
    from layerlog.lending import Lenders
    from layerlog.projections.items import Row

RETENTION_SECONDS = 24 * 3600.0


class Terms:
    """On what terms the changes of one Store are made: who asks, why, once only, planned on which state."""

    __slots__ = ("envelope", "expected", "key", "planned_elsewhere")

    def __init__(self, envelope: dict[str, Any], key: str | None = None, expected: int | None = None) -> None:
        self.envelope, self.key, self.expected = envelope, key, expected
        self.planned_elsewhere = False
        """``expected`` is a commit of another journal than the one that is changed on these terms."""

    def of_other_half(self) -> Terms:
        """The same for a half of the store that has a journal of its own."""
        other = Terms(self.envelope, self.key, self.expected)
        other.planned_elsewhere = True
        return other


class Lazy:
    """What is opened when first needed, and closed once, however many terms share it."""

    __slots__ = (
        "asks_the_next",
        "closed",
        "deleted",
        "driver",
        "held",
        "hooks",
        "left_behind",
        "lenders",
        "read_only_disk",
        "run_ledger",
        "run_looked",
        "run_seen",
        "unkept",
    )

    def __init__(self) -> None:
        self.driver: Driver | None = None
        self.run_ledger: Ledger | None = None
        self.lenders: Lenders | None = None
        self.run_looked = -1
        """The tenure of the writer lock in which it was seen that the run journal holds no containers (change.py)."""
        self.run_seen = False
        """It holds some."""
        self.closed = False
        self.read_only_disk = False
        self.held = local()
        """IDs that a thread holds leases of, and whether it shares them: a thread must not wait for itself."""
        self.deleted = False
        """Something went to the trash: closing looks whether older things are due to be freed."""
        self.unkept: list[str] = []
        """Layers that were deleted and could not be kept for a restore, since the disk was full."""
        self.left_behind: list[str] = []
        """Layers that were deleted and whose files this user may not remove (left_behind.py)."""
        self.asks_the_next = False
        """The lease for a sweep, which we hold, is to be left dead."""
        self.hooks: list[Callable[[Commit], object]] = []
        """What wants to know of each commit made here (following.py)."""


class Core(View):
    """The shell around the pure core. Threads may share one; processes open their own.

    After fork the child must open a new Store: what it inherited raises StoreClosed.
    """

    root: str
    run_root: str
    driver_name: str
    driver_options: tuple[str, ...]
    image_roots: tuple[str, ...]
    """Roots of the additional image stores, in look-up order."""
    idmapped_mounts = True
    """Whether the kernel may be asked to show layers under other ID maps (mapping.py)."""
    other_half: Core | None = None
    """The other half of a split store (split_store.py)."""
    images_there = False
    shows_run = False
    """Whether the containers of the run journal are listed (transient.py)."""
    durable = True
    retention_seconds: float
    is_read_only: bool
    terms: Terms
    ledger: Ledger
    leases: Leases
    lazy: Lazy

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        if not self.looks_elsewhere():
            with self.ledger.reading() as rows:
                yield rows
            return
        with self.elsewhere() as under, self.ledger.reading() as rows:
            yield under(rows)

    def looks_elsewhere(self) -> bool:
        """Whether decisions need more than one's own rows: those of image stores, or of containers in the run journal."""
        return bool(self.image_roots) or os.path.exists(self.run_folder("containers"))

    @contextmanager
    def elsewhere(self) -> Iterator[Callable[[Rows], Rows]]:
        """The stores this one looks into stand still inside; gives what puts their rows under one's own."""
        from layerlog.volatile_layers import run_part

        lenders, run = self.lenders, run_part(self)
        with lenders.standing() as others:
            yield lambda rows: lenders.under(rows, others, run)

    @property
    def lenders(self) -> Lenders:
        """The additional image stores; opened when first looked into."""
        if self.lazy.lenders is None:
            from layerlog.lending import Lenders

            there = self.other_half.root if self.other_half is not None else ""
            self.lazy.lenders = Lenders(self.image_roots, self.driver_name, there if self.images_there else "", (there,))
        return self.lazy.lenders

    @property
    def halves(self) -> list[Core]:
        """The stores that it is made of, each with a journal: this one, and the other half of a split store."""
        return [self]

    @property
    def image_core(self) -> Core:
        """Where images and read-only layers are made: here, unless the store is split."""
        return self

    def container_core(self, container_id: str) -> Core:
        """Where the record of a container is: here, unless it is one of a transient store."""
        return self

    def join(self, other: Core, images_there: bool = False) -> None:
        """Be one half of a split store: look into the *other* first, with all that it has. For images even before oneself."""
        self.other_half, self.images_there = other, images_there
        self.image_roots = (other.root, *(root for root in self.image_roots if root != other.root))
        if self.lazy.lenders is not None:
            self.lazy.lenders.close()
            self.lazy.lenders = None
        if self.lazy.driver is not None:
            self.lazy.driver.lend(self.image_roots)

    def blobs_with(self, digest: str) -> Blobs:
        if not self.image_roots or self.blobs.has(digest):
            return self.blobs
        return self.lenders.blobs_with(digest) or self.blobs

    @property
    def sequence(self) -> int:
        """The last durable commit."""
        return self.ledger.sequence

    @property
    def driver(self) -> Driver:
        """Opened when first needed: a look-up never touches it."""
        if self.lazy.driver is None:
            from layerlog.drivers.choose import open_driver

            self.lazy.driver = open_driver(self.driver_name, self.root, self.run_root, self.driver_options)
            self.lazy.driver.lend(self.image_roots)
            self.lazy.driver.shifting_allowed = self.idmapped_mounts
            if not self.is_read_only:
                self.lazy.driver.setup()
        return self.lazy.driver

    @property
    def limits(self) -> Limits:
        """What an archive may be at most. Raises InvalidRequest for storage options that say it wrongly."""
        from layerlog.limits import limits_of

        return limits_of(self.driver_name, self.driver_options)

    @property
    def run_ledger(self) -> Ledger:
        """The journal of this boot: mounts and their counts."""
        if self.lazy.run_ledger is None:
            from layerlog.run_state import open_run_ledger

            self.lazy.run_ledger = open_run_ledger(self)
        return self.lazy.run_ledger

    @contextmanager
    def mount_rows(self) -> Iterator[Rows]:
        from layerlog.run_state import reading

        with reading(self) as rows:
            yield rows

    def layer_row(self, layer_id: str) -> Row | None:
        """The row of exactly that ID."""
        with self.reading() as rows:
            return get(rows, "layer", layer_id)

    def own_row(self, kind: str, item_id: str) -> Row | None:
        """The row of exactly that ID, if it is this store's own."""
        with self.reading() as rows:
            return get(rows.own, kind, item_id)

    def has_layer(self, layer_id: str) -> bool:
        """Whether a record of this store, or of a run journal of this boot, claims a layer of exactly that ID."""
        if self.own_row("layer", layer_id) is not None:
            return True
        from layerlog.volatile_layers import claims_layer

        return claims_layer(self, layer_id)

    def on_terms(self, **changed: Any) -> Self:
        """The same open store, writing other words into the envelope of its commits."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.terms = Terms({**self.terms.envelope, **changed}, self.terms.key, self.terms.expected)
        other.terms.planned_elsewhere = self.terms.planned_elsewhere
        return other

    def plainly(self) -> Self:
        """The same open store for what a change brings with it, or what nobody asked for: client key and plan are for the change alone."""
        if self.terms.key is None and self.terms.expected is None:
            return self
        other = self.on_terms()
        other.terms = Terms(self.terms.envelope)
        return other

    def retried(self) -> bool:
        """Whether a change was made with this client key: what is asked now is answered with that, if it is the same."""
        return bool(self.made_with_key())

    def made_with_key(self) -> int:
        """The commit that was made with this client key; 0 when there is none."""
        if self.terms.key is None:
            return 0
        with self.ledger.reading() as rows:
            return int((rows.get(key_row(self.terms.key)) or {"s": 0})["s"])

    def must_write(self) -> None:
        """Raise ReadOnlyStore if this store was opened for reading."""
        if self.lazy.read_only_disk:
            from layerlog.eventstore.safety import ReadOnlyFileSystem

            raise ReadOnlyFileSystem(root=self.root)
        if self.is_read_only:
            raise ReadOnlyStore

    @contextmanager
    def lease(self, item_id: str, doing: str, shared: bool = False, wait: bool = False) -> Iterator[Lease]:
        """Hold the lease of an ID while the block runs. Raises InUse, naming the holder, unless *wait*."""
        self.must_write()
        note = {"doing": doing, **self.holder_note()}
        held: dict[str, bool] = self.lazy.held.__dict__
        assert not wait or item_id not in held or (shared and held[item_id]), f"{doing}: this thread would wait for itself ({item_id})"
        before = held.get(item_id)
        lease = self.leases.take(item_id, note, shared=shared, wait=wait)
        try:
            if lease.before():
                from layerlog.taking_over import taken_over

                try:
                    lease = taken_over(self, lease, note, shared, wait)
                except BaseException:
                    lease.abandon()
                    raise
            held[item_id] = shared
            yield lease
        finally:
            try:
                if before is None:
                    held.pop(item_id, None)
                else:
                    held[item_id] = before
            finally:
                lease.release()

    def after_failure(self, lease: Lease, error: BaseException, note: Row | None = None) -> None:
        """Settle the ID of an operation that failed with *error* (recovery.py)."""
        from layerlog.recovery import after_failure

        after_failure(self, lease, error, note)

    def holder_note(self) -> dict[str, Any]:
        """What others read when they meet a lease of ours."""
        envelope = self.terms.envelope
        return {name: envelope[name] for name in ("pid", "program", "actor", "command") if envelope.get(name)}

    def busy(self, layer_ids: Sequence[str]) -> set[str]:
        """Those of *layer_ids* that somebody holds a lease of."""
        found: set[str] = set()
        for layer_id in layer_ids:
            try:
                with self.lease(layer_id, "look"):
                    continue
            except InUse:
                found.add(layer_id)
        return found

    @contextmanager
    def stored(self, big_data: Mapping[str, bytes] | None, kind: str) -> Iterator[dict[str, Any]]:
        """Big data of something that is being created, as references for its event; kept while the block runs."""
        keys = [check_key(item, kind) for item in big_data or ()]
        if not big_data:
            yield {}
            return
        from layerlog.blob_keeping import putting

        with putting(self):
            stored = {item: self.blobs.put(big_data[item]) for item in keys}
            yield {item: {"blob": digest, "size": size} for item, (digest, size) in stored.items()}

    def forget_mount(self, layer_id: str) -> None:
        """Unmount a layer whatever its count, and set the count to zero."""
        from layerlog.run_state import unmount_for_good

        unmount_for_good(self, layer_id)

    def settled_boot(self) -> str:
        """The boot whose left-overs were settled last; empty when none was."""
        try:
            with disk.reading(self.folder("settled")) as file:
                return file.read().decode("ascii", "replace")
        except FileNotFoundError:
            return ""

    def folder(self, *parts: str) -> str:
        """A path below ``ROOT/<driver>-layerlog``."""
        return os.path.join(self.root, f"{self.driver_name}-layerlog", *parts)

    def run_folder(self, *parts: str) -> str:
        """A path below ``RUN/<driver>-layerlog``."""
        return os.path.join(self.run_root, f"{self.driver_name}-layerlog", *parts)
