"""Contents of layers: unpacked aside, made durable, placed, and given back as a tar.

``Filled`` holds everything that stands between "nobody knows this ID" and "its contents are in place":
the lease of the ID, a shared lease on its parent, and the staged folder. Left by an exception it
leaves nothing; left by a crash, recovery.py does the same from the lease.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext

from layerlog import change
from layerlog.blob_keeping import putting
from layerlog.decide import layers as decide
from layerlog.decide.lending import is_hollow, lowers, lowers_from
from layerlog.eventstore import disk
from layerlog.eventstore.errors import ContentsDamaged, DuplicateID, JournalError, LayerUnknown
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Any, BinaryIO

    from layerlog.core import Core
    from layerlog.drivers.driver import Maps, Staged
    from layerlog.drivers.idmaps import Remap
    from layerlog.eventstore.locks import Lease
    from layerlog.eventstore.requests import Committed
    from layerlog.eventstore.rows import Rows
    from layerlog.records import Layer

Progress = Callable[[int], None]
LeftOut = Callable[[list["Any"]], None]


class Filled:
    """New contents for *layer_id* on *parent*, from staging to their place. A context manager, used once."""

    def __init__(
        self,
        core: Core,
        layer_id: str,
        parent: str,
        doing: str,
        *,
        wait: bool = False,
        chain: list[str] | None = None,
        maps: dict[str, Any] | None = None,
    ) -> None:
        self.core, self.layer_id, self.parent = core, layer_id, parent
        self._maps = maps
        """ID maps of the layer, where they may be others than its parent's."""
        self.doing, self.wait = doing, wait
        self._chain = chain
        """Given when the caller holds the parent, which then need not be in the journal yet."""
        self._stack = ExitStack()
        self._staged: Staged | None = None

    def __enter__(self) -> Filled:
        with ExitStack() as stack:
            if self.parent and self._chain is None:
                ensure_created(self.core, self.parent)  # before we share its lease: making its folders takes that lease alone
                stack.enter_context(self.core.lease(self.parent, self.doing, shared=True, wait=True))
            stack.enter_context(putting(self.core))
            make_way(self.core, self.layer_id, self.wait)
            self.lease = stack.enter_context(self.core.lease(self.layer_id, self.doing, wait=self.wait))
            self._stack = stack.pop_all()
        return self

    @property
    def staged(self) -> Staged:
        """The folder to fill, made on first use."""
        if self._staged is None:
            with self.core.reading() as rows:
                if get(rows, "layer", self.layer_id) is not None:
                    raise DuplicateID(kind="layer", id=self.layer_id)
                if self.parent and self._chain is None and get(rows, "layer", self.parent) is None:
                    raise LayerUnknown(asked=self.parent)
                over = get(rows, "layer", self.parent) if self.parent else None
            self._staged = self.core.driver.stage(self.layer_id, self.chain())
            if self._maps is not None:
                give_owners(self._staged, over, self._maps)
        return self._staged

    def copy_shifted(self, source: str, remap: Remap) -> None:
        """Fill the layer with a copy of *source*, which stands on the same chain, under other owners."""
        ensure_created(self.core, source)
        there = self.core.driver.found(source)  # else it is a hollow layer of another store
        self._staged = self.core.driver.stage(self.layer_id, self.chain(), base=source if there else None)
        self._staged.shift(remap, based=there)

    def chain(self) -> list[str]:
        """The parent and its ancestors, nearest first."""
        if self._chain is not None or not self.parent:
            return self._chain or []
        with self.core.reading() as rows:
            return lowers_from(rows, self.parent)

    def apply(self, stream: IO[bytes], progress: Progress | None = None, left_out: LeftOut | None = None) -> Any:
        """Unpack *stream*; return the event's ``contents``. Nothing is durable yet."""
        return apply_to(self.core, self.staged, stream, progress, left_out)

    def place(self) -> None:
        """Make the contents durable and rename them into place. What is left is the commit."""
        self.staged.sync()
        # After a power cut it alone tells that what is placed was never committed; there may have been no room for it at first.
        self.lease.rewrite({"doing": self.doing, **self.core.holder_note()})
        self.core.driver.place(self.layer_id)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is not None:
                self.core.after_failure(self.lease, error)
            elif self.core.terms.key is not None and not self.core.has_layer(self.layer_id):
                _settle(self.core, self.lease, {"doing": self.doing})  # it was answered with what was made the first time
        finally:
            self._stack.__exit__(kind, error, trace)


