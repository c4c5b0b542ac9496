"""What does a tree hold, be it one folder or several layers seen as one?

A ``View`` of several layers shows what an overlay mount of them would, without a mount: nearer layers win,
whiteouts hide, opaque folders end the search. So diffs of overlay layers need neither root nor a
mount, and vfs (a view of one plain folder) shares all of the code.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import whiteouts
from layerlog.drivers.copytree import open_folder
from layerlog.drivers.resolve import open_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerlog.drivers.idmaps import IDMaps


_OPAQUE = frozenset((whiteouts.opaque_xattr(False), whiteouts.opaque_xattr(True)))


class Node:
    """One path: its lstat in the nearest layer that has it, and for a folder the layers that contribute to it."""

    __slots__ = ("found", "layers")

    def __init__(self, found: os.stat_result, layers: list[int]) -> None:
        self.found, self.layers = found, layers

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)


class View:
    """*roots*: folders, nearest first; *overlay*: whiteouts and opaque marks mean something. *maps*: whom its owners stand for."""

    def __init__(self, roots: Sequence[str], overlay: bool, maps: IDMaps | None = None) -> None:
        self.roots, self.overlay, self.maps = list(roots), overlay, maps

    def root(self) -> Node:
        """All layers make up the root: a mount does not ask whether that of one is opaque."""
        return Node(os.stat(self.roots[0]), list(range(len(self.roots))))

    def entries(self, path: bytes, node: Node) -> dict[bytes, Node]:
        """What the folder *node* at *path* holds, by name."""
        merged: dict[bytes, Node] = {}
        closed: set[bytes] = set()  # names that a nearer layer has answered for good
        for layer in node.layers:
            fd = self.open(layer, path)
            try:
                with os.scandir(fd) as listing:
                    for entry in listing:
                        name = os.fsencode(entry.name)
                        if name not in closed:
                            self._merge(merged, closed, name, layer, entry.stat(follow_symlinks=False))
            finally:
                os.close(fd)
        prefix = path + b"/" if path else b""
        for name, inner in merged.items():
            if len(inner.layers) > 1:
                inner.layers = self.until_opaque(prefix + name, inner.layers)
        return merged

    def find(self, path: bytes) -> Node | None:
        """What the view shows at *path*; None for nothing, or for a path through something that is no folder."""
        node: Node | None = self.root()
        at = b""
        for part in path.split(b"/") if path else ():
            if node is None or not node.is_folder:
                return None
            with Below(self, at, node) as folder:
                node = folder.find(part)
            at = at + b"/" + part if at else part
        return node

    def _merge(self, merged: dict[bytes, Node], closed: set[bytes], name: bytes, layer: int, found: os.stat_result) -> None:
        known = merged.get(name)
        if self.overlay and whiteouts.is_overlay_whiteout(found):
            closed.add(name)
        elif not stat.S_ISDIR(found.st_mode):
            closed.add(name)
            if known is None:
                merged[name] = Node(found, [layer])
        elif known is None:
            merged[name] = Node(found, [layer])
        else:
            known.layers.append(layer)

    def until_opaque(self, path: bytes, layers: list[int]) -> list[int]:
        """Those of *layers* that the folder *path* shows: up to the first that is opaque."""
        if self.overlay and len(layers) > 1:
            for place, layer in enumerate(layers[:-1]):
                fd = self.open(layer, path)
                try:
                    if is_opaque(fd):
                        return layers[: place + 1]
                finally:
                    os.close(fd)
        return layers

    def open(self, layer: int, path: bytes) -> int:
        """A descriptor of the folder *path* in one layer; no component may be a symlink. Raises OSError."""
        parent, _, base = path.rpartition(b"/")
        fd = open_below(self.roots[layer], parent)
        if not base:
            return fd
        try:
            return open_folder(fd, base)
        finally:
            os.close(fd)


class OpenFolders:
    """Folders of one layer of a view, opened from their parents while these are still open; a walk in depth finds them so."""

    def __init__(self, view: View, layer: int = 0, kept: int = 64) -> None:
        self._view, self._layer, self._kept = view, layer, kept
        self._open: dict[bytes, int] = {}

    def __enter__(self) -> OpenFolders:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            os.close(fd)

    def get(self, path: bytes) -> int:
        """A descriptor of the folder *path*, valid until the next call. Raises OSError."""
        fd = self._open.get(path)
        if fd is not None:
            return fd
        parent, _, base = path.rpartition(b"/")
        if not base:
            return self._keep(path, self._view.open(self._layer, path))
        above = self._open.pop(parent, None)
        if above is None:
            above = self._view.open(self._layer, parent)
        self._keep(parent, above)  # among the last to be closed: more of its folders are to come
        return self._keep(path, open_folder(above, base))

    def _keep(self, path: bytes, fd: int) -> int:
        if len(self._open) >= self._kept:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = fd
        return fd


class OpenLayers:
    """The same for all layers of a view, where they are not too many to keep folders of each open."""

    _DESCRIPTORS = 256

    def __init__(self, view: View) -> None:
        kept = self._DESCRIPTORS // max(len(view.roots), 1)
        self._layers = [OpenFolders(view, layer, kept) for layer in range(len(view.roots))] if kept >= 8 else []

    def __enter__(self) -> OpenLayers:
        return self

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            layer.__exit__()

    def get(self, layer: int, path: bytes) -> int | None:
        """As OpenFolders.get; None where none are kept."""
        return self._layers[layer].get(path) if self._layers else None


class Below:
    """One folder as all lower layers show it, looked up by name. *opened*: folders of *view* that somebody keeps open."""

    def __init__(self, view: View | None, path: bytes, node: Node | None, opened: OpenLayers | None = None) -> None:
        self._view, self._path, self._node, self._opened = view, path, node, opened
        self._open: dict[int, int] = {}  # ours to close
        self._known: dict[int, int] = {}

    def __enter__(self) -> Below:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            os.close(fd)

    def descriptor(self, layer: int) -> int:
        """The folder in one of the layers that have it; valid while *opened* is asked for no other."""
        fd = self._known.get(layer)
        if fd is None:
            fd = self._opened.get(layer, self._path) if self._opened is not None else None
            if fd is None:
                assert self._view is not None
                fd = self._open[layer] = self._view.open(layer, self._path)
            self._known[layer] = fd
        return fd

    def find(self, name: bytes) -> Node | None:
        """What the layers show by that name."""
        if self._view is None or self._node is None:
            return None
        node: Node | None = None
        for layer in self._node.layers:
            try:
                found = os.stat(name, dir_fd=self.descriptor(layer), follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(found.st_mode):
                if whiteouts.is_overlay_whiteout(found):
                    break
                return node or Node(found, [layer])
            if node is None:
                node = Node(found, [layer])
            else:
                node.layers.append(layer)
        if node is not None and len(node.layers) > 1:
            node.layers = self._view.until_opaque(self._path + b"/" + name if self._path else name, node.layers)
        return node

    def names(self) -> list[bytes]:
        if self._view is None or self._node is None:
            return []
        return list(self._view.entries(self._path, self._node))


class Locator:
    """Opens the folders that changed paths lie in; keeps the last one, since changes come sorted."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._fd = -1
        self._at: tuple[int, bytes] | None = None

    def folder(self, node: Node, parent: bytes) -> int:
        """A descriptor, valid until the next call, of the folder *parent* in the layer that *node* was found in."""
        place = (node.layers[0], parent)
        if place != self._at:
            self.close()
            self._fd = self._view.open(*place)
            self._at = place
        return self._fd

    def close(self) -> None:
        fd, self._fd, self._at = self._fd, -1, None
        if fd >= 0:
            os.close(fd)


def is_opaque(fd: int) -> bool:
    """Whether an open folder hides what lower layers hold in it, by either of overlay's xattrs."""
    try:  # whoever may not read them does not see their names either (xattr(7))
        return any(name in _OPAQUE and os.getxattr(fd, name) == b"y" for name in os.listxattr(fd))
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return False
