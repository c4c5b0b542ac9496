"""btrfs: every layer is a subvolume, ``ROOT/btrfs/subvolumes/ID``, made as a snapshot of its parent's.

Making, keeping and taking away a layer of any size costs the same few milliseconds; contents that layers share are stored
once. For the rest it is vfs: a whole tree a layer, which needs no mount. Subvolumes are renamed as folders are, staged, placed
and put aside like them (an fsync of the folder then commits the whole transaction); they stay writable, since a read-only one
could neither be mounted for writing nor renamed.
Source: btrfs-subvolume(8); contract/semantics.md §5.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import durable
from layerlog.drivers.homes import StagedTree
from layerlog.drivers.tools import tool
from layerlog.drivers.vfs import VFS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerlog.drivers.driver import Lines, Staged
    from layerlog.drivers.tools import Tool

MAGIC = 0x9123683E
"""statfs(2)"""
_ROOT_INODE = durable.SUBVOLUME_INODE
"""Every subvolume's root folder has this number, and no other folder has."""
_UNABLE = frozenset((errno.EPERM, errno.EACCES))


class Btrfs(VFS):
    """See ``driver.Driver``. Options: ``sync`` (``full`` or ``none``). *run*: the program ``btrfs``."""

    name = "btrfs"
    _layers = "subvolumes"

    def __init__(self, root: str, run_root: str = "", options: Sequence[str] = (), run: Tool | None = None) -> None:
        super().__init__(root, run_root, options)
        self._run = run or tool("btrfs")

    def status(self) -> Lines:
        try:
            return [("Build Version", self._run("--version").strip())]
        except OSError:
            return []

    def stage(self, layer_id: str, chain: Sequence[str], base: str | None = None) -> Staged:
        staged = super().stage(layer_id, chain, base)
        assert isinstance(staged, StagedTree)
        if chain or base is not None:
            staged.changed_outside()  # a snapshot holds nobody knows how much: synced as a whole
        return staged

    def _fill(self, layer_id: str, source: str | None) -> int:
        """Make ``staging/<id>`` a snapshot of *source*, or an empty subvolume."""
        staging = self._staging(layer_id)
        self._erase(staging)
        place = self.where(source) if source is not None else ""
        if source is not None and (is_subvolume(place) or not os.path.isdir(place)):
            self._run("subvolume", "snapshot", place, staging)
            return 1
        self._run("subvolume", "create", staging)
        os.chmod(staging, 0o555 if os.geteuid() == 0 else 0o755)
        if source is None:
            return 0
        from layerlog.drivers.copytree import copy_tree

        return copy_tree(place, staging)  # a plain folder: a store that was copied here by other means

    def _erase(self, path: str) -> None:
        """Delete the subvolume *path*, and first those that a program made inside it. As an ordinary user it is emptied instead.

        The name is gone at once; the kernel frees the room afterwards.
        """
        if not is_subvolume(path):
            durable.remove_tree(path)
            return
        try:
            self._run("subvolume", "delete", path)
        except OSError as refused:
            if refused.errno not in (*_UNABLE, errno.ENOTEMPTY):
                raise
            for inner in nested(path):
                self._erase(inner)
            if refused.errno in _UNABLE:
                durable.remove_tree(path)  # Linux lets an empty subvolume be removed by rmdir(2)
            else:
                self._run("subvolume", "delete", path)


def is_subvolume(path: str) -> bool:
    """Whether a folder is the root of a subvolume."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_ino == _ROOT_INODE


def nested(path: str) -> list[str]:
    """Subvolumes directly inside *path*, at any depth of folders; those inside them are found from them. Follows no symlink."""
    found: list[str] = []
    device = os.lstat(path).st_dev
    todo = [path]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    here = entry.stat(follow_symlinks=False)
                    if here.st_ino == _ROOT_INODE and here.st_dev != device:
                        found.append(entry.path)
                    elif here.st_dev == device:
                        todo.append(entry.path)
    return found


def probe_btrfs(root: str) -> str:
    """Why btrfs cannot be used below *root*; empty when it can. A subvolume is made and deleted, and nothing left behind."""
    import secrets

    place = os.path.abspath(root)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        from layerlog.drivers.syscalls import file_system_type

        if file_system_type(fd) != MAGIC:
            return f"{place} is not on a btrfs"
    finally:
        os.close(fd)
    home = Btrfs(place)
    probe = os.path.join(place, ".probe." + secrets.token_hex(6))
    try:
        home._run("subvolume", "create", probe)
        home._erase(probe)
    except OSError as refused:
        return str(refused.strerror or refused)
    return ""
