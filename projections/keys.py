"""Keys of the rows: one place that says how the ordered map is laid out.

A key is a one-word space, then its parts, each ended by NUL except the last (IDs, names and keys
carry none, see ``eventstore.ids``). Sorted by bytes, so that "all children of X" and "all IDs that
start with X" are scans.

=============================  ======================================================
``layer``     id               LayerRow
``image``     id               ImageRow
``container`` id               ContainerRow
``name``      kind, name       id of the holder
``child``     parent, child    1
``top``       layer, image     1   (top layers and mapped copies)
``of-layer``  layer            id of the container that owns it
``of-image``  image, container 1
``diff``      digest, layer    1   (uncompressed digest)
``archive``   digest, layer    1   (compressed digest)
``toc``       digest, layer    1
``digest``    digest, image    1
``blob``      blob, owner...   1   (references; none left = collectable)
``made-for``  key              id of the layer that ``layer_for`` made
``trash``     sequence, id     TrashRow
``gone``      word             GoneRow (by ID and by ``name:`` + name, per kind)
``mount``     layer            MountRow (run journal)
``store``     word             store-wide values
=============================  ======================================================
"""

from __future__ import annotations


def key(space: str, *parts: str) -> bytes:
    """The key of one row."""
    return "\0".join((space, *parts)).encode("utf-8", "surrogateescape")


def prefix(space: str, *parts: str) -> bytes:
    """What the keys of all rows below *parts* start with."""
    return key(space, *parts) + b"\0"


def last_part(found: bytes) -> str:
    """The last part of a key, as text again."""
    return found[found.rindex(b"\0") + 1 :].decode("utf-8", "surrogateescape")
