"""Owner, mode, xattrs and times of one path, set in the order that keeps all of them.

First the owner (chown clears set-user-ID and file capabilities), then xattrs, then the mode, then the ACL (which has the last word on
the mode of the group), last the times. What a folder hands down to what is made in it comes when all has been made: an archive
that says nothing of an ACL means none.
As an ordinary user, what the kernel refuses is collected in ``left_out`` as (path, what) and unpacking
goes on; as root a refusal is an error.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers.whiteouts import is_private_xattr
from layerlog.eventstore.errors import InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.drivers.tarfields import Member

_REFUSED = frozenset((errno.EPERM, errno.EACCES, errno.EINVAL))
_ACL, _DEFAULT_ACL = b"system.posix_acl_access", b"system.posix_acl_default"
_NO_XATTR = frozenset((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP))


def is_privileged() -> bool:
    """Root of the initial user namespace: who may give any owner to a file."""
    if os.geteuid() != 0:
        return False
    try:
        with open("/proc/self/uid_map") as file:
            return file.read().split() == ["0", "0", "4294967295"]
    except OSError:
        return True


class Attributes:
    """*drop_private*: overlay's own xattrs are not taken from the archive."""

    def __init__(self, drop_private: bool) -> None:
        self.privileged = is_privileged()
        self.left_out: list[tuple[bytes, str]] = []
        self.implied_owner = (0, 0)
        """Who gets the folders that an archive takes for granted."""
        self._drop_private = drop_private
        self._uid, self._gid = os.geteuid(), os.getegid()

    def set_file(self, fd: int, name: bytes, member: Member, made: os.stat_result, inherits: bool) -> None:
        """*made*: what the file was made with. What is right already is not set again: each call dirties the inode once more.

        *inherits*: its folder may have handed an ACL down to it.
        """
        if inherits:
            self._clear_xattrs(fd)
        if made.st_uid != member.uid or made.st_gid != member.gid:
            self._chown(fd, name, member)
        if member.xattrs:
            self._set_xattrs(fd, name, member)
        if member.xattrs or made.st_mode & 0o7777 != member.mode:
            os.fchmod(fd, member.mode)
        if member.xattrs:
            self._set_acl(fd, name, member)
        os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))

    def set_folder(self, fd: int, name: bytes, member: Member, cleared: bool) -> int:
        """As set_file; times and the default ACL wait for the end, and so does the mode as an ordinary user. Returns the mode to set then.

        *cleared*: the folder may have xattrs already.
        """
        if cleared:
            self._clear_xattrs(fd)
        made = os.fstat(fd)
        if made.st_uid != member.uid or made.st_gid != member.gid:
            self._chown(fd, name, member)
        if member.xattrs:
            self._set_xattrs(fd, name, member)
        mode = self._folder_mode(fd, name, member.mode)
        if member.xattrs:
            self._set_acl(fd, name, member)
        return mode

    def set_default_acl(self, fd: int, name: bytes, value: bytes) -> None:
        """What a folder hands down from now on."""
        self._set_xattr(fd, name, _DEFAULT_ACL, value)

    def set_special(self, folder: int, name: bytes, base: bytes, member: Member, inherits: bool) -> None:
        """As set_file for a symlink, device or FIFO, which cannot be opened."""
        try:
            os.chown(base, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            self._refused(error, name, f"owner {member.uid}:{member.gid}")
        path = b"/proc/self/fd/%d/%b" % (folder, base)
        if inherits:
            self._clear_xattrs(path)
        if member.xattrs:
            self._set_xattrs(path, name, member)
        if member.kind != b"2":
            os.chmod(base, member.mode, dir_fd=folder)
            if member.xattrs:
                self._set_acl(path, name, member)
        os.utime(base, ns=(member.mtime_ns, member.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def set_implied(self, fd: int, inherits: bool) -> None:
        if inherits:
            self._clear_xattrs(fd)
        if self.privileged:
            os.fchown(fd, *self.implied_owner)
        os.fchmod(fd, 0o755)

    def copy_folder(self, source: int, fd: int) -> tuple[int, int, bytes | None]:
        """Owner, xattrs and mode of one open folder to another; returns mode, time and default ACL to set at the end."""
        found = os.fstat(source)
        mode = stat.S_IMODE(found.st_mode)
        try:
            os.fchown(fd, found.st_uid, found.st_gid)
        except OSError as error:
            self._refused(error, b"", "owner")
        default = None
        for key in os.listxattr(source):
            if os.fsencode(key) == _DEFAULT_ACL:
                default = os.getxattr(source, key)
            elif not is_private_xattr(key):
                os.setxattr(fd, key, os.getxattr(source, key))
        return self._folder_mode(fd, b"", mode), found.st_mtime_ns, default

    def _folder_mode(self, fd: int, name: bytes, mode: int) -> int:
        """Set the mode of a folder; as an ordinary user for now one that lets us in. Returns the final one.

        A folder that its owner cannot list could never be copied, compared or removed by an ordinary user: it is opened, and said.
        """
        if self.privileged:
            os.fchmod(fd, mode)
            return mode
        os.fchmod(fd, mode | 0o700)
        if mode & 0o500 != 0o500:
            self.left_out.append((name, f"mode {mode:04o}"))
        return mode | 0o500

    def _chown(self, fd: int, name: bytes, member: Member) -> None:
        try:
            os.fchown(fd, member.uid, member.gid)
        except OSError as error:
            self._refused(error, name, f"owner {member.uid}:{member.gid}")

    def _refused(self, error: OSError, name: bytes, what: str) -> None:
        if self.privileged or error.errno not in _REFUSED:
            raise error
        self.left_out.append((name, what))

    def _set_xattrs(self, at: int | bytes, name: bytes, member: Member) -> None:
        """All but ACLs."""
        for key, value in (member.xattrs or {}).items():
            shown = os.fsdecode(key)
            if self._drop_private and is_private_xattr(shown):
                self.left_out.append((name, f"xattr {shown}"))
                continue
            if b"\0" in key:
                raise InvalidArchive(why="invalid tar header: NUL in the name of an xattr", offset=member.offset)
            if key not in (_ACL, _DEFAULT_ACL):
                self._set_xattr(at, name, key, value)

    def _set_acl(self, at: int | bytes, name: bytes, member: Member) -> None:
        value = (member.xattrs or {}).get(_ACL)
        if value is not None:
            self._set_xattr(at, name, _ACL, value)

    def _set_xattr(self, at: int | bytes, name: bytes, key: bytes, value: bytes) -> None:
        try:
            os.setxattr(at, key, value, follow_symlinks=isinstance(at, int))
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise
            self.left_out.append((name, f"xattr {os.fsdecode(key)}"))

    def _clear_xattrs(self, at: int | bytes) -> None:
        """What an archive describes has the xattrs of that description only."""
        follow = isinstance(at, int)
        try:
            for key in os.listxattr(at, follow_symlinks=follow):
                if key != "security.selinux" and not is_private_xattr(key):
                    os.removexattr(at, key, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise


def default_acl(member: Member) -> bytes | None:
    """The ACL that a folder hands down, as an archive has it."""
    return member.xattrs.get(_DEFAULT_ACL) if member.xattrs else None


class InodeSet:
    """Which inodes are of this archive: a bitmap in pages, since inode numbers come in clusters (1 MiB for millions)."""

    __slots__ = ("_count", "_pages")

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0

    def add(self, inode: int) -> None:
        page = self._pages.get(inode >> 12)
        if page is None:
            page = self._pages[inode >> 12] = bytearray(512)
        page[(inode & 4095) >> 3] |= 1 << (inode & 7)
        self._count += 1

    def __contains__(self, inode: int) -> bool:
        page = self._pages.get(inode >> 12)
        return page is not None and bool(page[(inode & 4095) >> 3] & 1 << (inode & 7))

    def __len__(self) -> int:
        return self._count
