"""Layer, Image and Container: what the library gives its users.

Each is a read-only view of one row, as cheap to make as the row is to find; compare, hash and print
work by kind and ID. (Not attrs classes: a look-up must not pay for importing attrs, see
``eventstore/events.py``.) Absent fields read as empty.
"""

from __future__ import annotations

from layerlog.projections import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.eventstore.events import MapEntry


class Record:
    """What all three kinds have. ``row`` is the stored form; treat it as read-only."""

    kind = ""
    __slots__ = ("row",)

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    @property
    def read_only(self) -> bool:
        """Lives in a store that this one may not write."""
        return bool(self.row.get("read_only"))

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def names(self) -> list[str]:
        """Newest first."""
        return list(self.row.get("names", ()))

    @property
    def metadata(self) -> str:
        return str(self.row.get("metadata", ""))

    @property
    def created_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        return int(self.row["created_ns"])

    @property
    def changed(self) -> int:
        """Sequence of the last commit that touched it."""
        return int(self.row["changed"])

    @property
    def flags(self) -> dict[str, Any]:
        return dict(self.row.get("flags", {}))

    @property
    def pins(self) -> list[str]:
        """Words that keep it from deletion."""
        return list(self.row.get("pins", ()))

    @property
    def big_data(self) -> dict[str, tuple[str, int]]:
        """Key -> (digest, size), in order of first setting."""
        return {item: (ref["blob"], ref["size"]) for item, ref in self.row.get("big_data", {}).items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and (self.kind, self.row) == (other.kind, other.row)

    def __hash__(self) -> int:
        return hash((self.kind, self.id))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id[:12]}{''.join(' ' + name for name in self.names)})"


class LayerContents:
    """Digests, sizes and owners of the diff that a layer was made from."""

    __slots__ = ("row",)

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    @property
    def diff_digest(self) -> str:
        return str(self.row.get("diff_digest", ""))

    @property
    def diff_size(self) -> int:
        """Bytes of the uncompressed tar."""
        return int(self.row.get("diff_size", 0))

    @property
    def compressed_digest(self) -> str:
        return str(self.row.get("compressed_digest", ""))

    @property
    def compressed_size(self) -> int:
        return int(self.row.get("compressed_size", 0))

    @property
    def compression(self) -> int:
        """0 none, 1 bzip2, 2 gzip, 3 xz, 4 zstd."""
        return int(self.row.get("compression", 0))

    @property
    def uids(self) -> list[int]:
        return list(self.row.get("uids", ()))

    @property
    def gids(self) -> list[int]:
        return list(self.row.get("gids", ()))


class Layer(Record):
    """One file-system layer."""

    kind = "layer"
    __slots__ = ()

    @property
    def parent(self) -> str:
        """ID of the parent; empty for a base layer."""
        return str(self.row.get("parent", ""))

    @property
    def mount_label(self) -> str:
        return str(self.row.get("mount_label", ""))

    @property
    def contents(self) -> LayerContents | None:
        """None for a layer that no diff was applied to."""
        found = self.row.get("contents")
        return LayerContents(found) if found else None

    @property
    def opened(self) -> bool:
        """Was mounted for writing: its files may be newer than its digests."""
        return "opened" in self.row

    @property
    def uid_map(self) -> list[MapEntry]:
        return list(self.row.get("uid_map", ()))

    @property
    def gid_map(self) -> list[MapEntry]:
        return list(self.row.get("gid_map", ()))


class Image(Record):
    """An image: a top layer, names and big data."""

    kind = "image"
    __slots__ = ()

    @property
    def layer(self) -> str:
        """ID of the top layer; empty for an image without layers."""
        return str(self.row.get("layer", ""))

    top_layer = layer

    @property
    def mapped_layers(self) -> list[str]:
        return list(self.row.get("mapped_layers", ()))

    @property
    def digest(self) -> str:
        return str(self.row.get("digest", ""))

    @property
    def digests(self) -> list[str]:
        return images.digests(self.row)

    @property
    def names_history(self) -> list[str]:
        """Every name an update ever set, newest first."""
        return list(self.row.get("names_history", ()))


class Container(Record):
    """A container: a writable layer on an image's chain."""

    kind = "container"
    __slots__ = ()

    @property
    def image(self) -> str:
        """ID of its image; may be empty."""
        return str(self.row.get("image", ""))

    @property
    def layer(self) -> str:
        """ID of its own layer."""
        return str(self.row["layer"])

    @property
    def uid_map(self) -> list[MapEntry]:
        return list(self.row.get("uid_map", ()))

    @property
    def gid_map(self) -> list[MapEntry]:
        return list(self.row.get("gid_map", ()))


RECORD: dict[str, type[Record]] = {"layer": Layer, "image": Image, "container": Container}
