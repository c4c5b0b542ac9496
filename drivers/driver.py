"""The contract every driver fulfils: side effects on one file system, and nothing else.

A driver keeps no records and decides nothing. It is told layer IDs that were checked before
(``eventstore.ids.check_id``) and the *chain* of a layer: its ancestors, nearest first, as the
journal knows them. The order in which its effects and the commits happen is the caller's
(DESIGN §2, law 2); the driver only promises what each call does and what is durable after it.

Life of contents::

    stage -> (fill the folder) -> sync -> place        a new layer
    stage -> (fill the folder) -> sync -> swap         the next generation of an existing layer
    put_aside -> bring_back | free                     delete, then undo or forget

Every call may be repeated: recovery does so after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO, Protocol, TypeAlias

    from layerlog.drivers.applying import Applied, Limits
    from layerlog.drivers.changes import Change
    from layerlog.drivers.idmaps import IDMaps, Remap

    Names: TypeAlias = list[str]
    Maps: TypeAlias = tuple[IDMaps | None, IDMaps | None]
    Lines: TypeAlias = list[tuple[str, str]]
else:
    Protocol = object


class IDMap:
    """``size`` IDs from ``container`` on are ``host`` and following on the host."""

    __slots__ = ("container", "host", "size")

    def __init__(self, container: int, host: int, size: int) -> None:
        self.container, self.host, self.size = container, host, size


class MountOptions:
    """How to mount: ``read_only``; SELinux ``label``; extra ``options``; ID maps to show it under (``can_shift``); ``volatile``."""

    __slots__ = ("gid_maps", "label", "options", "read_only", "uid_maps", "volatile")

    def __init__(
        self,
        read_only: bool = False,
        label: str = "",
        options: Sequence[str] = (),
        uid_maps: Sequence[IDMap] = (),
        gid_maps: Sequence[IDMap] = (),
        volatile: bool = False,
    ) -> None:
        self.read_only, self.label, self.options = read_only, label, tuple(options)
        self.uid_maps, self.gid_maps, self.volatile = tuple(uid_maps), tuple(gid_maps), volatile


class Driver(Protocol):
    """Effects on layers below ``home`` (``ROOT/overlay``, ``ROOT/vfs`` ...).

    ``home`` also holds ``staging/`` and ``trash/``, so that every move is one rename.
    All failures are DriverError (from the OSError), unless a more precise error is named.
    """

    name: str
    home: str
    stands_alone: bool
    """A layer's folder is its whole tree, readable without any other layer (vfs)."""
    shifting_allowed: bool
    """Whether ``can_shift`` may say yes."""

    def setup(self) -> None:
        """Make the folders of an empty home (0700). Refuses nothing: the guard ran before."""

    def status(self) -> Lines:
        """What ``status`` prints beside the store's own lines, e.g. the backing file system."""

    # --- what is on disk

    def list(self) -> Names:
        """IDs of all layers in place, sorted by name."""

    def exists(self, layer_id: str) -> bool:
        """Whether it is in place in this home."""

    def lend(self, roots: Sequence[str]) -> None:
        """Other stores, of the same driver, whose layers may be parents here and are read; nothing is written in them."""

    def found(self, layer_id: str) -> bool:
        """Whether it is in place, here or in a store that lends."""

    def path(self, layer_id: str) -> str:
        """Folder that is the layer's own when it is in place: what ``put_aside`` would move."""

    def chain_on_disk(self, layer_id: str) -> Names | None:
        """Ancestors as the driver's own files name them, nearest first, for a rescue; None where nothing tells."""

    def derive(self, layer_id: str, chain: Sequence[str]) -> Names:
        """Make what is derived of a layer in place (overlay: ``link``, ``lower``, its short name) as it should be; what was wrong."""

    def underived(self, layer_id: str, chain: Sequence[str]) -> Names:
        """The names of what ``derive`` would make anew; changes nothing."""

    # --- contents: staged, made durable, placed

    def create(self, layer_id: str, chain: Sequence[str]) -> None:
        """Make the derived folders of a layer without contents; does nothing when they are there.

        vfs: a copy of the parent. Costs no fsync (DESIGN §2: an empty layer is derived).
        """

    def stage(self, layer_id: str, chain: Sequence[str], base: str | None = None) -> Staged:
        """Open ``staging/<id>`` for new contents on top of *chain*; what was there is removed first.

        *base*: an existing layer (usually *layer_id* itself) whose own contents are copied in first (reflinks where
        possible), for the next generation of that layer.
        """

    def place(self, layer_id: str) -> None:
        """Rename ``staging/<id>`` to its final place and fsync the folders involved. Durable on return.

        A final place that holds derived folders only, or is absent, is replaced. Staged contents
        must have been synced before.
        """

    def swap(self, layer_id: str) -> None:
        """Replace the contents in place by those in ``staging/<id>`` and drop the old ones. Repeatable: nothing staged, nothing done."""

    def staged(self) -> Names:
        """IDs that have something in ``staging/``."""

    def sync_layer(self, layer_id: str) -> None:
        """Make the folders of a layer in place durable, with all they hold: before it is claimed that they are there."""

    def superseded(self) -> Names:
        """IDs whose generation before is still there after a ``swap`` that was cut short; ``swap`` again drops it."""

    def swap_back(self, layer_id: str) -> None:
        """Put the generation before back into its place, where nothing is now. Durable, repeatable."""

    def discard(self, layer_id: str) -> None:
        """Remove ``staging/<id>``, if there."""

    def remove(self, layer_id: str) -> None:
        """Remove the layer in place at once (unmounting it first), if there."""

    # --- trash

    def put_aside(self, layer_id: str, entry: str) -> bool:
        """Rename the layer to ``trash/<entry>``; True when its place is free now (or was).

        False where a full disk or a mount in between refuses the rename: the layer stays in its place, unmounted.
        """

    def bring_back(self, entry: str, layer_id: str) -> None:
        """Rename ``trash/<entry>`` to the layer's place and fsync both folders. Durable on return."""

    def in_trash(self, entry: str) -> bool: ...

    def trash(self) -> Names:
        """All entries in ``trash/``, sorted."""

    def free(self, entry: str) -> None:
        """Remove ``trash/<entry>`` for good, if there."""

    def sync_places(self) -> None:
        """Make all renames of layers and trash entries so far durable."""

    def sync_home(self) -> None:
        """Make the names of the home and of the folders in it durable: whoever made them may have died before."""

    def tidy(self) -> None:
        """Remove what was derived from layers that are gone (overlay: short names), after a boot."""

    def lose(self, layer_id: str) -> str:
        """Move a layer that nobody claims to ``lost+found/``; where it lies now. Nothing is removed."""

    def lose_other(self, *parts: str) -> str:
        """The same for anything else in the home: ``lose_other("trash", entry)``, ``lose_other("staging", name)``."""

    # --- mounts

    def mount(self, layer_id: str, chain: Sequence[str], options: MountOptions) -> str:
        """Mount and return the absolute mount point; does nothing more when the kernel shows it mounted."""

    def unmount(self, layer_id: str) -> bool:
        """True when a file system really went away."""

    def mounted(self, layer_id: str) -> bool:
        """What the kernel says (vfs: False always, its folder needs no mount)."""

    def can_shift(self) -> bool:
        """Whether a mount can show layers under other ID maps than they are stored with. Asked once, by doing it."""

    # --- diffs

    def changes(
        self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None
    ) -> Iterator[Change]:
        """Paths that differ from the parent (or from the layer ``against[0]`` with chain ``against[1:]``), sorted.

        *maps*: the layer's ID maps and those of what it is compared with, where either has any.
        Their ``node`` may be missing: it is for the driver's own diffs.
        """

    def diff(
        self,
        layer_id: str,
        chain: Sequence[str],
        against: Sequence[str] | None = None,
        uid_maps: Sequence[IDMap] = (),
        gid_maps: Sequence[IDMap] = (),
        maps: Maps | None = None,
    ) -> Iterator[bytes]:
        """The same as an uncompressed tar made by us: deterministic, sorted, ``.wh.`` whiteouts."""

    def diff_size(self, layer_id: str, chain: Sequence[str], against: Sequence[str] | None = None, maps: Maps | None = None) -> int:
        """Bytes of regular files in the diff; hard links once, folders 0."""

    def open_file(self, layer_id: str, path: bytes) -> IO[bytes]:
        """One regular file of the layer's own contents, never following a symlink out of the layer.

        What tar-split needs to re-assemble the original tar.
        """

    def own_tree(self, layer_id: str) -> str:
        """The folder that holds the layer's own contents, as ``open_file`` reads them."""


