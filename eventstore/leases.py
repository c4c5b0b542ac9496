"""Leases: who works on which ID right now. DESIGN §2.

A lease is a file named after the ID with a lock that the kernel drops when its holder dies; never a PID or
an age. A file whose lock is free is a *dead* lease: what it names may be half done, and recovery settles it.
Shared leases pin: parents and reused layers of work in progress.
"""

from __future__ import annotations

import errno
import json
import os
import weakref
from hashlib import sha256

from layerlog.eventstore import disk, ofd
from layerlog.eventstore.errors import DiskError, InUse, JournalError
from layerlog.eventstore.safety import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOTE_BYTES_MAX = 4096
_WORD_CHARACTERS_MAX = (1024, 256, 64)
"""Of each word of a note that is too long, tried in this order; a character takes up to 12 bytes."""
GONE = "the store was moved or migrated, or its disk taken away; open it anew"
SHARED = "shared"
"""In the note of who holds a lease shared."""
ROOM = ".room"
"""A file without bytes, made with the folder: leases of a full disk are locks of its bytes."""


class Lease:
    """A held lease; a context manager."""

    __slots__ = ("id", "path", "_before", "_fd", "__weakref__")

    def __init__(self, lease_id: str, path: str) -> None:
        """Made by ``Leases.take``, which gives it its descriptor: from then on that is nobody else's to close."""
        self.id = lease_id
        self.path = path
        self._before: dict[str, Any] = {}
        self._fd = -1
        _held.add(self)

    def before(self) -> dict[str, Any]:
        """The note of a holder that died; empty when the lease was free. What it was doing must be settled first."""
        return self._before

    def was_shared(self) -> bool:
        """Whether that note is of one who shared it: others who do may live."""
        return SHARED in self._before

    def alone(self) -> bool:
        """Have a shared lease alone, once others have let go of its file; False when it is a lease no longer. Reads ``before`` anew.

        Waits. While a note is there that no sharer made, every other one who comes to it lets go at once.
        """
        ofd.unlock(self._fd)
        ofd.lock(self._fd)
        self._before = _read_note(self._fd)
        return _is_named(self._fd, self.path)

    def note(self, note: dict[str, Any]) -> None:
        """Replace what others, and recovery after us, read of this lease."""
        _write_note(self._fd, note)

    def sync(self) -> None:
        """Make the lease and its note durable: for what recovery must know even after a power cut.

        Raises DiskError, also for a lease that is a byte of ``.room``: nobody could read it afterwards.
        """
        if not _is_named(self._fd, self.path):
            raise DiskError(what="note who works here", cause=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path))
        disk.fsync(self._fd)
        disk.sync_folder(os.path.dirname(self.path))

    def rewrite(self, note: dict[str, Any]) -> None:
        """Replace the note, durably: recovery reads what it was doing. Raises DiskError, also where there is no room for the note."""
        _put_note(self._fd, note)
        self.sync()

    def release(self) -> None:
        """Let go; the file goes with its last holder. Does nothing the second time."""
        fd = self._fd
        if fd < 0:
            return
        try:
            # Only an exclusive holder may remove the name: others may wait on this very file.
            if (ofd.lock(fd, wait=False) or _is_last(fd)) and _is_named(fd, self.path):
                disk.unlink(self.path)
        except DiskError:
            return  # the file stays as a dead lease that names nothing undone; the next to meet it removes it
        finally:
            self._fd = -1
            os.close(fd)

    def abandon(self) -> None:
        """Close without removing the file: it becomes a dead lease, for recovery to settle."""
        fd, self._fd = self._fd, -1  # in this order: whatever interrupts us, it is not closed twice
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """Who was interrupted before it could let go holds it no longer: it is a dead lease."""
        if hasattr(self, "_fd"):
            self.abandon()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Leases:
    """The leases of a store: one folder of files."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def take(self, lease_id: str, note: dict[str, Any] | None = None, *, shared: bool = False, wait: bool = False) -> Lease:
        """Take the lease of *lease_id*, a checked ID. Durable against nothing but the death of this process.

        Raises: InUse when somebody else has it (unless *wait*).
        """
        note = {**(note or {}), **({SHARED: True} if shared else {})}
        path = os.path.join(self.folder, lease_id)
        self._wait_for_room(lease_id, shared, wait)
        lease = Lease(lease_id, path)
        while True:
            try:
                fd = lease._fd = self._open(path)
            except DiskError as full:
                if full.errno not in disk.NO_ROOM:
                    raise
                return self._take_in_room(lease, shared, wait)
            try:
                if not ofd.lock(fd, shared=shared, wait=wait):
                    raise InUse(id=lease_id, holder=describe(_read_note(fd)))
                if _is_named(fd, path):
                    lease._before = _read_note(fd)
                    if not lease.before():  # else it says what is to be settled, until that is done
                        _write_note(fd, note)
                    return lease
            except BaseException:
                lease.abandon()
                raise
            lease.abandon()  # its last holder removed it between our open and our lock

    def _open(self, path: str) -> int:
        try:
            return disk.open_to_write(path, os.O_CREAT)
        except FileNotFoundError:
            if not os.path.isdir(os.path.dirname(self.folder)):
                raise JournalError(f"{os.path.dirname(self.folder)} is gone: {GONE}") from None
            disk.make_folders(self.folder)
            os.close(disk.open_to_write(os.path.join(self.folder, ROOM), os.O_CREAT))
            return disk.open_to_write(path, os.O_CREAT)

    def _take_in_room(self, lease: Lease, shared: bool, wait: bool) -> Lease:
        """On a disk too full for one more file: a byte of a file that is there stands for the ID.

        Excludes as well as the file would, but tells nothing when its holder dies: what was half done is then found
        after the next boot, or by ``gc``. Since a delete must work with no byte free.
        """
        # It is made where it is missing: whoever made the folder may not have come to that.
        fd = lease._fd = disk.open_to_write(os.path.join(self.folder, ROOM), os.O_CREAT)
        try:
            held = ofd.lock_byte(fd, _byte_of(lease.id), shared=shared, wait=wait)
            if not held or (os.path.exists(lease.path) and not wait):
                raise InUse(id=lease.id, holder="another process")
        except BaseException:
            lease.abandon()
            raise
        return lease

    def _wait_for_room(self, lease_id: str, shared: bool, wait: bool) -> None:
        """Whoever could not make a file holds a byte: not a lease for us until it is let go."""
        try:
            fd = os.open(os.path.join(self.folder, ROOM), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not ofd.lock_byte(fd, _byte_of(lease_id), shared=shared, wait=wait):
                raise InUse(id=lease_id, holder="another process, on a full disk")
        finally:
            os.close(fd)

    def files(self) -> list[str]:
        """Names of all lease files, live or dead: usually none."""
        return [name for name in names_in(self.folder) if name != ROOM]

    def dead(self) -> list[str]:
        """IDs whose holder died before it was done."""
        return list(self.dead_notes())

    def dead_notes(self) -> dict[str, dict[str, Any]]:
        """The same, and what their holders noted."""
        return {name: note for name, held, note in self._all() if not held}

    def holders(self) -> dict[str, dict[str, Any]]:
        """Held IDs and what their holders noted."""
        return {name: note for name, held, note in self._all() if held}

    def holder(self, lease_id: str) -> dict[str, Any] | None:
        """The note of whoever holds *lease_id* now, None when nobody does."""
        for _, held, note in self._all([lease_id]):
            return note if held else None
        return None

    def _all(self, names: list[str] | None = None) -> list[tuple[str, bool, dict[str, Any]]]:
        if names is None:
            names = self.files()
        found = []
        for name in names:
            try:
                fd = os.open(os.path.join(self.folder, name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except (FileNotFoundError, IsADirectoryError):
                continue
            try:
                found.append((name, ofd.is_held(fd), _read_note(fd)))
            finally:
                os.close(fd)
        return found


def _byte_of(lease_id: str) -> int:
    return int.from_bytes(sha256(lease_id.encode("utf-8", "surrogateescape")).digest()[:7], "big")


def describe(note: dict[str, Any]) -> str:
    """A holder in a few words."""
    what = str(note.get("program", "another process"))
    if "pid" in note:
        what += f" (PID {note['pid']})"
    if note.get("doing"):
        what += f", {note['doing']}"
    return what


def _is_last(fd: int) -> bool:
    """Of sharers who let go at the same moment each sees the others: who looks again, without its share, is the last, or another is."""
    ofd.unlock(fd)
    return ofd.lock(fd, wait=False) and SHARED in _read_note(fd)  # else somebody had it alone meanwhile, and died


def _is_named(fd: int, path: str) -> bool:
    """Whether *path* is still this file: it may have been removed, and made again by somebody else."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (ours.st_ino, ours.st_dev) == (named.st_ino, named.st_dev)


