"""What did an overlay layer change, told by its upper folder alone?

Whatever lies in the upper folder was written: that is exact where a comparison of times and sizes is not, and it
costs as much as the change is big, not as much as the tree is.
"""

from __future__ import annotations

import os
import stat

from layerlog.drivers import whiteouts
from layerlog.drivers.changes import ADD, DELETE, MODIFY, Change, differs, same_time, xattrs
from layerlog.drivers.trees import Below, Node, OpenFolders, OpenLayers, View, is_opaque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def written(view: View, look: bool = True) -> Iterator[Change]:
    """Changes of the nearest layer of *view* against all below it, a folder directly before what is in it, names in order.

    A folder in which nothing changed is listed when its own mode, owner, time or xattrs did, as the original lists it.

    Without *look* the paths of folders that are new as a whole are listed but not looked at: their ``node`` is None.
    """
    lower = View(view.roots[1:], overlay=True) if len(view.roots) > 1 else None
    found: list[Change] = []
    new: list[Change] = []
    folders: dict[bytes, Node] = {}
    # (path, the same folder below or None, whether what is below is hidden from it)
    todo: list[tuple[bytes, Node | None, bool]] = [(b"", lower.root() if lower is not None else None, False)]
    with OpenFolders(view) as opened, OpenLayers(lower or View([], overlay=True)) as opened_below:
        while todo:
            path, was, hidden = todo.pop()
            upper_fd = opened.get(path)
            if was is None and not look:
                todo += [(below, None, False) for below in _new_folder(upper_fd, path, new)]
                continue
            with Below(lower, path, was, opened_below) as below:
                hidden = hidden or (bool(path) and was is not None and is_opaque(upper_fd))
                here = _one_folder(upper_fd, path, below, hidden)
            for change, known, is_new in here:
                if is_new or change.node is None or not change.node.is_folder:
                    found.append(change)
                if change.node is not None and change.node.is_folder:
                    folders[change.path] = change.node
                    inner = known if known is not None and known.is_folder else None
                    todo.append((change.path[1:], inner, hidden))
    return iter(sorted(_with_parents(found, folders) + new, key=_as_walked))


def _as_walked(change: Change) -> bytes:
    return change.path.replace(b"/", b"\0")


def _with_parents(found: list[Change], folders: dict[bytes, Node]) -> list[Change]:
    """The folders above a name that came or went are listed, too, even when nothing about themselves changed."""
    listed = {change.path for change in found if change.path in folders}
    seen = {b""}
    for change in [change for change in found if change.kind != MODIFY]:
        parent = change.path.rpartition(b"/")[0]
        while parent not in seen:
            seen.add(parent)
            if parent not in listed:
                found.append(Change(MODIFY, parent, folders[parent]))
            parent = parent.rpartition(b"/")[0]
    return found


def _new_folder(fd: int, path: bytes, new: list[Change]) -> list[bytes]:
    """List what is in a folder that nothing below has; the paths of the folders in it."""
    prefix = path + b"/" if path else b""
    folders = []
    with os.scandir(fd) as entries:
        for entry in entries:
            inner = prefix + entry.name.encode("utf-8", "surrogateescape")
            if entry.is_dir(follow_symlinks=False):
                folders.append(inner)
            elif not entry.is_file(follow_symlinks=False) and whiteouts.is_overlay_whiteout(entry.stat(follow_symlinks=False)):
                continue
            new.append(Change(ADD, b"/" + inner))
    return folders


def written_bytes(view: View) -> int:
    """Bytes of the files and symlinks that the nearest layer of *view* holds; hard links once."""
    total = 0
    seen: set[int] = set()
    todo = [b""]
    with OpenFolders(view) as opened:
        while todo:
            path = todo.pop()
            prefix = path + b"/" if path else b""
            with os.scandir(opened.get(path)) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        if found.st_nlink == 1 or found.st_ino not in seen:
                            total += found.st_size
                            if found.st_nlink > 1:
                                seen.add(found.st_ino)
                    else:
                        todo.append(prefix + entry.name.encode("utf-8", "surrogateescape"))
    return total


def _one_folder(upper_fd: int, path: bytes, below: Below, hidden: bool) -> list[tuple[Change, Node | None, bool]]:
    """(change, what is below, whether it is one) for each entry; of folders also those that only hold changes."""
    prefix = b"/" + path + b"/" if path else b"/"
    found: list[tuple[Change, Node | None, bool]] = []
    seen: set[bytes] = set()
    with os.scandir(upper_fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            now = entry.stat(follow_symlinks=False)
            known = below.find(name)
            if whiteouts.is_overlay_whiteout(now):
                if known is not None and not hidden:
                    found.append((Change(DELETE, prefix + name), None, True))
                continue
            seen.add(name)
            kind = ADD if known is None else MODIFY
            changed = known is None or not stat.S_ISDIR(now.st_mode) or _folder_differs(upper_fd, below, name, known, now)
            found.append((Change(kind, prefix + name, Node(now, [0])), known, changed))
    if hidden:
        found.extend((Change(DELETE, prefix + name), None, True) for name in below.names() if name not in seen)
    return found


def _folder_differs(upper_fd: int, below: Below, name: bytes, known: Node, now: os.stat_result) -> bool:
    if differs(known.found, now) or not same_time(known.found.st_mtime_ns, now.st_mtime_ns):
        return True
    return xattrs(upper_fd, name) != xattrs(below.descriptor(known.layers[0]), name)
