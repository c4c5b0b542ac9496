"""What Store offers about layers."""

from __future__ import annotations

from layerlog import change
from layerlog.contents import Filled, ensure_created, fill_layer, maps_between
from layerlog.core import Core
from layerlog.decide import containers as decide_containers
from layerlog.decide import layers as decide
from layerlog.decide.common import need
from layerlog.decide.lending import is_hollow, lowers, lowers_from
from layerlog.eventstore.ids import check_id, check_names, new_id
from layerlog.records import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import IO, Any

    from layerlog.drivers.changes import Change
    from layerlog.eventstore.events import MapEntry


class LayerMethods(Core):
    """Create, fill, compare and delete layers."""

    def create_layer(
        self,
        parent: str = "",
        *,
        id: str = "",
        names: Iterable[str] = (),
        metadata: str = "",
        label: str = "",
        uid_map: Sequence[MapEntry] = (),
        gid_map: Sequence[MapEntry] = (),
        host_uids: bool = False,
        host_gids: bool = False,
        flags: dict[str, Any] | None = None,
        read_only: bool = False,
    ) -> Layer:
        """Make an empty layer on *parent* (ID, name or prefix; empty: none). Durable on return.

        ID maps: those given, or the host's own IDs (*host_uids*, *host_gids*), else the parent's. Where they are not the parent's,
        and mounts cannot show them, everything below is copied with its owners changed. *read_only* only says in which half of
        a split store it is kept. Raises ParentUnknown, ParentIsContainer, DuplicateID, DuplicateName, InvalidID, InvalidName,
        InvalidMappings (maps that overlap; an owner that they do not cover).
        """
        self.must_write()
        layer_id, wanted = check_id(id) if id else new_id(), check_names(list(names))
        fields: dict[str, Any] = {"metadata": metadata, "mount_label": label, "flags": flags}
        if id:
            from layerlog.contents import make_way

            make_way(self, layer_id)
        if uid_map or gid_map or host_uids or host_gids:
            from layerlog.mapping import Asked, create_layer

            return create_layer(self, layer_id, parent, wanted, Asked(uid_map, gid_map, host_uids, host_gids), fields)
        committed = change.commit(
            self, lambda rows: decide.create(rows, layer_id, parent, wanted, **fields), f"create-layer {parent} {id} {wanted}"
        )
        return Layer(change.outcome(self, committed, "layer", committed.events[0]["id"]))

    def import_layer(
        self,
        stream: IO[bytes],
        parent: str = "",
        *,
        id: str = "",
        names: Iterable[str] = (),
        progress: Any = None,
        read_only: bool = False,
        **fields: Any,
    ) -> Layer:
        """Make a layer from a tar (any compression). Contents are durable before the layer exists.

        Raises what create_layer raises, InvalidArchive, ArchiveEscape, ArchiveLimit; then nothing is left.
        """
        self.must_write()
        retried = self.retried()  # then it is read for its digest, and the layer is the first one
        layer_id, wanted = check_id(id) if id and not retried else new_id(), check_names(list(names))
        label = fields.pop("label", "")
        with self.reading() as rows:  # a mistake is told before the archive is read
            if not retried:
                decide.create(rows, layer_id, parent, wanted)
            over = decide.parent_of_new(rows, parent)
        asked = [fields.pop(name, ()) for name in ("uid_map", "gid_map", "host_uids", "host_gids")]
        maps = None
        if any(asked) or (over and (over.get("uid_map") or over.get("gid_map"))):
            from layerlog.mapping import Asked, layer_maps

            maps = layer_maps(self, over, Asked(asked[0], asked[1], bool(asked[2]), bool(asked[3])))
            fields.update(inherit=False, **maps)
        with Filled(self, layer_id, over["id"] if over else "", "import-layer", maps=maps) as filled:
            contents = filled.apply(stream, progress)
            filled.place()
            committed = change.commit(
                self,
                lambda rows: decide.create(rows, layer_id, parent, wanted, contents=contents, mount_label=label, **fields),
                f"import-layer {parent} {id} {wanted} {contents['diff_digest']}",
            )
        return Layer(change.outcome(self, committed, "layer", committed.events[0]["id"]))

    def apply_diff(self, asked: str, stream: IO[bytes], progress: Any = None) -> Layer:
        """Unpack a tar over what the layer holds; it becomes the layer's next generation, or nothing changes.

        In place only while the layer is mounted. Digests are those of this tar alone.
        Raises LayerUnknown, InvalidArchive, InUse.
        """
        self.must_write()
        with self.reading() as rows:
            layer_id = need(rows, "layer", asked)["id"]
        committed = fill_layer(self, layer_id, stream, progress)
        return Layer(change.outcome(self, committed, "layer", layer_id))

    # --- comparing

    def changes(self, asked: str, ref: str | None = None) -> Iterator[Change]:
        """Paths that differ from the parent, or from *ref*; an unknown *ref* means the parent (contract/cli.md §5)."""
        layer_id, chain, against = self._compared(asked, ref)
        if not layer_id:
            return iter(())
        return self.driver.changes(layer_id, chain, against, maps_between(self, layer_id, chain, against))

    def diff_size(self, asked: str, ref: str | None = None) -> int:
        """Bytes of regular files in the diff."""
        layer_id, chain, against = self._compared(asked, ref)
        return self.driver.diff_size(layer_id, chain, against, maps_between(self, layer_id, chain, against)) if layer_id else 0

    def diff(self, asked: str, ref: str | None = None, compression: int | None = None) -> Iterator[bytes]:
        """The diff as a tar stream: bit for bit the one that was applied, where there was one.

        *compression*: 0 none, 2 gzip; None as recorded. Raises ContentsDamaged mid-stream when a file
        no longer fits the tar it came from.
        """
        from layerlog.contents import open_diff

        layer_id, chain, against = self._compared(asked, ref)
        if not layer_id:
            from layerlog.drivers.compression import compressed

            return compressed(iter((bytes(1024),)), compression or 0)
        return open_diff(self, self.layer(layer_id), chain, against, compression)

    def _compared(self, asked: str, ref: str | None) -> tuple[str, list[str], list[str] | None]:
        """ID, chain, and the other side's ID and chain when it is not the parent.

        A hollow layer (decide/lending.py) is what its lowers are; without any, or against its parent, there is nothing: an empty ID.
        """
        with self.reading() as rows:
            row = need(rows, "layer", asked)
            chain = lowers(rows, row["id"])
            other = None
            if ref:
                from layerlog.decide.common import lookup

                other = lookup(rows, "layer", ref)
            against = lowers_from(rows, other["id"]) if other and other["id"] != row.get("parent") else None
        if is_hollow(row):
            return (chain[0], chain[1:], against) if chain and against is not None else ("", [], None)
        ensure_created(self, row["id"])
        if against:
            ensure_created(self, against[0])
        return row["id"], chain, against

    # --- deleting

    def delete_layer(self, asked: str) -> None:
        """Delete a layer that nothing uses; mounted or not. Durable on return; it can be restored within retention.

        Raises LayerUnknown, LayerHasChildren, LayerUsedByImage, LayerUsedByContainer, Pinned, InUse.
        """
        self.must_write()
        kept = self.retention_seconds > 0
        change.remove(self, lambda rows: decide.delete(rows, asked, kept), f"delete-layer {asked}")

    def delete(self, asked: str) -> None:
        """Delete a container with its layer, else an image's record, else a layer, without asking who uses it."""
        self.must_write()
        kept = self.retention_seconds > 0
        change.remove(self, lambda rows: decide_containers.delete_any(rows, asked, kept), f"delete {asked}")