class Staged(Protocol):
    """Contents on their way in. Nobody sees them before ``place`` or ``swap`` and a commit.

    ``root`` is the folder to fill (for overlay the ``diff`` folder, for vfs the whole tree).
    """

    layer_id: str
    root: str
    maps: IDMaps | None
    """Whose the owners in an archive are; set by ``shift``, or by the caller where what is staged has them already."""

    def shift(self, remap: Remap, based: bool = False) -> None:
        """Give what is staged, and what is below it, to other owners, before anything is applied; what is then applied
        belongs to them, too. *based*: it was staged with a *base*, whose owners were those of the old maps as well.
        Raises UnmappedID.
        """

    def apply(
        self,
        stream: IO[bytes],
        limits: Limits | None = None,
        tar_split: IO[bytes] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Applied:
        """Unpack one tar (any compression, told by content) into ``root`` in one pass.

        *progress* is called with the number of bytes just read from *stream*. *tar_split* should be open for
        reading as well: an archive that names a file twice needs its record rewritten at the end.

        Returns both digests and sizes, owners and the compression. With *tar_split*, the record that
        gives the same tar back is written there (gzip of JSON lines, the original's format).
        Raises InvalidArchive, ArchiveEscape, ArchiveLimit; what was unpacked so far stays in staging.
        """

    def sync(self) -> None:
        """Make everything below ``staging/<id>`` durable: one syncfs, or an fsync of each file and folder
        where syncfs cannot be trusted. Raises DriverError when any write-back failed since ``stage``."""

    def changed_outside(self) -> None:
        """Say that ``root`` was filled by other means than ``apply``: ``sync`` then takes nothing for granted."""

    def close(self) -> None:
        """Give up the descriptor that ``sync`` uses; happens by itself when the object goes away."""
