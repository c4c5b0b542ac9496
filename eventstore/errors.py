"""Every error layerlog raises: few kinds, many precise leaves, data as attributes.

A *kind* tells the caller what to do; a *leaf* tells what stood in the way. Leaves take keyword
arguments, keep them as attributes, and build their message from them, so that a program can read
``error.holder_id`` instead of parsing text. Sources of the wording: contract/cli.md §4-§8 (the
original's ``types/errors.go``).
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of everything layerlog raises on purpose.

    ``message`` is a class-level format string over the keyword arguments; ``hint`` says what to
    try next and may be empty. ``exit_code`` is what the command line ends with.
    """

    exit_code = 1
    message = "{detail}"
    hint = ""

    def __init__(self, detail: str = "", **data: object) -> None:
        self.data: dict[str, object] = {"detail": detail, **data}
        for name, value in data.items():
            setattr(self, name, value)
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        try:
            return self.message.format(**self.data)
        except KeyError:  # a leaf raised with other data than its sentence names still says something
            return str(self.data["detail"]) or self.message

    def advice(self) -> str:
        """What to try next, in one sentence; empty when there is nothing useful to say."""
        try:
            return self.hint.format(**self.data)
        except KeyError:
            return self.hint


# --- what was asked for is not there -------------------------------------------------------------


class NotFound(StoreError):
    """Nothing by that ID, name or unique ID prefix."""


class LayerUnknown(NotFound):
    """Data: ``asked``."""

    message = "layer not known"
    hint = "layerlog layers lists what is here; layerlog why-gone {asked} tells what happened to it"


class ParentUnknown(LayerUnknown):
    """Data: ``asked``."""


class ImageUnknown(NotFound):
    """Data: ``asked``."""

    message = 'locating image with ID "{asked}": image not known'
    hint = "layerlog images lists what is here; layerlog why-gone {asked} tells what happened to it"


class ContainerUnknown(NotFound):
    """Data: ``asked``."""

    message = "container not known"
    hint = "layerlog containers lists what is here; layerlog why-gone {asked} tells what happened to it"


class ItemUnknown(NotFound):
    """No layer, image or container by that word. Data: ``asked``."""

    message = "identifier is not a layer, image, or container"


class BigDataUnknown(NotFound):
    """Data: ``kind``, ``id``, ``key``."""

    message = 'locating item named "{key}" for {kind} with ID "{id}": file does not exist'


class CommitUnknown(NotFound):
    """The journal has no such point. Data: ``asked``."""

    message = "no commit at {asked}"


class NotInTrash(NotFound):
    """Deleted for good, or never there. Data: ``asked``."""

    message = '"{asked}" is not in the trash'
    hint = "layerlog why-gone {asked} tells whether and when it was freed"


class BlobMissing(NotFound):
    """A referenced blob is not in the blob store. Data: ``digest``."""

    message = "blob {digest} is missing from the store"
    hint = "layerlog repair --from PATH fetches it again; layerlog verify names every record that refers to it"


# --- the store, or somebody, stands in the way -----------------------------------------------------


class Conflict(StoreError):
    """The state refuses the change. Look, then ask for something else."""


class DuplicateID(Conflict):
    """Data: ``kind``, ``id``."""

    message = "that ID is already in use"


class DuplicateImageID(DuplicateID):
    """Data: ``id``."""

    message = 'an image with ID "{id}" already exists: that ID is already in use'


class DuplicateName(Conflict):
    """Data: ``kind``, ``name``, ``holder_id``."""

    message = "that name is already in use"
    hint = "the name {name!r} is held by {kind} {holder_id}; rename or delete that, or take another name"


class DuplicateImageName(DuplicateName):
    """Data: ``name``, ``holder_id``."""

    message = 'image name "{name}" is already associated with image "{holder_id}": that name is already in use'


class DuplicateContainerName(DuplicateName):
    """Data: ``name``, ``holder_id``."""

    message = (
        'the container name "{name}" is already in use by {holder_id}. You have to remove that '
        "container to be able to reuse that name: that name is already in use"
    )