def _settle(core: Core, lease: Lease, note: dict[str, Any]) -> None:
    """Take away what was made for a change that had been made before."""
    from layerlog.recovery import settle_held

    settle_held(core, lease, note)


def make_way(core: Core, layer_id: str, wait: bool = False) -> None:
    """Move to lost+found what stands where a new layer is to come and no record claims: it would be replaced, or removed with the layer.

    Under a lease that says only that: whoever finds it dead moves it, too. Raises InUse, JournalError while the journal has a gap.
    """
    if not core.driver.exists(layer_id) or core.has_layer(layer_id):
        return
    from layerlog.losing import LOSING, lose_unclaimed

    with core.lease(layer_id, LOSING, wait=wait) as lease:
        if core.ledger.has_damage():
            raise JournalError(f"the journal has damaged records: one may claim what stands at {core.driver.path(layer_id)}")
        lease.sync()
        lose_unclaimed(core, layer_id)


def give_owners(staged: Staged, over: dict[str, Any] | None, row: dict[str, Any]) -> None:
    """Give what is staged on layer *over* to the owners that the maps of *row* say."""
    if row.get("uid_map") or row.get("gid_map") or (over or {}).get("uid_map") or (over or {}).get("gid_map"):
        from layerlog.drivers.idmaps import Remap, maps_of

        if (remap := Remap(maps_of(over), maps_of(row))).changes_nothing():
            staged.maps = remap.new
        else:
            staged.shift(remap)


def apply_to(core: Core, staged: Staged, stream: IO[bytes], progress: Progress | None = None, tell_left_out: LeftOut | None = None) -> Any:
    """Unpack *stream* into a staged folder; its tar-split record becomes a durable blob.

    What this user cannot make (owners, devices, privileged xattrs) is counted in the record and told to *tell_left_out*.
    """
    with unnamed_file(core.blobs.folder) as record:
        applied = staged.apply(stream, core.limits, record, progress)
        record.seek(0)
        blob, size = core.blobs.put(record)
    left_out = len(applied.left_out)
    if left_out and tell_left_out:
        tell_left_out(list(applied.left_out))
    return {
        **({"left_out": left_out} if left_out else {}),
        "diff_digest": applied.diff_digest,
        "diff_size": applied.diff_size,
        "compressed_digest": applied.compressed_digest,
        "compressed_size": applied.compressed_size,
        "compression": applied.compression,
        "uids": list(applied.uids),
        "gids": list(applied.gids),
        "tar_split": {"blob": blob, "size": size},
    }


@disk.typed
def unnamed_file(folder: str) -> BinaryIO:
    """A file without a name (open(2), O_TMPFILE): whatever happens, nothing of it stays."""
    disk.make_folders(folder)
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as lacking:  # network and FUSE file systems: a name for an instant
        if lacking.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
        path = os.path.join(folder, f".{os.urandom(12).hex()}")
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.unlink(path)
    return os.fdopen(fd, "w+b")


def fill_layer(core: Core, layer_id: str, stream: IO[bytes], progress: Progress | None = None) -> Committed:
    """Give an existing layer its next generation: staged, synced, committed, swapped."""
    with core.lease(layer_id, "apply-diff") as lease, putting(core):
        ensure_created(core, layer_id, lease)
        with core.reading() as rows:
            row = get(rows, "layer", layer_id)
            chain = lowers(rows, layer_id)
        if row is None:
            raise LayerUnknown(asked=layer_id)
        generation = row["generation"]
        note = {"doing": "apply-diff", "generation": generation + 1, **core.holder_note()}
        lease.rewrite(note)
        try:
            staged = core.driver.stage(layer_id, chain, base=layer_id)
            give_owners(staged, row, row)
            contents = apply_to(core, staged, stream, progress)
            staged.sync()
            what = f"apply-diff {layer_id} {contents['diff_digest']}"
            committed = change.commit(core, lambda rows: decide.apply_diff(rows, layer_id, generation, contents, False), what)
            if committed.repeated:
                _settle(core, lease, note)  # what is staged is in no commit
            else:
                core.driver.swap(layer_id)
        except BaseException as error:
            core.after_failure(lease, error, note)
            raise
        return committed


