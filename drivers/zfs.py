"""zfs: every layer is a file system of its own, a clone of its parent's, mounted at ``ROOT/zfs/graph/ID``.

Never run on a real pool: no kernel module was at hand. Its arguments, and what it reads out of the answers, are tested against the
manual and a stand-in (tests/drivers/zfs_stand_in.py), on which the suite of all drivers runs. Not part of the automatic choice.

The file systems stand under one another as the folders of the home do, and inherit their mount points from there, so that
``zfs rename`` is to them what rename(2) is to a folder: staged, placed, put aside::

    BASE/graph/ID  BASE/staging/ID  BASE/trash/ENTRY  BASE/lost/ID     BASE: zfs.fsname, or DATASET-OF-ROOT/layerlog-HASH

What a tool changes is durable when it returns (zfs(8): each is a transaction of the pool). A snapshot that a clone stands on is
marked to go with it (``destroy -d``). A layer that goes while clones of it stay is first made theirs (``promote``).
Sources: zfs-create(8), zfs-clone(8), zfs-promote(8), zfs-rename(8), zfs-destroy(8), zfs-list(8).
"""

from __future__ import annotations

import hashlib
import os
import re

from layerlog.drivers import durable
from layerlog.drivers.homes import StagedTree, failing
from layerlog.drivers.tools import tool
from layerlog.drivers.vfs import VFS
from layerlog.eventstore.errors import InvalidID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerlog.drivers.driver import Lines, MountOptions, Names, Staged
    from layerlog.drivers.tools import Tool

MAGIC = 0x2FC12FC1
"""statfs(2)"""
_COMPONENT = re.compile(r"[A-Za-z0-9_.:-]+\Z")
_FOLDERS = {"graph": "graph", "staging": "staging", "trash": "trash", "lost+found": "lost"}
"""Folder of the home -> component of the file system's name, which may hold no ``+``."""


