"""What did an overlay layer change, told by its upper folder alone?

Whatever lies in the upper folder was written: that is exact where a comparison of times and sizes is not, and it
costs as much as the change is big, not as much as the tree is.
"""

from __future__ import annotations

import os

from layerlog.drivers import whiteouts
from layerlog.drivers.changes import ADD, DELETE, MODIFY, Change, differs, open_xattrs, same_time
from layerlog.drivers.trees import Below, Node, OpenFolders, OpenLayers, View, is_opaque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def written(view: View, look: bool = True) -> Iterator[Change]:
    """Changes of the nearest layer of *view* against all below it, a folder directly before what is in it, names in order.

    A folder in which nothing changed is listed when its own mode, owner, time or xattrs did, as the original lists it.

    Without *look* only what is needed to tell the kinds of changes is looked at: the ``node`` of files, and of all in folders that
    are new as a whole, is None.
    """
    lower = View(view.roots[1:], overlay=True) if len(view.roots) > 1 else None
    found: list[Change] = []
    new: list[Change] = []
    folders: dict[bytes, Node] = {}
    # (path, what is there below, whether what is below is hidden from it)
    todo: list[tuple[bytes, Node | None, bool]] = [(b"", lower.root() if lower is not None else None, False)]
    with OpenFolders(view) as opened, OpenLayers(lower or View([], overlay=True)) as opened_below:
        while todo:
            path, known, hidden = todo.pop()
            was = known if known is not None and known.is_folder else None
            upper_fd = opened.get(path)
            with Below(lower, path, was, opened_below) as below:
                if path:
                    now = folders[b"/" + path] = Node(os.fstat(upper_fd), [0])
                    if was is None or _folder_differs(was, below.descriptor(was.layers[0]), now, upper_fd):
                        found.append(Change(ADD if known is None else MODIFY, b"/" + path, now))
                    hidden = hidden or (was is not None and is_opaque(upper_fd))
                if was is None and not look:
                    _new_tree(opened, path, new)
                else:
                    todo += _one_folder(upper_fd, path, below, hidden, look, found)
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


def _new_tree(opened: OpenFolders, top: bytes, new: list[Change]) -> None:
    """List what is in a folder that nothing below has."""
    todo = [top]
    while todo:
        path = todo.pop()
        prefix = path + b"/" if path else b""
        with os.scandir(opened.get(path)) as entries:
            for entry in entries:
                inner = prefix + entry.name.encode("utf-8", "surrogateescape")
                if entry.is_dir(follow_symlinks=False):
                    todo.append(inner)
                elif not entry.is_file(follow_symlinks=False) and whiteouts.is_overlay_whiteout(entry.stat(follow_symlinks=False)):
                    continue
                new.append(Change(ADD, b"/" + inner))


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


def _one_folder(
    upper_fd: int, path: bytes, below: Below, hidden: bool, look: bool, found: list[Change]
) -> list[tuple[bytes, Node | None, bool]]:
    """Add the changes of all but folders to *found*; the folders, each with what is there below and whether that is hidden from it."""
    prefix = path + b"/" if path else b""
    folders: list[tuple[bytes, Node | None, bool]] = []
    seen: set[bytes] = set()
    with os.scandir(upper_fd) as entries:
        for entry in entries:
            name = entry.name.encode("utf-8", "surrogateescape")
            known = below.find(name)
            if entry.is_dir(follow_symlinks=False):
                folders.append((prefix + name, known, hidden))
            elif look or not entry.is_file(follow_symlinks=False):
                now = entry.stat(follow_symlinks=False)
                if whiteouts.is_overlay_whiteout(now):
                    if known is not None and not hidden:
                        found.append(Change(DELETE, b"/" + prefix + name))
                    continue
                found.append(Change(ADD if known is None else MODIFY, b"/" + prefix + name, Node(now, [0])))
            else:
                found.append(Change(ADD if known is None else MODIFY, b"/" + prefix + name))
            seen.add(name)
    if hidden:
        found.extend(Change(DELETE, b"/" + prefix + name) for name in below.names() if name not in seen)
    return folders


def _folder_differs(was: Node, was_fd: int, now: Node, now_fd: int) -> bool:
    if differs(was.found, now.found) or not same_time(was.found.st_mtime_ns, now.found.st_mtime_ns):
        return True
    return open_xattrs(was_fd) != open_xattrs(now_fd)