class LayerHasChildren(Conflict):
    """Data: ``id``, ``holder_id``."""

    message = "used by layer {holder_id}: layer has children"


class LayerUsedByImage(Conflict):
    """Data: ``id``, ``holder_id``."""

    message = "layer {id} used by image {holder_id}: layer is in use by an image"


class LayerUsedByContainer(Conflict):
    """Data: ``id``, ``holder_id``."""

    message = "layer {id} used by container {holder_id}: layer is in use by a container"


class ImageUsedByContainer(Conflict):
    """Data: ``id``, ``holder_id``."""

    message = "image used by {holder_id}: image is in use by a container"


class ParentIsContainer(Conflict):
    """Data: ``id``, ``holder_id``."""

    message = "would-be parent layer is a container"


class LayerMounted(Conflict):
    """Data: ``id``, ``path``."""

    message = "layer {id} is mounted at {path}"
    hint = "unmount it first"


class InUse(Conflict):
    """Somebody is working on it right now. Data: ``id``, ``holder`` (what the lease says)."""

    message = "{id} is being worked on by {holder}"
    hint = "wait for it to end, or stop that process; a dead holder's lease frees itself"


class Pinned(Conflict):
    """Data: ``kind``, ``id``, ``pin``."""

    message = "{kind} {id} is pinned ({pin})"
    hint = "layerlog unpin {id} lets it go"


class StaleVersion(Conflict):
    """The plan was made on an older state. Data: ``expected``, ``found``, ``what``."""

    message = "{what} has changed since commit {expected} (commit {found})"
    hint = "look again and plan anew"


class RetryMismatch(Conflict):
    """One client key, two different changes. Data: ``key``, ``sequence``."""

    message = "client key {key!r} already stands for another change (commit {sequence})"


# --- the request itself is wrong -------------------------------------------------------------------


class InvalidRequest(StoreError):
    """The caller's mistake; nothing was changed."""


class InvalidID(InvalidRequest):
    """Data: ``asked`` (shortened), ``why``."""

    message = "invalid ID {asked}: {why}"


class InvalidName(InvalidRequest):
    """Data: ``asked`` (shortened), ``why``."""

    message = "invalid name {asked}: {why}"


class InvalidBigDataName(InvalidRequest):
    """Data: ``kind``."""

    message = "can't set empty name for {kind} big data item: not a valid name for a big data item"


class InvalidDigest(InvalidRequest):
    """Data: ``asked``."""

    message = "invalid checksum digest format"


class InvalidMappings(InvalidRequest):
    """ID maps that overlap, overflow or do not parse."""


class InvalidWhen(InvalidRequest):
    """Not a sequence, time or age. Data: ``asked``."""

    message = "cannot read {asked!r} as a point in time"
    hint = "give a commit number (4711), a time (2026-11-01T12:00), an age (2h, 3d) or yesterday"


class IncompleteOptions(InvalidRequest):
    """A store option is missing or contradicts another."""

    message = "no storage runroot or graphroot specified: missing necessary StoreOptions"


class InvalidImage(InvalidRequest):
    """An image archive or layout that does not hold together. Data: ``where``, ``why``."""

    message = "{where}: {why}"


class DigestMismatch(InvalidImage):
    """Content is not what its digest says. Data: ``where``, ``expected``, ``found``."""

    message = "{where}: content has digest {found}, expected {expected}"


class InvalidArchive(InvalidRequest):
    """A tar stream that cannot or must not be unpacked. Data: ``why``, ``offset`` (bytes, uncompressed)."""

    message = "{why} (at byte {offset} of the archive)"


class ArchiveEscape(InvalidArchive):
    """A member that would leave the layer. Data: ``name``, ``why``, ``offset``."""

    message = "refusing {name!r}: {why} (at byte {offset} of the archive)"


