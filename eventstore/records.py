"""What a layer, an image and a container are: the rows that the folds keep.

Rows are JSON objects (TypedDicts, see events.py for why). They are never changed in place: a fold
puts a new row. Absent means empty. Source: contract/semantics.md §1.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from layerlog.eventstore.events import BlobRef, Contents, MapEntry  # noqa: TC001 - cattrs reads these when the program runs


class LayerRow(TypedDict):
    id: str
    created_ns: int
    order: int
    """Creation order: commit sequence * 2^20 + place in the commit."""
    changed: int
    """Sequence of the last commit that touched it: what ``expected`` is compared with."""
    generation: int
    """How often contents were replaced; 0 = as created."""
    anew: NotRequired[int]
    """The generation that was made from nothing, by a repair: it holds its recorded diff alone."""
    parent: NotRequired[str]
    names: NotRequired[list[str]]
    metadata: NotRequired[str]
    mount_label: NotRequired[str]
    flags: NotRequired[dict[str, object]]
    uid_map: NotRequired[list[MapEntry]]
    gid_map: NotRequired[list[MapEntry]]
    contents: NotRequired[Contents]
    big_data: NotRequired[dict[str, BlobRef]]
    opened: NotRequired[int]
    """Sequence of the first writable mount."""
    pins: NotRequired[list[str]]
    keys: NotRequired[list[str]]
    """What ``layer_for`` finds it by."""


class ImageRow(TypedDict):
    id: str
    created_ns: int
    order: int
    changed: int
    layer: NotRequired[str]
    mapped_layers: NotRequired[list[str]]
    digest: NotRequired[str]
    names: NotRequired[list[str]]
    names_history: NotRequired[list[str]]
    metadata: NotRequired[str]
    big_data: NotRequired[dict[str, BlobRef]]
    flags: NotRequired[dict[str, object]]
    pins: NotRequired[list[str]]


class ContainerRow(TypedDict):
    id: str
    created_ns: int
    order: int
    changed: int
    layer: str
    image: NotRequired[str]
    names: NotRequired[list[str]]
    metadata: NotRequired[str]
    big_data: NotRequired[dict[str, BlobRef]]
    uid_map: NotRequired[list[MapEntry]]
    gid_map: NotRequired[list[MapEntry]]
    flags: NotRequired[dict[str, object]]
    pins: NotRequired[list[str]]


class TrashRow(TypedDict):
    """A deleted thing that may come back: its row as it was, and whether its contents were kept."""

    kind: str
    id: str
    sequence: int
    time_ns: int
    kept: bool
    row: dict[str, object]


class GoneRow(TypedDict):
    """The last deletion of an ID or name: what ``why-gone`` looks up before it reads the journal."""

    kind: str
    id: str
    sequence: int


class MountRow(TypedDict):
    id: str
    path: str
    count: int
    namespace: NotRequired[int]