def ensure_created(core: Core, layer_id: str, own: Lease | None = None) -> None:
    """Make the derived folders of a layer, and of its ancestors, where they are missing. *own*: the caller's lease of *layer_id*.

    Raises ContentsDamaged when a layer that had contents, or was opened for writing, has no folder.
    """
    if core.driver.found(layer_id):
        return
    with core.reading() as rows:
        chain = [layer_id, *lowers(rows, layer_id)]
        found = {one: get(rows, "layer", one) for one in chain}
    for place in range(len(chain) - 1, -1, -1):
        one = chain[place]
        if core.driver.found(one) or is_hollow(found[one]):
            continue
        row = found[one]
        if row is None:
            raise LayerUnknown(asked=one)
        if "contents" in row or "opened" in row:
            if _found_when_settled(core, row, own):
                continue
            where = core.driver.path(one) if "borrowed" not in row else f"{row['borrowed']['root']}/{core.driver_name}"
            raise ContentsDamaged(layer_id=one, path=where, why="the folder of this layer is missing")
        with nullcontext(own) if own and one == layer_id else core.lease(one, "make folders", wait=True) as lease:
            if core.layer_row(one) is None or core.driver.found(one):
                continue
            try:
                _create(core, row, chain[place + 1 :])
            except BaseException as error:
                core.after_failure(lease, error)
                raise


def _found_when_settled(core: Core, row: dict[str, Any], own: Lease | None) -> bool:
    """Whether the folder of a layer is there after all: it changes place in a swap, which who died in it left half made."""
    if "borrowed" in row or core.is_read_only or (own and own.id == row["id"]):
        return False
    with core.lease(row["id"], "look", shared=True, wait=True):
        return core.driver.found(row["id"])


def _create(core: Core, row: dict[str, Any], chain: list[str]) -> None:
    """The derived folders of an empty layer, under its own owners where they are not its parent's."""
    with core.reading() as rows:
        over = get(rows, "layer", row["parent"]) if row.get("parent") else None
    fields = ("uid_map", "gid_map")
    if [row.get(field) for field in fields] == [(over or {}).get(field) for field in fields]:
        core.driver.create(row["id"], chain)
        return
    staged = core.driver.stage(row["id"], chain)
    give_owners(staged, over, row)
    staged.close()
    core.driver.place(row["id"])


def open_diff(core: Core, layer: Layer, chain: list[str], against: list[str] | None, compression: int | None) -> Iterator[bytes]:
    """The diff of a layer: re-assembled from its tar-split record, or made by the driver; then compressed."""
    from layerlog.drivers.compression import compressed

    record = layer.row.get("contents", {}).get("tar_split")
    if record is not None and against is None:
        plain = _reassembled(core, layer.id, record["blob"])
    else:
        plain = driver_diff(core, layer.id, chain, against)
    wanted = compression if compression is not None else (layer.contents.compression if layer.contents and against is None else 0)
    return compressed(plain, wanted)


def driver_diff(core: Core, layer_id: str, chain: list[str], against: list[str] | None) -> Iterator[bytes]:
    """The driver's diff, with the owners that its ID maps stand for."""
    maps = maps_between(core, layer_id, chain, against)
    if maps is None:
        return core.driver.diff(layer_id, chain, against)
    own = maps[0]
    return core.driver.diff(layer_id, chain, against, own.uids if own else (), own.gids if own else (), maps)


def measured(core: Core, layer_id: str, chain: list[str]) -> int:
    """Bytes of a layer's diff as its files are now; 0 while its folders are still to be derived."""
    if not core.driver.found(layer_id):
        return 0
    return core.driver.diff_size(layer_id, chain, None, maps_between(core, layer_id, chain, None))


def maps_between(core: Core, layer_id: str, chain: list[str], against: list[str] | None) -> Maps | None:
    """Maps of a layer and of what it is compared with; None where neither has any."""
    with core.reading() as rows:
        if not any(_has_maps(rows, one) for one in (layer_id, *chain[:1], *(against or ())[:1])):
            return None
    from layerlog import mapping

    return mapping.compared(core, layer_id, against)


def _has_maps(rows: Rows, layer_id: str) -> bool:
    """Whether a layer, or the container that owns it, has ID maps."""
    row = get(rows, "layer", layer_id) or {}
    owner = layer_rows.container_of(rows, layer_id)
    found = (row, (get(rows, "container", owner) or {}) if owner else {})
    return any(one.get("uid_map") or one.get("gid_map") for one in found)


def _reassembled(core: Core, layer_id: str, blob: str) -> Iterator[bytes]:
    from layerlog.drivers.tarsplit import reassemble

    with core.blobs_with(blob).open(blob) as record:
        yield from reassemble(core.driver, layer_id, record)