class ZFS(VFS):
    """See ``driver.Driver``. Options: ``fsname`` (the file system to use), ``sync`` (``full`` or ``none``). *run*: the program ``zfs``."""

    name = "zfs"
    _layers = "graph"

    def __init__(self, root: str, run_root: str = "", options: Sequence[str] = (), run: Tool | None = None) -> None:
        super().__init__(root, run_root, options)
        self._root = root
        self._run = run or tool("zfs")
        self._base = self.options.get("fsname", "")

    # --- names

    def base(self) -> str:
        """The file system that all others stand under."""
        if not self._base:
            parent = self._run("list", "-H", "-o", "name", self._root).strip()
            self._base = f"{parent}/layerlog-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]}"
        return self._base

    def dataset(self, path: str) -> str:
        """The file system that belongs at *path* in the home. Raises InvalidID for a name that zfs cannot have."""
        folder, _, name = os.path.relpath(path, self.home).partition(os.sep)
        if name and not _COMPONENT.match(name):
            raise InvalidID(asked=name, why="zfs has letters, digits and _ . : - in names")
        return "/".join(part for part in (self.base(), _FOLDERS[folder], name) if part)

    def _datasets(self, under: str, columns: str = "name") -> Iterator[list[str]]:
        """Rows of all file systems at and below one; none where it is not there."""
        try:
            answer = self._run("list", "-H", "-r", "-t", "filesystem", "-o", columns, under)
        except FileNotFoundError:
            return
        for line in answer.splitlines():
            yield line.split("\t")

    def _names(self, folder: str) -> list[str]:
        with failing(self.name, "listing", "-"):
            prefix = self.dataset(os.path.join(self.home, folder)) + "/"
            rows = [*self._datasets(prefix.rstrip("/"))]
        return sorted(name.removeprefix(prefix) for (name,) in rows if name.startswith(prefix) and "/" not in name.removeprefix(prefix))

    # --- set-up

    def setup(self) -> None:
        with failing(self.name, "set-up", "-"):
            os.makedirs(self.home, mode=0o700, exist_ok=True)
            there = {row[0] for row in self._datasets(self.base())}
            if self.base() not in there:
                self._run("create", "-p", "-o", "canmount=off", self.base())
            for folder in _FOLDERS:
                path = os.path.join(self.home, folder)
                if self.dataset(path) not in there:
                    self._run("create", "-o", f"mountpoint={path}", self.dataset(path))
                    os.chmod(path, 0o700)

    def status(self) -> Lines:
        with failing(self.name, "status", "-"):
            columns = "used,available,compressratio"
            (row,) = [self._run("list", "-H", "-o", columns, self.base()).rstrip("\n").split("\t")]
        titles = ("Space Used By Parent", "Space Available", "Compression ratio")
        return [("Parent Dataset", self.base()), *zip(titles, row, strict=False)]

    def list(self) -> Names:
        return self._names(self._layers)

    def exists(self, layer_id: str) -> bool:
        return self._there(self.path(layer_id))

    # --- one file system

    def _mounted_at(self, path: str) -> bool:
        return os.path.ismount(path)

    def _there(self, path: str) -> bool:
        """Whether it is there; one that nobody mounted, since a boot or since who renamed it died, is mounted."""
        if self._mounted_at(path):
            return True
        with failing(self.name, "look-up", os.path.basename(path)):
            dataset = self.dataset(path)
            if not any(row[0] == dataset for row in self._datasets(dataset)):
                return False
            self._run("mount", dataset)
            return True

    def _move(self, old: str, new: str) -> None:
        self._run("rename", self.dataset(old), self.dataset(new))
        self._there(new)

    def _erase(self, path: str) -> None:
        if self._there(path):
            dataset = self.dataset(path)
            while clone := self._clone_of(dataset):
                self._run("promote", clone)
            self._run("destroy", "-r", dataset)
        if os.path.isdir(path) and not self._mounted_at(path):
            os.rmdir(path)  # the empty folder that it was mounted on

    def _clone_of(self, dataset: str) -> str:
        """A file system that stands on a snapshot of *dataset*; "" when there is none."""
        rows = self._datasets(self.base(), "name,origin")
        return next((name for name, origin in rows if origin.startswith(dataset + "@")), "")

    # --- contents

    def stage(self, layer_id: str, chain: Sequence[str], base: str | None = None) -> Staged:
        with failing(self.name, "staging", layer_id):
            source = base if base is not None else (chain[0] if chain else None)
            copied = self._fill(layer_id, source)
            staging = self._staging(layer_id)
            # A file system of its own: what is synced is this one. Nothing was written to it yet, so nothing can have failed before.
            scope = durable.SyncScope(staging, self.sync_mode)
            staged = StagedTree(self.name, layer_id, staging, scope, fresh=source is None, overlay=False, copied=copied)
            if copied:
                staged.changed_outside()
            return staged

    def _fill(self, layer_id: str, source: str | None) -> int:
        """Make ``BASE/staging/<id>`` a clone of *source*, or an empty file system."""
        staging = self._staging(layer_id)
        self._erase(staging)
        if source is None:
            self._run("create", self.dataset(staging))
            os.chmod(staging, 0o555 if os.geteuid() == 0 else 0o755)
            return 0
        snapshot = f"{self.dataset(self.path(source))}@{layer_id}-{os.urandom(6).hex()}"
        self._run("snapshot", snapshot)
        try:
            self._run("clone", snapshot, self.dataset(staging))
        finally:
            self._run("destroy", "-d", snapshot)
        return 1

    def mount(self, layer_id: str, chain: Sequence[str], options: MountOptions) -> str:
        with failing(self.name, "mounting", layer_id):
            self._there(self.path(layer_id))
            os.stat(self.path(layer_id))
        return self.path(layer_id)


def probe_zfs(root: str) -> str:
    """Why zfs cannot be used below *root*; empty when it can. Only looks."""
    place = os.path.abspath(root)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    with open("/proc/filesystems", encoding="ascii") as file:
        if "zfs" not in file.read().split():
            return "the kernel has no zfs module"
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        from layerlog.drivers.syscalls import file_system_type

        if file_system_type(fd) != MAGIC:
            return f"{place} is not on a zfs"
    finally:
        os.close(fd)
    try:
        tool("zfs")("list", "-H", "-o", "name", place)
    except OSError as refused:
        return str(refused.strerror or refused)
    return ""
