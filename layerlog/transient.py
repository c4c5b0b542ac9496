"""A transient store: containers that do not outlive a boot. Their records live in the run journal, which is not fsynced.

The store is one over the root, which is this class, and ``run_half`` over the same root, leases and driver, whose
ledger is the run journal. Each looks into the other; a commit to the run journal is made while nobody commits to the root's, so that
names, parents and images in use are decided on both states. A new boot voids the run journal; what is left of its
layers on disk is named by a file in ``ROOT/<driver>-layerlog/volatile/``, which recovery reads after a boot (CRASH.md §8).
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

from layerlog.decide.common import lookup
from layerlog.eventstore import disk
from layerlog.eventstore.blobs import Blobs
from layerlog.eventstore.errors import NotSupported, OutcomeUnknown
from layerlog.projections.several import Borrowed, Several
from layerlog.split_store import SplitStore
from layerlog.store import Store
from layerlog.volatile_layers import mark_volatile, unmark_volatile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO, Any, BinaryIO

    from layerlog.eventstore.rows import Rows
    from layerlog.records import Container, Layer

KINDS = ("layer", "image", "container")


class RunHalf(Store):
    """The containers of this boot and their layers. Made by a TransientStore, never opened."""

    main: Store
    durable = False

    @classmethod
    def beside(cls, main: Store) -> RunHalf:
        """The half that shares everything with *main* but the ledger and the place of big data."""
        half = object.__new__(cls)
        half.__dict__.update(main.__dict__)
        half.main, half.ledger, half.terms = main, main.run_ledger, main.terms.of_other_half()
        half.blobs = Blobs(main.run_folder("blobs"), durable=False)
        half.retention_seconds = 0
        return half

    @property
    def image_core(self) -> Store:
        found = self.main.image_core
        assert isinstance(found, Store)
        return found

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        with ExitStack() as stack:
            others = self._lent(stack)
            main = stack.enter_context(self.main.ledger.reading())
            yield _over(stack.enter_context(self.ledger.reading()), main, others)

    @contextmanager
    def exclusively(self) -> Iterator[Callable[[Rows], Rows]]:
        """Nobody commits to the root's journal inside; gives what puts its rows under those of the run journal."""
        with ExitStack() as stack:
            others = self._lent(stack)
            main = stack.enter_context(self.main.ledger.exclusively())
            yield lambda rows: _over(rows, main, others)

    def _lent(self, stack: ExitStack) -> list[Rows]:
        return stack.enter_context(self.main.lenders.standing()) if self.main.image_roots else []

    def blobs_with(self, digest: str) -> Blobs:
        return self.blobs if self.blobs.has(digest) else self.main.blobs_with(digest)

    def create_container(self, *arguments: Any, **options: Any) -> Container:
        disk.make_folders(self.run_folder())
        os.close(disk.open_to_write(self.run_folder("containers"), os.O_CREAT))  # from now on every Store on this run root looks there
        return super().create_container(*arguments, **{**options, "volatile": True})

    @contextmanager
    def _making(self, container_id: str, layer_id: str) -> Iterator[None]:
        """The note beside the root's journal comes before the record: whoever mounts what has one makes a folder."""
        try:
            mark_volatile(self, layer_id, container_id)
            yield
            if self.terms.key is not None and self.own_row("layer", layer_id) is None:
                unmark_volatile(self, layer_id)  # it was answered with what was made the first time
        except OutcomeUnknown:
            raise
        except BaseException:
            unmark_volatile(self, layer_id)
            raise

    def delete_container(self, asked: str) -> None:
        layer_id = self.container(asked).layer
        super().delete_container(asked)
        unmark_volatile(self, layer_id)


def _over(run: Rows, main: Rows, others: list[Rows]) -> Rows:
    return Several(run, [Borrowed(main, {}, whole=True, lists=KINDS), *others])


