"""Store: the library's front door.

    with Store("~/.cache/ci", actor="ci/4711") as store:
        base = store.load("python-app.tar", name="base")

Every method that changes something returns when the change is durable, and either all of it happened or
none. Every failure is a StoreError (eventstore/errors.py) that says what stood in the way.
"""

from __future__ import annotations

from contextlib import contextmanager

from layerlog.checking import CheckMethods
from layerlog.containers import ContainerMethods
from layerlog.drop_in import DropInMethods
from layerlog.following import FollowMethods
from layerlog.housekeeping import HousekeepingMethods
from layerlog.images import ImageMethods
from layerlog.keeping import KeepMethods
from layerlog.layers import LayerMethods
from layerlog.names import NameMethods
from layerlog.opened import Opened
from layerlog.pruning import PruneMethods
from layerlog.sandbox import SandboxMethods
from layerlog.undoing import UndoMethods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.transaction import Transaction


class Store(
    LayerMethods,
    ImageMethods,
    ContainerMethods,
    NameMethods,
    SandboxMethods,
    HousekeepingMethods,
    UndoMethods,
    CheckMethods,
    FollowMethods,
    KeepMethods,
    PruneMethods,
    DropInMethods,
    Opened,
):
    """One root, opened. A context manager; threads may share it, a forked child may not.

    *root*: graph root, made (0700) if missing. *run_root*: state of this boot, by default ``ROOT/run``.
    *driver*: vfs, overlay, ...; by default the one the root was made with, else the first that works here.
    *image_stores*: roots of other stores whose layers and images can be used here; never written (lending.py).
    *actor*, *reason*, *command*: what history shows besides what the library finds out by itself.
    *key*: makes a retried change happen once. *retention*: seconds that deleted contents can come back;
    0 frees them at once.
    *image_store*: a second root, for images and read-only layers (split_store.py). *transient*: containers are
    recorded in the run root and do not outlive a boot (transient.py).
    Raises ForeignStore, JournalMissing, UnknownFormat; then nothing was touched.
    """

    if not TYPE_CHECKING:  # to a type checker the signature is that of __init__

        def __new__(cls, *_: object, image_store: object = None, transient: object = False, **__: object) -> Store:
            """Split and transient stores are of classes of their own."""
            if cls is Store and transient:
                from layerlog.transient import TransientSplitStore, TransientStore

                return object.__new__(TransientSplitStore if image_store else TransientStore)
            if cls is Store and image_store:
                from layerlog.split_store import SplitStore

                return object.__new__(SplitStore)
            return object.__new__(cls)

    # --- on other terms

    def given(self, *, key: str | None = None, expected: int | None = None, reason: str | None = None, actor: str | None = None) -> Store:
        """The same open store on other terms: ``store.given(key="job-7").create_layer()`` happens once however often it is retried.

        *expected*: the sequence a plan was made on; what was changed since raises StaleVersion.
        """
        changed = {name: value for name, value in (("reason", reason), ("actor", actor)) if value}
        other = self.on_terms(**changed)
        other.terms.key = key or self.terms.key
        other.terms.expected = expected if expected is not None else self.terms.expected
        return other

    @property
    def image_core(self) -> Store:
        return self

    @contextmanager
    def transaction(self, reason: str = "", key: str | None = None) -> Iterator[Transaction]:
        """Several changes as one commit, when the block ends without an exception; else none of them."""
        from layerlog.transaction import Transaction

        self.must_write()
        open_transaction = Transaction(self.given(reason=reason, key=key))
        with open_transaction.held:
            yield open_transaction
            open_transaction.commit()

    # --- the whole store

    def wipe(self) -> None:
        """Delete every container, image and layer: one commit of constant size. Restorable within retention."""
        from layerlog.wiping import wipe

        wipe(self)

    def status(self) -> list[tuple[str, str]]:
        """What the store stands on, in the order it is shown."""
        options = " ".join(self.driver_options)
        head = [("Root", self.root), ("Run Root", self.run_root), ("Driver Name", self.driver_name), ("Driver Options", f"[{options}]")]
        return head + self.driver.status()

    def before_close(self) -> None:
        self.free_expired()
