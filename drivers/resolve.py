"""Which folder is meant by a path inside a root, when nothing may lead out of that root?

The kernel answers by openat2(2) with RESOLVE_IN_ROOT: ``..`` at the root stays there, absolute symlinks begin
there, and a symlink that is swapped meanwhile changes nothing about it. Where openat2 is missing
(Linux before 5.6, some seccomp filters) the same is done here component by component, never
following a symlink by the kernel.
"""

from __future__ import annotations

import errno
import os

_SYMLINKS_MAX = 40  # as the kernel
_OPEN_MAX = 200
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def clean(name: bytes) -> bytes:
    """*name* relative to the root, without ``.``, ``..`` and doubled slashes; b"" is the root itself.

    Lexical, as the original does it (Go's filepath.Clean): ``a/../b`` is ``b`` even where ``a`` is a symlink.
    """
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        kept: list[bytes] = []
        for part in parts:
            if part != b"..":
                kept.append(part)
            elif kept:
                kept.pop()
        parts = kept
    return b"/".join(parts)


class Folders:
    """Descriptors (O_PATH) of folders below a root, opened once and kept while they are of use."""

    __slots__ = ("_open", "_root", "aliased", "root_fd", "use_openat2")

    def __init__(self, root: str | bytes) -> None:
        self.root_fd = os.open(root, _FOLDER_FLAGS | os.O_NOFOLLOW)
        self._open: dict[bytes, int] = {}
        self._root = _real_path(self.root_fd)
        self.aliased = self._root is None  # whether some path went through a symlink
        self.use_openat2 = True

    def get(self, path: bytes) -> int:
        """The folder *path* (cleaned), through symlinks inside the root. The descriptor stays ours.

        It and the one asked for before it stay open until the next call: those not asked for longest are closed first.
        Raises FileNotFoundError, NotADirectoryError, or OSError with ELOOP.
        """
        if not path:
            return self.root_fd
        fd = self._open.pop(path, None)
        if fd is None:
            fd = self._resolve(path)
            if not self.aliased and self._root is not None:
                self.aliased = _real_path(fd) != self._root + b"/" + path
        self._keep(path, fd)
        return fd

    def enter(self, path: bytes, parent: int) -> int:
        """The folder *path*, known to be a real folder in the open folder *parent*."""
        fd = self._open.pop(path, None)
        if fd is None:
            fd = os.open(path.rpartition(b"/")[2], _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        self._keep(path, fd)
        return fd

    def _keep(self, path: bytes, fd: int) -> None:
        if len(self._open) >= _OPEN_MAX:
            for old in list(self._open)[: _OPEN_MAX // 2]:
                os.close(self._open.pop(old))
        self._open[path] = fd

    def forget(self) -> None:
        """Close all but the root: some path may lead elsewhere now."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def close(self) -> None:
        self.forget()
        os.close(self.root_fd)

    def _resolve(self, path: bytes) -> int:
        if self.use_openat2:
            from layerlog.drivers.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

            try:
                return openat2(self.root_fd, path, _FOLDER_FLAGS, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
            except OSError as error:
                if error.errno in (errno.ENOSYS, errno.EPERM, errno.E2BIG):
                    self.use_openat2 = False
                elif error.errno != errno.ENAMETOOLONG or len(path) < 4000:
                    raise
        return self._walk(path)

    def _walk(self, path: bytes) -> int:
        """*path* component by component; ``trail`` are the open folders from the root to where we are."""
        todo = path.split(b"/")[::-1]
        trail = [os.dup(self.root_fd)]
        links = 0
        try:
            while todo:
                part = todo.pop()
                if not part or part == b".":
                    continue
                if part == b"..":
                    if len(trail) > 1:
                        os.close(trail.pop())
                    continue
                try:
                    trail.append(os.open(part, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=trail[-1]))
                except NotADirectoryError:  # O_PATH|O_DIRECTORY|O_NOFOLLOW on a symlink says this, not ELOOP
                    try:
                        target = os.readlink(part, dir_fd=trail[-1])
                    except OSError as error:
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error
                    links += 1
                    if links > _SYMLINKS_MAX:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                    if target.startswith(b"/"):
                        while len(trail) > 1:
                            os.close(trail.pop())
                    todo += target.split(b"/")[::-1]
            return trail.pop()
        finally:
            for fd in trail:
                os.close(fd)


def _real_path(fd: int) -> bytes | None:
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:  # no /proc, or a path that does not fit
        return None


def open_below(root: str, path: bytes) -> int:
    """A descriptor (O_PATH is not enough for listing, so O_RDONLY) of the folder *path* below *root*, with no symlink on the way.

    The root's own path may hold symlinks. Raises OSError.
    """
    if not path:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    at = os.open(root, _FOLDER_FLAGS)
    try:
        from layerlog.drivers.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2

        try:
            return openat2(at, path, os.O_RDONLY | os.O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM, errno.E2BIG, errno.ENAMETOOLONG):
                raise
        return descend(at, path)
    finally:
        os.close(at)


def descend(folder_fd: int, path: bytes) -> int:
    """As open_below, from an open folder."""
    at = os.dup(folder_fd)
    try:
        for part in path.split(b"/"):
            following = os.open(part, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = following
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)


class Opener:
    """Opens regular files inside one root, many of them: as open_regular, with the folders kept open."""

    def __init__(self, root: str) -> None:
        self._folders = Folders(root)

    def open(self, path: bytes) -> int:
        """A descriptor for reading. Raises OSError."""
        folder, _, base = clean(path).rpartition(b"/")
        if not base:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return open_file_at(self._folders.get(folder), base)

    def close(self) -> None:
        self._folders.close()


def open_regular(root: str, path: bytes) -> int:
    """A descriptor for reading of the regular file *path* inside *root*.

    Folders on the way may be symlinks inside the root; the file itself must not be one. A file its
    owner may not read is opened up for the moment of opening (an image may hold such, as an ordinary user).
    Raises OSError.
    """
    opener = Opener(root)
    try:
        return opener.open(path)
    finally:
        opener.close()


def open_file_at(folder_fd: int, base: bytes) -> int:
    """As open_regular, of *base* in an open folder."""
    import stat

    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not make us wait
    try:
        fd = os.open(base, flags, dir_fd=folder_fd)
    except PermissionError:
        found = os.stat(base, dir_fd=folder_fd, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise
        os.chmod(base, 0o600, dir_fd=folder_fd)
        fd = os.open(base, flags, dir_fd=folder_fd)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", base)
    return fd
