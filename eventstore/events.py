"""Every event layerlog can record, declared once.

An event is a JSON object with a ``type``; one commit holds one or more of them. The classes here
say which fields each type has. They are TypedDicts: mypy holds every place that makes or reads an
event to them, ``eventstore.schema`` validates foreign journals against them, and a plain command
pays nothing for them, since they are only imported by name (attrs classes for the same cost 27 ms
and more at each start, three times the bare interpreter; measured 2026-11).

Past tense, as everything here has happened. An event carries what cannot be derived; time, author and
command stand in the commit's envelope. Deleted things are named only: what they were is in the
state before. Rules of evolution: a new optional field needs no new version; anything else is a new
``VERSIONS`` entry and an upcaster in ``eventstore.codec``.
"""

# No `from __future__ import annotations`: as texts, Python 3.11 would take every NotRequired field for required, and cattrs reads them.
from typing import Literal, NotRequired, TypedDict

from layerlog.eventstore.rescue_events import RowsRestated, StoreMended, StoreMigrated

Kind = Literal["layer", "image", "container"]


class MapEntry(TypedDict):
    """``size`` IDs from ``container_id`` on are ``host_id`` and following (contract/cli.md §3)."""

    container_id: int
    host_id: int
    size: int


class BlobRef(TypedDict):
    """A big-data item: where its bytes are and what the original would report of it."""

    blob: str
    size: int


class Contents(TypedDict):
    """What is known of a layer's applied diff; digests are ``sha256:<hex>``, sizes bytes."""

    diff_digest: str
    diff_size: int
    compressed_digest: str
    compressed_size: int
    compression: int
    uids: list[int]
    gids: list[int]
    tar_split: NotRequired[BlobRef]
    toc_digest: NotRequired[str]
    unproven: NotRequired[bool]
    """Adopted by a rescue: the digest is what the image names, and nothing shows that the files give it."""
    left_out: NotRequired[int]
    """How many attributes (owners, devices, privileged xattrs) the unpacking user could not set."""


class Loan(TypedDict):
    """A parent that lies in another store: which, seen at which commit, where, and what the parent held."""

    store: str
    sequence: int
    root: str
    diff_digest: NotRequired[str]


class StoreCreated(TypedDict):
    """Genesis: always the first commit, alone."""

    type: Literal["StoreCreated"]
    store_id: str
    format: int
    driver: str
    options: list[str]
    durability: str


class LayerCreated(TypedDict):
    """``contents`` is absent for an empty layer; with it, the bytes were durable before this commit."""

    type: Literal["LayerCreated"]
    id: str
    parent: NotRequired[str]
    names: NotRequired[list[str]]
    metadata: NotRequired[str]
    mount_label: NotRequired[str]
    flags: NotRequired[dict[str, object]]
    uid_map: NotRequired[list[MapEntry]]
    gid_map: NotRequired[list[MapEntry]]
    contents: NotRequired[Contents]
    big_data: NotRequired[dict[str, BlobRef]]
    opened: NotRequired[bool]
    snapshot_of: NotRequired[str]
    loan: NotRequired[Loan]
    copy_of: NotRequired[str]
    """The top layer that it is a copy of, with other owners."""


class LayerDiffApplied(TypedDict):
    """A diff was applied to a layer that existed; its generation goes up by one and is swapped in."""

    type: Literal["LayerDiffApplied"]
    id: str
    contents: Contents
    in_place: NotRequired[bool]
    anew: NotRequired[bool]
    """The layer holds this diff and nothing of what was there before (a repair)."""


class LayerOpenedForWriting(TypedDict):
    """First writable mount: from now on a missing folder is damage and contents are "as of now"."""

    type: Literal["LayerOpenedForWriting"]
    id: str


class LayerDeleted(TypedDict):
    """``kept``: contents go to the trash and can come back; otherwise they are freed at once."""

    type: Literal["LayerDeleted"]
    id: str
    kept: bool


class LayerRestored(TypedDict):
    """The layer is as it was before commit ``deleted_at``."""

    type: Literal["LayerRestored"]
    id: str
    deleted_at: int


class ImageCreated(TypedDict):
    type: Literal["ImageCreated"]
    id: str
    layer: NotRequired[str]
    names: NotRequired[list[str]]
    names_history: NotRequired[list[str]]
    digest: NotRequired[str]
    metadata: NotRequired[str]
    big_data: NotRequired[dict[str, BlobRef]]
    flags: NotRequired[dict[str, object]]
    created_ns: NotRequired[int]


class ImageMappedLayersSet(TypedDict):
    """Copies of the top layer with other ID maps (contract/semantics.md §6)."""

    type: Literal["ImageMappedLayersSet"]
    id: str
    mapped_layers: list[str]


class ImageDeleted(TypedDict):
    type: Literal["ImageDeleted"]
    id: str
    kept: bool


class ImageRestored(TypedDict):
    type: Literal["ImageRestored"]
    id: str
    deleted_at: int


class ContainerCreated(TypedDict):
    """Its layer is created in the same commit."""

    type: Literal["ContainerCreated"]
    id: str
    layer: str
    image: NotRequired[str]
    names: NotRequired[list[str]]
    metadata: NotRequired[str]
    big_data: NotRequired[dict[str, BlobRef]]
    uid_map: NotRequired[list[MapEntry]]
    gid_map: NotRequired[list[MapEntry]]
    flags: NotRequired[dict[str, object]]