def _write_note(fd: int, note: dict[str, Any]) -> None:
    """Note the holder; on a full disk nobody is noted, since a delete must still work."""
    try:
        _put_note(fd, note)
    except OSError as error:
        if error.errno not in (*disk.NO_ROOM, errno.EROFS):
            raise


def _put_note(fd: int, note: dict[str, Any]) -> None:
    disk.pwrite_all(fd, _encoded(note).ljust(len(_raw_note(fd)), b" "), 0)


def _encoded(note: dict[str, Any]) -> bytes:
    """A note as it is written: where it is too long, its words are shortened and what recovery needs is whole."""
    data = json.dumps(note).encode()
    for most in _WORD_CHARACTERS_MAX:
        if len(data) <= NOTE_BYTES_MAX:
            break
        words = {name: f"{word[:most]}…" for name, word in note.items() if isinstance(word, str) and len(word) > most}
        data = json.dumps({**note, **words}).encode()
    assert len(data) <= NOTE_BYTES_MAX, "a note is a few words and numbers"
    return data


def _raw_note(fd: int) -> bytes:
    return os.pread(fd, NOTE_BYTES_MAX, 0)


def _read_note(fd: int) -> dict[str, Any]:
    try:
        note = json.loads(_raw_note(fd) or b"{}")
    except ValueError:  # half written
        return {}
    return note if isinstance(note, dict) else {}


_held: weakref.WeakSet[Lease] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child holds nothing: it closes its copies and leaves the locks to its parent."""
    for lease in list(_held):
        lease.abandon()


os.register_at_fork(after_in_child=_after_fork)
