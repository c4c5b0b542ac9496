"""Records as the original's JSON: field order, names, and which empty fields are left out (contract/cli.md §3)."""

from __future__ import annotations

from layerlog.cli.gojson import Fields, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from layerlog.records import Container, Image, Layer


def layer(record: Layer) -> Fields:
    """One layer."""
    found = Fields([("id", record.id)])
    found.add("names", record.names)
    found.add("parent", record.parent)
    found.add("metadata", record.metadata)
    found.add("mountlabel", record.mount_label)
    found.append(("created", time(record.created_ns)))
    contents = record.row.get("contents", {})
    found.add("compressed-diff-digest", contents.get("compressed_digest", ""))
    found.add("compressed-size", contents.get("compressed_size", 0))
    found.add("diff-digest", contents.get("diff_digest", ""))
    found.add("toc-digest", contents.get("toc_digest", ""))
    found.add("diff-size", contents.get("diff_size", 0))
    found.add("compression", contents.get("compression", 0))
    found.add("uidset", contents.get("uids", []))
    found.add("gidset", contents.get("gids", []))
    found.add("flags", record.flags)
    found.add("uidmap", id_map(record.uid_map))
    found.add("gidmap", id_map(record.gid_map))
    found.add("big-data-names", list(record.big_data))
    return found


def image(record: Image) -> Fields:
    """One image."""
    found = Fields([("id", record.id)])
    found.add("digest", record.digest)
    found.add("names", record.names)
    found.add("names-history", record.names_history)
    found.add("layer", record.layer)
    found.add("mapped-layers", record.mapped_layers)
    found.add("metadata", record.metadata)
    _add_big_data(found, record.big_data)
    found.append(("created", time(record.created_ns)))
    found.add("flags", record.flags)
    return found


def container(record: Container) -> Fields:
    """One container."""
    found = Fields([("id", record.id)])
    found.add("names", record.names)
    found += [("image", record.image), ("layer", record.layer)]
    found.add("metadata", record.metadata)
    _add_big_data(found, record.big_data)
    found.append(("created", time(record.created_ns)))
    found.add("uidmap", id_map(record.uid_map))
    found.add("gidmap", id_map(record.gid_map))
    found.add("flags", record.flags)
    return found


def _add_big_data(found: Fields, items: dict[str, tuple[str, int]]) -> None:
    found.add("big-data-names", list(items))
    found.add("big-data-sizes", {key: size for key, (_, size) in items.items()})
    found.add("big-data-digests", {key: digest for key, (digest, _) in items.items()})


def id_map(entries: Iterable[Any]) -> list[Fields]:
    """An ID map; zeros stay."""
    return [Fields([("container_id", one["container_id"]), ("host_id", one["host_id"]), ("size", one["size"])]) for one in entries]


def record(found: Any) -> Fields:
    """A record of any kind."""
    if found.kind == "layer":
        return layer(found)
    return image(found) if found.kind == "image" else container(found)