class ContainerDeleted(TypedDict):
    type: Literal["ContainerDeleted"]
    id: str
    kept: bool


class ContainerRestored(TypedDict):
    type: Literal["ContainerRestored"]
    id: str
    deleted_at: int


class NamesSet(TypedDict):
    """The whole list, newest first. A name taken from a holder is one more NamesSet, for that holder, before this one.

    ``lost``: the holder's, from which another thing took names: that is no update of its own, and not one of its names-history.
    """

    type: Literal["NamesSet"]
    kind: Kind
    id: str
    names: list[str]
    lost: NotRequired[bool]


class MetadataSet(TypedDict):
    type: Literal["MetadataSet"]
    kind: Kind
    id: str
    metadata: str


class FlagsSet(TypedDict):
    type: Literal["FlagsSet"]
    kind: Kind
    id: str
    flags: dict[str, object]


class BigDataSet(TypedDict):
    type: Literal["BigDataSet"]
    kind: Kind
    id: str
    key: str
    blob: str
    size: int


class BigDataRemoved(TypedDict):
    type: Literal["BigDataRemoved"]
    kind: Kind
    id: str
    key: str


class TrashFreed(TypedDict):
    """The contents of these entries (``<sequence>-<id>``) are gone for good."""

    type: Literal["TrashFreed"]
    entries: list[str]


class Pinned(TypedDict):
    """What is pinned is never deleted or freed."""

    type: Literal["Pinned"]
    kind: Kind
    id: str
    pin: str


class Unpinned(TypedDict):
    type: Literal["Unpinned"]
    kind: Kind
    id: str
    pin: str


class LayerKeyed(TypedDict):
    """``layer_for(key)`` made this layer for that key (and parent)."""

    type: Literal["LayerKeyed"]
    key: str
    id: str


class StoreWiped(TypedDict):
    """Every layer, image and container is gone; one event, whatever the size of the store."""

    type: Literal["StoreWiped"]
    kept: bool


class JournalCompacted(TypedDict):
    """Commits up to ``through``, whose frame has that ``hash``, are folded into the base with that SHA-256."""

    type: Literal["JournalCompacted"]
    through: int
    hash: str
    base: str
    archive: str
    """Where their segments went, relative to the folder of segments; empty: they were dropped."""


class RowsKept(TypedDict):
    """Only in a base (FORMAT.md §2a), never in a commit: rows as ``[key, value]`` that stand for all commits before it."""

    type: Literal["RowsKept"]
    rows: list[list[object]]
    archives: NotRequired[list[str]]
    """In the first of a base: folders with the segments from before it."""
    redacted: NotRequired[bool]
    """In the first: private words were replaced, for a bundle."""


class Mounted(TypedDict):
    """Run journal: one more mount of a layer."""

    type: Literal["Mounted"]
    id: str
    path: str
    read_only: NotRequired[bool]
    namespace: NotRequired[int]
    """The mount namespace that it was made in."""


class Unmounted(TypedDict):
    """Run journal: ``count`` mounts of a layer are left."""

    type: Literal["Unmounted"]
    id: str
    count: int


class PayloadRedacted(TypedDict):
    """The payloads of those earlier commits were replaced on purpose, at their lengths. The ledger's own business: no fold sees it."""

    type: Literal["PayloadRedacted"]
    sequences: list[int]


class RunStarted(TypedDict):
    """Genesis of a run journal."""

    type: Literal["RunStarted"]
    boot: str


Event = (
    StoreCreated
    | LayerCreated
    | LayerDiffApplied
    | LayerOpenedForWriting
    | LayerDeleted
    | LayerRestored
    | ImageCreated
    | ImageMappedLayersSet
    | ImageDeleted
    | ImageRestored
    | ContainerCreated
    | ContainerDeleted
    | ContainerRestored
    | NamesSet
    | MetadataSet
    | FlagsSet
    | BigDataSet
    | BigDataRemoved
    | TrashFreed
    | Pinned
    | Unpinned
    | LayerKeyed
    | StoreWiped
    | StoreMended
    | RowsRestated
    | StoreMigrated
    | JournalCompacted
    | RowsKept
    | Mounted
    | Unmounted
    | PayloadRedacted
    | RunStarted
)


class Envelope(TypedDict):
    """Who made a commit (``eventstore.envelope``). All of it may be missing, as in a redacted payload."""

    uid: NotRequired[int]
    login_uid: NotRequired[int]
    pid: NotRequired[int]
    program: NotRequired[str]
    host: NotRequired[str]
    boot: NotRequired[str]
    actor: NotRequired[str]
    command: NotRequired[str]
    arguments: NotRequired[list[str]]
    reason: NotRequired[str]
    undoes: NotRequired[list[int]]
    """The commits that this one takes back."""
    redacted: NotRequired[int]


class Payload(TypedDict):
    """What one frame holds; ``key`` and ``print`` come together, ``redacted`` is the hash of the rest (FORMAT.md §4)."""

    envelope: Envelope
    events: list[Event]
    key: NotRequired[str]
    print: NotRequired[str]
    redacted: NotRequired[str]
