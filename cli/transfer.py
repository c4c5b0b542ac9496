"""The copying itself: one tree or file to one place, by folder descriptors, so that no symlink leads out of a layer."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from layerlog.drivers.resolve import descend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.cli.copying import Place
    from layerlog.eventstore.events import MapEntry

CHUNK_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
Found = tuple[int, bytes]
"""Descriptor of a folder and a name in it."""


class Transfer:
    """One source to one target. *owner* is that of all copies, else the source's through its maps; then through the target's maps."""

    def __init__(self, source: Place, target: Place, owner: tuple[int, int] | None) -> None:
        self.source, self.target, self.owner = source, target, owner
        self._links: dict[tuple[int, int], tuple[int, bytes, bytes]] = {}
        self._folders: list[int] = []

    def run(self) -> None:
        """Copy. Raises OSError, and ValueError for what the original refuses."""
        try:
            self._run()
        finally:
            for fd in self._folders:
                os.close(fd)

    def _run(self) -> None:
        with _parent(self.source.path, self.source.root) as (folder, name):
            found = _stat(folder, name, self.source.path)
            if stat.S_ISDIR(found.st_mode):
                from_fd = os.open(name, _FOLDER, dir_fd=folder)
                self._folders.append(from_fd)
                if _within(os.path.realpath(self.target.shown), os.readlink(f"/proc/self/fd/{from_fd}")):
                    raise ValueError("cannot copy a directory into itself")
                self._tree(from_fd, self._made(self.target.path))
                return
            path = self.target.path
            if not self.target.root and path.endswith("/"):
                path = os.path.join(path, os.fsdecode(name))
            into = self._made(os.path.dirname(path) or ".", 0o700)
            base = os.fsencode(os.path.basename(path))
            if base and _is_folder(into, base):
                raise ValueError("cannot overwrite directory")
            self._entry(folder, name, into, base, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def _made(self, path: str, mode: int = 0o755) -> int:
        """A folder of the target, made with its parents where missing."""
        fd = _root(self.target.root, path)
        self._folders.append(fd)
        for part in [part for part in os.fsencode(path).split(b"/") if part not in (b"", b".")]:
            if not _is_folder(fd, part):
                os.mkdir(part, mode, dir_fd=fd)
                os.chmod(part, mode, dir_fd=fd)
                self._own(fd, part, *self._outward(*(self.owner or (0, 0))))
            fd = _step(fd, part, self.target.root)
            self._folders.append(fd)
        return fd

    def _tree(self, from_fd: int, to_fd: int) -> None:
        """The content of one folder into another, without recursion, and with few descriptors whatever the breadth and depth."""
        todo, folders = [b"."], []
        while todo:
            path = todo.pop()
            with _opened(from_fd, path) as source, _opened(to_fd, path) as target:
                for name in sorted(map(os.fsencode, os.listdir(source))):
                    found = os.stat(name, dir_fd=source, follow_symlinks=False)
                    if not stat.S_ISDIR(found.st_mode):
                        self._entry(source, name, target, name, found, (to_fd, path))
                        continue
                    if not _is_folder(target, name):
                        os.mkdir(name, 0o700, dir_fd=target)
                    todo.append(path + b"/" + name)
                    folders.append((path, name, found))
        for path, name, found in reversed(folders):  # from the inside out: what is put into a folder changes its times
            with _opened(from_fd, path) as source, _opened(to_fd, path) as target:
                self._attributes(source, name, target, name, found)

    def _entry(
        self, source: int, name: bytes, target: int, base: bytes, found: os.stat_result, place: tuple[int, bytes] | None = None
    ) -> None:
        """One file, symlink, fifo or device; *place* is where *target* lies in the tree that is being made."""
        if _exists(target, base):
            os.unlink(base, dir_fd=target)
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and key in self._links:
            top, path, first_name = self._links[key]
            with _opened(top, path) as first:
                os.link(first_name, base, src_dir_fd=first, dst_dir_fd=target)
            return
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), base, dir_fd=target)
        elif stat.S_ISREG(found.st_mode):
            _contents(source, name, target, base)
        else:
            os.mknod(base, found.st_mode, found.st_rdev, dir_fd=target)
        self._attributes(source, name, target, base, found)
        if place is not None and found.st_nlink > 1:
            self._links[key] = (*place, base)

    def _attributes(self, source: int, name: bytes, target: int, base: bytes, found: os.stat_result) -> None:
        """Owner first, since it clears set-user-ID; then xattrs, mode, times."""
        self._own(target, base, *self._outward(*(self.owner or self._inward(found.st_uid, found.st_gid))))
        if not stat.S_ISLNK(found.st_mode):
            _xattrs(source, name, target, base)
            os.chmod(base, stat.S_IMODE(found.st_mode), dir_fd=target)
        os.utime(base, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _inward(self, uid: int, gid: int) -> tuple[int, int]:
        """Owner as the source's container sees it."""
        return _mapped(uid, self.source.uid_map, "host_id", "container_id"), _mapped(gid, self.source.gid_map, "host_id", "container_id")

    def _outward(self, uid: int, gid: int) -> tuple[int, int]:
        """Owner on the host of what the target's container sees as *uid*, *gid*."""
        return _mapped(uid, self.target.uid_map, "container_id", "host_id"), _mapped(gid, self.target.gid_map, "container_id", "host_id")

    def _own(self, folder: int, name: bytes, uid: int, gid: int) -> None:
        if os.geteuid() == 0:
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)