class ArchiveLimit(InvalidArchive):
    """A limit against bombs was passed. Data: ``limit``, ``allowed``, ``offset``."""

    message = "archive exceeds {limit} = {allowed} (at byte {offset} of the archive)"


# --- the store cannot do this -----------------------------------------------------------------------


class ReadOnlyStore(StoreError):
    """A write was asked of a store, layer or image that is read-only."""

    message = "called a write method on a read-only store"


class NotSupported(StoreError):
    """This driver, kernel or installation cannot do it; the message says what would."""


class ForeignStore(StoreError):
    """A root that something else made; nothing in it was touched. Data: ``root``, ``found``."""

    message = "{root} was not made by layerlog (it holds {found}); nothing was touched"
    hint = "give another --graph directory"


class JournalMissing(StoreError):
    """Layers without the journal that describes them. Data: ``root``, ``found``."""

    message = "{found} holds layers but the journal of {root} is missing; nothing was touched"
    hint = "layerlog rebuild adopts what the driver holds; an export comes back by layerlog journal import FILE"


class StoreClosed(StoreError):
    """Used after close, or in a forked child."""

    message = "this Store is closed (or was inherited by a forked process); open a new one"


# --- the journal -----------------------------------------------------------------------------------


class JournalError(StoreError):
    """The journal could not be read or written as asked."""


class CorruptRecord(JournalError):
    """Bytes that are not what was written. Data: ``segment``, ``offset``, ``expected``, ``found``."""

    message = "{segment}: damaged record at offset {offset}: expected {expected}, found {found}"
    hint = "layerlog journal verify lists all damage; layerlog journal salvage keeps everything else"


class SequenceGap(JournalError):
    """A commit is missing between two whole ones. Data: ``expected``, ``found``."""

    message = "journal goes from commit {expected} to {found}"
    hint = "layerlog journal verify lists what is missing; layerlog journal salvage keeps the rest"


class UnknownFormat(JournalError):
    """Written by a newer layerlog. Data: ``what``, ``found``, ``known``."""

    message = "{what} has version {found}; this layerlog knows up to {known}"
    hint = "use a newer layerlog; nothing was touched"


class OutcomeUnknown(JournalError):
    """The bytes were handed over but the disk did not confirm them. Data: ``sequence``, ``cause``."""

    message = "commit {sequence}: the disk did not confirm the write ({cause}); whether it happened is unknown"
    hint = "repeat with the same client key: it happens once at most"


class RecordTooLarge(JournalError):
    """One commit over the limit of FORMAT.md. Data: ``size``, ``allowed``."""

    message = "one change of {size} bytes exceeds the limit of {allowed}"


class NoSpace(JournalError):
    """The disk is full and this change adds; deletes use the reserve. Data: ``needed``."""

    message = "no space left for {needed} bytes of journal"
    hint = "delete something first: deletes always work"


# --- the file system ---------------------------------------------------------------------------------


class DiskError(StoreError, OSError):
    """The disk refused something the store needs for itself; ``errno`` as from the system. Data: ``what``, ``cause``."""

    message = "{what}: {cause}"
    hint = "layerlog doctor looks at the disk; nothing that was acknowledged is lost"

    def __init__(self, detail: str = "", **data: object) -> None:
        super().__init__(detail, **data)
        cause = data.get("cause")
        if isinstance(cause, OSError):
            self.errno, self.strerror, self.filename = cause.errno, cause.strerror, cause.filename

    def __str__(self) -> str:
        return self._sentence()


class DriverError(StoreError):
    """A side effect failed; raised ``from`` the OSError. Data: ``driver``, ``operation``, ``layer_id``, ``cause``."""

    message = "{driver}: {operation} of layer {layer_id}: {cause}"


class ContentsDamaged(DriverError):
    """A layer's files are not what its record says. Data: ``layer_id``, ``path``, ``why``."""

    message = "layer {layer_id}: {path}: {why}"
    hint = "layerlog repair --from PATH fetches it again; layerlog check names every damaged layer"
