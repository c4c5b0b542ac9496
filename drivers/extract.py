"""Where does each member of an archive go, and how does it get there without leaving the root?

Every name is cleaned and then resolved inside the root (``resolve.py``); what is made is made relative to
an open folder, with O_EXCL and without following a symlink in its last component. So a hostile
archive can only ever name things in its own layer.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import whiteouts
from layerlog.drivers.attributes import default_acl
from layerlog.drivers.deleting import Deletions, shown_name
from layerlog.drivers.resolve import clean, descend
from layerlog.drivers.tarfields import BLOCK_DEVICE, CHAR, FIFO, FOLDER, HARD_LINK, REGULAR, SYMLINK
from layerlog.eventstore.errors import ArchiveEscape, InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from layerlog.drivers.tarfields import Member

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What the archive is to blame for, not the disk.
_ARCHIVE_ERRORS = frozenset(
    (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EEXIST, errno.EILSEQ, errno.EFBIG)
)


class Extractor(Deletions):
    """Unpacks members into *root*; the arguments are those of LayerTree.

    ``save`` is called with the name and folder of a file of this archive just before a later member replaces it.
    """

    def __init__(self, root: str, fresh: bool, overlay: bool = False, rootless: bool = False, lowers: Sequence[str] = ()) -> None:
        super().__init__(root, fresh, overlay, rootless, lowers)
        self._absent: set[bytes] = set()  # devices left out, so that hard links to them are, too
        self.save: Callable[[bytes, int], None] | None = None

    # --- one member

    @staticmethod
    def keeps_content(member: Member) -> bool:
        """Whether the content of *member* will be the content of a file with its name, byte for byte."""
        return member.kind == REGULAR and member.sparse is None and not whiteouts.is_named(member.name)

    def add(self, member: Member, pieces: Iterable[memoryview | bytes]) -> None:
        """Unpack one member, whose content is *pieces*.

        Raises InvalidArchive and ArchiveEscape for what the archive is to blame for, OSError for the rest.
        """
        name = clean(member.name)
        try:
            self._add(name, member, pieces)
        except OSError as error:
            if error.errno in _ARCHIVE_ERRORS:
                raise InvalidArchive(why=f"cannot unpack {shown_name(member.name)!r}: {error.strerror}", offset=member.offset) from error
            raise

    def _add(self, name: bytes, member: Member, pieces: Iterable[memoryview | bytes]) -> None:
        kind = member.kind
        if not name:
            if kind != FOLDER:
                raise ArchiveEscape(name=shown_name(member.name), why="the root of a layer is a folder", offset=member.offset)
            self._update_folder(name, self._folders.root_fd, b".", member)
            return
        parent, _, base = name.rpartition(b"/")
        if base.startswith(whiteouts.PREFIX):
            self._whiteout(parent, base, member)
            for _ in pieces:  # a whiteout's content, if it has one, means nothing
                pass
            return
        folder = self._parent(parent)
        if kind == REGULAR:
            self._file(folder, name, base, member, pieces)
        elif kind == FOLDER:
            self._folder(folder, name, base, member)
        elif kind == SYMLINK:
            folder = self._clear_way(folder, name, base)
            os.symlink(member.link, base, dir_fd=folder)
            self._finish_special(folder, name, base, member)
        elif kind == HARD_LINK:
            self._hard_link(folder, name, base, member)
        elif kind in (CHAR, BLOCK_DEVICE, FIFO):
            self._device(folder, name, base, member)
        else:
            why = f"unhandled tar header type {kind.decode('latin-1')!r} of {shown_name(member.name)!r}"
            raise InvalidArchive(why=why, offset=member.offset)

    def _file(self, folder: int, name: bytes, base: bytes, member: Member, pieces: Iterable[memoryview | bytes]) -> None:
        mode = member.mode & 0o777  # nobody else gets into a staged folder, so it may have its final mode from the start
        try:
            fd = os.open(base, _CREATE, mode, dir_fd=folder)
        except FileExistsError:
            folder = self._clear_way(folder, name, base)
            fd = os.open(base, _CREATE, mode, dir_fd=folder)
        try:
            if member.sparse is None:
                for piece in pieces:
                    written = os.write(fd, piece)
                    while written < len(piece):
                        written += os.write(fd, memoryview(piece)[written:])
            else:
                _write_sparse(fd, member, pieces)
            made = os.fstat(fd)
            if not self._fresh:
                self._ours.add(made.st_ino)
            self.attributes.set_file(fd, name, member, made, self._inherits())
        finally:
            os.close(fd)

    def _folder(self, folder: int, name: bytes, base: bytes, member: Member) -> None:
        hides = False
        try:
            os.mkdir(base, 0o700, dir_fd=folder)
        except FileExistsError:
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._update_folder(name, folder, base, member, existed=True)
                return
            hides = self._overlay
            folder = self._clear_way(folder, name, base)
            os.mkdir(base, 0o700, dir_fd=folder)
        self._update_folder(name, folder, base, member)
        if hides:
            self._hide_lower(name)

    def _update_folder(self, name: bytes, folder: int, base: bytes, member: Member, existed: bool = False) -> None:
        fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if not self._fresh:
                self._ours.add(os.fstat(fd).st_ino)
            if self._bare:
                self._bare.discard(os.fstat(fd).st_ino)
            mode = self.attributes.set_folder(fd, name, member, existed or not name or self._inherits())
        finally:
            os.close(fd)
        self._remember(name, mode, member.mtime_ns, default_acl(member))

    def _hard_link(self, folder: int, name: bytes, base: bytes, member: Member) -> None:
        target = clean(member.link)
        target_parent, _, target_base = target.rpartition(b"/")
        if not target_base:
            raise ArchiveEscape(name=shown_name(member.name), why="a hard link to the root", offset=member.offset)
        if target in self._absent:
            self._absent.add(name)
            self.attributes.left_out.append((name, "hard link to what was left out"))
            return
        try:
            source = self._folders.get(target_parent)
            found = os.stat(target_base, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if found is None or (self._overlay and whiteouts.is_overlay_whiteout(found)):
            why = f"cannot unpack {shown_name(member.name)!r}: it is a hard link to {shown_name(member.link)!r}, which is not in this layer"
            raise InvalidArchive(why=why, offset=member.offset)
        if stat.S_ISDIR(found.st_mode):
            why = f"cannot unpack {shown_name(member.name)!r}: it is a hard link to the folder {shown_name(member.link)!r}"
            raise InvalidArchive(why=why, offset=member.offset)
        if target == name:
            return  # tar itself accepts a link of a name to itself
        try:
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            beside = os.stat(base, dir_fd=folder, follow_symlinks=False)
            if (beside.st_dev, beside.st_ino) == (found.st_dev, found.st_ino):
                return
            folder = self._clear_way(folder, name, base)
            os.link(target_base, base, src_dir_fd=self._folders.get(target_parent), dst_dir_fd=folder, follow_symlinks=False)

    def _device(self, folder: int, name: bytes, base: bytes, member: Member) -> None:
        folder = self._clear_way(folder, name, base)
        if member.kind == FIFO:
            os.mkfifo(base, 0o600, dir_fd=folder)
        else:
            if not (0 <= member.major < 1 << 12 and 0 <= member.minor < 1 << 20):
                raise InvalidArchive(why="invalid tar header: device number", offset=member.offset)
            letter = stat.S_IFCHR if member.kind == CHAR else stat.S_IFBLK
            try:
                os.mknod(base, letter | 0o600, os.makedev(member.major, member.minor), dir_fd=folder)
            except PermissionError:
                if self.attributes.privileged:
                    raise
                what = "character" if member.kind == CHAR else "block"
                self.attributes.left_out.append((name, f"{what} device {member.major}:{member.minor}"))
                self._absent.add(name)
                return
        self._finish_special(folder, name, base, member)

    def _finish_special(self, folder: int, name: bytes, base: bytes, member: Member) -> None:
        if not self._fresh:
            self._ours.add(os.stat(base, dir_fd=folder, follow_symlinks=False).st_ino)
        self.attributes.set_special(folder, name, base, member, self._inherits())

    # --- what is in the way

    def _clear_way(self, folder: int, name: bytes, base: bytes) -> int:
        """Remove whatever has this name; returns the folder again, whose descriptor may be another now."""
        try:
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return folder
        if self.save is not None:
            self._save(self.save, folder, name, base, found)
        self._remove(folder, name, base, found)
        return self._parent(name.rpartition(b"/")[0])

    def _save(self, save: Callable[[bytes, int], None], folder: int, name: bytes, base: bytes, found: os.stat_result) -> None:
        """Hand out every file of this archive that is about to go."""
        if stat.S_ISREG(found.st_mode):
            if self._is_ours(found):
                self.rearranged = True
                save(name, folder)
        elif stat.S_ISDIR(found.st_mode):
            todo = [base]
            while todo:
                path = todo.pop()
                fd = descend(folder, path)
                try:
                    for inner in map(os.fsencode, os.listdir(fd)):
                        seen = os.stat(inner, dir_fd=fd, follow_symlinks=False)
                        if stat.S_ISDIR(seen.st_mode):
                            todo.append(path + b"/" + inner)
                        elif stat.S_ISREG(seen.st_mode) and self._is_ours(seen):
                            self.rearranged = True
                            save(inner, fd)
                finally:
                    os.close(fd)


def _write_sparse(fd: int, member: Member, pieces: Iterable[memoryview | bytes]) -> None:
    """Only the data parts; the rest stays a hole."""
    parts = iter(member.sparse or ())
    at = left = 0
    for piece in pieces:
        view = memoryview(piece)
        while view:
            while not left:
                at, left = next(parts)
            written = os.pwrite(fd, view[:left], at)
            at += written
            left -= written
            view = view[written:]
    os.ftruncate(fd, member.real_size)
