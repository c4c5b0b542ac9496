"""An opened root: what Store is, before the methods that change anything.

A look-up needs no more than this, so that a command that only looks does not pay for importing the rest.
"""

from __future__ import annotations

import os

from layerlog.core import RETENTION_SECONDS, Core, Lazy, Terms
from layerlog.eventstore import disk
from layerlog.eventstore.blobs import Blobs
from layerlog.eventstore.envelope import envelope
from layerlog.eventstore.errors import NotSupported
from layerlog.eventstore.genesis import choose_home, guard, make_genesis
from layerlog.eventstore.leases import Leases
from layerlog.eventstore.ledger import Ledger
from layerlog.eventstore.position import boot_id
from layerlog.eventstore.safety import look
from layerlog.projections.fold import FOLD_VERSION, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


class Opened(Core):
    """One root, opened. A context manager; threads may share it, a forked child may not.

    *root*: graph root, made (0700) if missing. *run_root*: state of this boot, by default ``ROOT/run``.
    *driver*: vfs, overlay, ...; by default the one the root was made with, else the first that works here.
    *image_stores*: roots of other stores whose layers and images can be used here; never written (lending.py).
    *actor*, *reason*, *command*: what history shows besides what the library finds out by itself.
    *key*: makes a retried change happen once. *retention*: seconds that deleted contents can come back;
    0 frees them at once. Raises ForeignStore, JournalMissing, UnknownFormat, UnsafeFolder; then nothing was touched.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        run_root: str | os.PathLike[str] | None = None,
        driver: str | None = None,
        *,
        options: Sequence[str] = (),
        actor: str = "",
        reason: str = "",
        command: str = "",
        arguments: Sequence[str] = (),
        key: str | None = None,
        expected: int | None = None,
        retention: float = RETENTION_SECONDS,
        read_only: bool = False,
        image_stores: Sequence[str | os.PathLike[str]] = (),
        image_store: str | os.PathLike[str] | None = None,
        transient: bool = False,
        sync: str = "full",
        idmapped_mounts: bool = True,
    ) -> None:
        self.root = os.path.abspath(os.path.expanduser(os.fspath(root)))
        self.run_root = os.path.abspath(os.path.expanduser(os.fspath(run_root))) if run_root else os.path.join(self.root, "run")
        self.driver_options = tuple(options)
        self.retention_seconds = retention
        self.is_read_only = read_only
        self.idmapped_mounts = idmapped_mounts
        self.lazy = Lazy()
        if image_store or transient:
            raise NotSupported("this class opens no split and no transient store")
        self.terms = Terms(envelope(actor=actor, reason=reason, command=command, arguments=arguments, key=key), key, expected)
        self.driver_asked = driver is not None
        self.driver_name = choose_home(self.root, driver) or first_working_driver(self.root)
        if options:
            check_driver_options(self.driver_name, options)
        self.image_roots = self._image_roots(image_stores)
        self._open(sync)

    def _image_roots(self, given: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
        """Roots of the additional image stores: those *given*, then those that driver options name."""
        if not given and not any("imagestore" in option.lower() for option in self.driver_options):
            return ()
        from layerlog.lending import checked, roots_in

        roots = [checked(os.path.abspath(os.path.expanduser(os.fspath(one))), self.driver_name) for one in given]
        found = dict.fromkeys([*roots, *roots_in(self.driver_options, self.driver_name)])
        return tuple(root for root in found if root != self.root)

    def _open(self, sync: str) -> None:
        folder = self.folder()
        self.lazy.read_only_disk = look(self.root)
        self.is_read_only = self.is_read_only or self.lazy.read_only_disk
        look(self.run_root)
        if not guard(self.root, self.driver_name):
            self.must_write()
            check_new_store(self.driver_name, self.root)
            from layerlog.network import refuse_network

            refuse_network(self.root)
            disk.make_folders(self.root)
            make_genesis(self.root, self.driver_name, list(self.driver_options), sync)
        self.ledger = Ledger.open(folder, fold, fold_version=FOLD_VERSION, read_only=self.is_read_only)
        try:
            self.blobs = Blobs(os.path.join(folder, "blobs"))
            self.leases = Leases(os.path.join(folder, "leases"))
            self.recovered = [] if self.is_read_only else self._recover()
            """What recovery did while opening: (layer ID, steps)."""
        except BaseException as error:
            self.ledger.close()
            if not self._moved_by(error):
                raise
            self._open(sync)

    def _moved_by(self, error: BaseException) -> bool:
        """Whether recovery just finished a migration, and the store may be opened where it is now: no driver was asked for."""
        from layerlog.recovery import StoreMigrated

        if not isinstance(error, StoreMigrated) or self.driver_asked:
            return False
        self.driver_name, self.lazy.driver = error.driver, None
        return True

    def _recover(self) -> list[tuple[str, list[str]]]:
        """Settle what a crash or a boot left. Nobody works here and nothing happened: one look at two files."""
        if not self.leases.files() and self.settled_boot() == boot_id().hex():
            return []
        from layerlog.recovery import recover

        return recover(self)

    def close(self) -> None:
        """Free what is past retention, if something was deleted, and close. May be called twice."""
        if self.lazy.closed:
            return
        try:
            if self.lazy.deleted:
                self.before_close()
        finally:
            self.lazy.closed = True
            self.ledger.close()
            if self.lazy.run_ledger is not None:
                self.lazy.run_ledger.close()
            if self.lazy.lenders is not None:
                self.lazy.lenders.close()

    def before_close(self) -> None:
        """What a Store that deleted something does before it closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r}, driver={self.driver_name!r}, sequence={self.sequence})"


def check_new_store(driver: str, root: str) -> None:
    """Raise NotSupported for a driver that nobody knows, or that cannot work there."""
    from layerlog.drivers.choose import check_new

    check_new(driver, root)


def check_driver_options(driver: str, options: Sequence[str]) -> None:
    """Raise InvalidRequest for an option that *driver* does not know."""
    from layerlog.drivers.storage_options import check_options

    check_options(driver, options)


def first_working_driver(root: str) -> str:
    """The first driver that works below *root*, in the order overlay, btrfs, zfs, vfs."""
    from layerlog.drivers.choose import first_working

    return first_working(root)
