"""What differs between two trees, told without looking at contents?

As the original's naive diff (contract/semantics.md §3): mode, owner, device, modification time (whole seconds
where either side has no finer ones), size, symlink target and xattrs. Of folders neither size nor time
count, but a folder with a change inside is itself listed.
"""

from __future__ import annotations

import errno
import operator
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.drivers.idmaps import IDMaps
    from layerlog.drivers.trees import Node, View

MODIFY, ADD, DELETE = 0, 1, 2
_SECOND = 1_000_000_000


class Change:
    """``path`` begins with a slash; ``kind`` is MODIFY, ADD or DELETE (the original's numbers).

    ``node`` is what is there now, for those who go on to read it; None for a deletion, and for what was listed
    without being looked at.
    """

    __slots__ = ("kind", "node", "path")

    def __init__(self, kind: int, path: bytes, node: Node | None = None) -> None:
        self.kind, self.path, self.node = kind, path, node

    def __repr__(self) -> str:
        return f"Change({'CAD'[self.kind]} {self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Change) and (self.kind, self.path) == (other.kind, other.path)

    def __hash__(self) -> int:
        return hash((self.kind, self.path))


def compare(old: View | None, new: View) -> Iterator[Change]:
    """Changes that lead from *old* (None: an empty tree) to *new*, sorted by path."""
    found: list[Change] = []
    folders: dict[bytes, Node] = {}
    todo: list[tuple[bytes, Node | None, Node]] = [(b"", old.root() if old is not None else None, new.root())]
    while todo:
        path, was, now = todo.pop()
        before = old.entries(path, was) if old is not None and was is not None else {}
        prefix = path + b"/" if path else b""
        for name, node in new.entries(path, now).items():
            known = before.pop(name, None)
            kind = _difference(old, new, path, name, known, node)
            if kind is not None:
                found.append(Change(kind, b"/" + prefix + name, node))
            if node.is_folder:
                folders[b"/" + prefix + name] = node
                known = known if known is not None and known.is_folder else None
                if known is None or not _same_folders(old, known, new, node):
                    todo.append((prefix + name, known, node))
        found.extend(Change(DELETE, b"/" + prefix + name) for name in before)
    return iter(with_parents(found, folders))


def with_parents(found: list[Change], folders: dict[bytes, Node]) -> list[Change]:
    """Sorted by path, and with every folder in which something changed."""
    paths = {change.path for change in found if change.path in folders}
    for change in list(found):
        parent = change.path.rpartition(b"/")[0]
        while parent and parent not in paths:
            paths.add(parent)
            found.append(Change(MODIFY, parent, folders[parent]))
            parent = parent.rpartition(b"/")[0]
    found.sort(key=operator.attrgetter("path"))
    return found


def _same_folders(old: View | None, was: Node, new: View, now: Node) -> bool:
    """The same folders of the same layers make up both: nothing below can differ."""
    if old is None or (was.found.st_dev, was.found.st_ino) != (now.found.st_dev, now.found.st_ino):
        return False
    return [old.roots[layer] for layer in was.layers] == [new.roots[layer] for layer in now.layers]


def _difference(old: View | None, new: View, path: bytes, name: bytes, was: Node | None, now: Node) -> int | None:
    if was is None or old is None:
        return ADD
    if (was.found.st_ino, was.found.st_dev) == (now.found.st_ino, now.found.st_dev):
        return None
    if differs(was.found, now.found, old.maps, new.maps):
        return MODIFY
    old_fd = old.open(was.layers[0], path)
    try:
        new_fd = new.open(now.layers[0], path)
        try:
            if stat.S_ISLNK(now.found.st_mode) and os.readlink(name, dir_fd=old_fd) != os.readlink(name, dir_fd=new_fd):
                return MODIFY
            return MODIFY if xattrs(old_fd, name) != xattrs(new_fd, name) else None
        finally:
            os.close(new_fd)
    finally:
        os.close(old_fd)


def differs(was: os.stat_result, now: os.stat_result, was_maps: IDMaps | None = None, now_maps: IDMaps | None = None) -> bool:
    """What lstat shows of a change; owners are compared as they are inside, where there are maps."""
    if was.st_mode != now.st_mode:
        return True
    if was_maps or now_maps:
        if _inside(was, was_maps) != _inside(now, now_maps):
            return True
    elif was.st_uid != now.st_uid or was.st_gid != now.st_gid:
        return True
    if stat.S_ISDIR(now.st_mode):
        return False
    return was.st_rdev != now.st_rdev or was.st_size != now.st_size or not same_time(was.st_mtime_ns, now.st_mtime_ns)


def _inside(found: os.stat_result, maps: IDMaps | None) -> tuple[int, int]:
    """An owner as the layer's own programs see it; one that no map covers is told from all that are by its sign."""
    if not maps:
        return found.st_uid, found.st_gid
    if not maps.covers_host(found.st_uid, found.st_gid):
        return -1 - found.st_uid, -1 - found.st_gid
    return maps.container(found.st_uid, found.st_gid)


def same_time(was: int, now: int) -> bool:
    """Whether two times in nanoseconds are equal, as far as both have them."""
    if was == now:
        return True
    return was // _SECOND == now // _SECOND and (was % _SECOND == 0 or now % _SECOND == 0)


def xattrs(folder: int, name: bytes) -> dict[str, bytes]:
    """All xattrs of one path but those that a mount or a security module keeps for itself."""
    return _xattrs(b"/proc/self/fd/%d/%b" % (folder, name), follow=False)


def open_xattrs(fd: int) -> dict[str, bytes]:
    """The same of what is open."""
    return _xattrs(fd, follow=True)


def _xattrs(at: int | bytes, follow: bool) -> dict[str, bytes]:
    try:
        keys = os.listxattr(at, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return {}
        raise
    found = {}
    for key in keys:
        if key.startswith(("trusted.overlay.", "user.overlay.")) or key == "security.selinux":
            continue
        try:
            found[key] = os.getxattr(at, key, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EPERM, errno.EACCES):
                raise
    return found