def _within(path: str, folder: str) -> bool:
    """Whether *path* is *folder* or lies below it; both without symlinks."""
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _mapped(number: int, entries: list[MapEntry], old: str, new: str) -> int:
    """*number* through a map; without a map it stays. Raises ValueError for an ID outside of it."""
    if not entries:
        return number
    for entry in entries:
        start = int(entry[old])  # type: ignore[literal-required]
        if start <= number < start + entry["size"]:
            return number - start + int(entry[new])  # type: ignore[literal-required]
    raise ValueError(f"ID {number} is not in the layer's map")


def _root(root: str, path: str) -> int:
    """Where a path starts."""
    return os.open(root or ("/" if path.startswith("/") else "."), _FOLDER)


def _step(fd: int, part: bytes, root: str) -> int:
    """Into a folder; inside a layer never through a symlink or upwards."""
    return os.open(part, _FOLDER | (os.O_NOFOLLOW if root else 0), dir_fd=fd)


@contextmanager
def _opened(top: int, path: bytes) -> Iterator[int]:
    """The folder *path* below *top*, reached without following a symlink."""
    fd = descend(top, path)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _parent(path: str, root: str) -> Iterator[Found]:
    """The folder that holds *path*, and the last name; in a layer, symlinks on the way are resolved inside it."""
    if not path:  # the original's words; not the root folder, as one might read it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    raw = os.fsencode(path.rstrip("/") or "/")
    folder, _, name = raw.rpartition(b"/")
    if not root:
        fd = os.open(folder or (b"/" if raw.startswith(b"/") else b"."), _FOLDER)
        try:
            yield fd, name or b"."
        finally:
            os.close(fd)
        return
    from layerlog.drivers.resolve import Folders

    folders = Folders(root)
    try:
        fd = os.open(b".", _FOLDER, dir_fd=folders.get(folder.strip(b"/")))
        yield fd, name or b"."
        os.close(fd)
    finally:
        folders.close()


def _stat(folder: int, name: bytes, path: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        error.filename = path
        raise


def _exists(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_folder(folder: int, name: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _contents(source: int, name: bytes, target: int, base: bytes) -> None:
    """The bytes of a regular file."""
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    with open(reading, "rb", buffering=0) as from_file:
        writing = os.open(base, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
        with open(writing, "wb", buffering=0) as to_file:
            while block := from_file.read(CHUNK_BYTES):
                to_file.write(block)


def _xattrs(source: int, name: bytes, target: int, base: bytes) -> None:
    """Extended attributes of files and folders, as far as this user may set them."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        reading = os.open(name, flags, dir_fd=source)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):
            raise
        return  # a device without driver, a socket, or a file this user may not read
    try:
        names = os.listxattr(reading)
        if not names:
            return
        writing = os.open(base, flags, dir_fd=target)
        try:
            for one in names:
                if one != "security.selinux":
                    os.setxattr(writing, one, os.getxattr(reading, one))
        finally:
            os.close(writing)
    except PermissionError:
        if os.geteuid() == 0:
            raise
    finally:
        os.close(reading)