class TransientMixin(Store):
    """Containers go to the run half, and what is asked of them; everything else stays where it is."""

    def __init__(self, *arguments: Any, transient: bool = True, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.is_read_only:
            self.close()
            raise NotSupported("a transient store cannot be opened for reading only")
        self.shows_run = True
        self.run_half = RunHalf.beside(self)

    def given(self, **terms: Any) -> Any:
        """See ``Store.given``."""
        other = super().given(**terms)
        assert isinstance(other, TransientMixin)
        other.run_half = self.run_half.on_terms()
        other.run_half.terms = other.terms.of_other_half()
        return other

    def plainly(self) -> Any:
        other = super().plainly()
        if other is not self:
            other.run_half = self.run_half.plainly()
        return other

    @property
    def _rest(self) -> Store:
        """This store's own methods, past those of this class."""
        return super()  # type: ignore[return-value]

    def _half(self, asked: str, *kinds: str) -> RunHalf | None:
        """The run half, if what *asked* means is there."""
        with self.reading() as rows:
            for kind in kinds or KINDS:
                row = lookup(rows, kind, asked)
                if row is not None:
                    return self.run_half if "run" in row else None
        return None

    def container_core(self, container_id: str) -> Store:
        return self._half(container_id, "container") or self

    def blobs_with(self, digest: str) -> Blobs:
        found = super().blobs_with(digest)
        return found if found.has(digest) or not self.run_half.blobs.has(digest) else self.run_half.blobs

    def create_container(self, *arguments: Any, **options: Any) -> Container:
        return self.run_half.create_container(*arguments, **options)

    def delete_container(self, asked: str) -> None:
        (self._half(asked, "container") or self._rest).delete_container(asked)

    def delete(self, asked: str) -> None:
        half = self._half(asked, "container", "image", "layer")
        if half is not None and half.exists(asked, "container"):
            half.delete_container(asked)
            return
        (half or self._rest).delete(asked)

    def apply_diff(self, asked: str, stream: IO[bytes], progress: Any = None) -> Layer:
        return (self._half(asked, "layer") or self._rest).apply_diff(asked, stream, progress)

    def delete_layer(self, asked: str) -> None:
        (self._half(asked, "layer") or self._rest).delete_layer(asked)

    def mount(self, asked: str, *, read_only: bool = False, **options: Any) -> str:
        return (self._half(asked, "container", "layer", "image") or self._rest).mount(asked, read_only=read_only, **options)

    def _rename(self, asked: str, kind: str | None, edit: str, names: Iterable[str]) -> list[str]:
        return (self._half(asked, *((kind,) if kind else ())) or self._rest)._rename(asked, kind, edit, names)

    def set_metadata(self, asked: str, metadata: str, kind: str | None = None) -> None:
        (self._half(asked, *((kind,) if kind else ())) or self._rest).set_metadata(asked, metadata, kind)

    def set_big_data(self, kind: str, asked: str, item: str, data: bytes | BinaryIO) -> None:
        (self._half(asked, kind) or self._rest).set_big_data(kind, asked, item, data)

    def remove_big_data(self, kind: str, asked: str, item: str) -> None:
        (self._half(asked, kind) or self._rest).remove_big_data(kind, asked, item)

    def pin(self, asked: str, word: str = "pinned", kind: str | None = None) -> None:
        (self._half(asked, *((kind,) if kind else ())) or self._rest).pin(asked, word, kind)

    def unpin(self, asked: str, word: str = "pinned", kind: str | None = None) -> None:
        (self._half(asked, *((kind,) if kind else ())) or self._rest).unpin(asked, word, kind)

    def wipe(self) -> None:
        """The containers of this boot first, then the rest."""
        for container in self.run_half.containers():
            self.plainly().delete_container(container.id)
        super().wipe()


class TransientStore(TransientMixin):
    """``Store(root, transient=True)`` makes one."""


class TransientSplitStore(TransientMixin, SplitStore):
    """``Store(root, image_store=DIR, transient=True)`` makes one."""
