"""The program ``zfs`` for a machine without one: file systems are folders, snapshots are copies.

Knows the sub-commands that the driver uses, with the errors of zfs-*(8) in their words: a destroy of what has clones is refused, a
deferred one happens when the last clone goes, promoting swaps who stands on whom, a rename takes inherited mount points along.
"""

from __future__ import annotations

import os
import shutil

from layerlog.drivers import durable, tools
from layerlog.drivers.copytree import copy_tree


class StandIn:
    """Call it as the driver calls the program."""

    def __init__(self, folder: str, pool: str = "tank") -> None:
        self.folder, self.pool = folder, pool
        self.points: dict[str, str] = {pool: folder + "/pool"}
        """Local mount points; the others inherit."""
        self.origin: dict[str, str] = {pool: "-"}
        self.snapshots: dict[str, str] = {}
        """Name -> the folder of its copy."""
        self.deferred: set[str] = set()
        self.calls: list[tuple[str, ...]] = []
        os.makedirs(folder + "/pool")

    def __call__(self, *words: str) -> str:
        self.calls.append(words)
        return str(getattr(self, "_" + words[0])(*words[1:]) or "")

    def point(self, name: str) -> str:
        """Where a file system is mounted."""
        parent, _, last = name.rpartition("/")
        return self.points[name] if name in self.points else f"{self.point(parent)}/{last}"

    def _need(self, name: str, doing: str) -> None:
        if name not in self.origin and name not in self.snapshots:
            raise tools.said(f"cannot {doing} '{name}': dataset does not exist")

    def _create(self, *words: str) -> None:
        name = words[-1]
        parent = name.rpartition("/")[0]
        if name in self.origin:
            raise tools.said(f"cannot create '{name}': dataset already exists")
        if parent not in self.origin:
            if "-p" not in words:
                raise tools.said(f"cannot create '{name}': parent does not exist")
            self._create("-p", parent)
        for word in words:
            if word.startswith("mountpoint="):
                self.points[name] = word.partition("=")[2]
        self.origin[name] = "-"
        os.makedirs(self.point(name), exist_ok=True)
        os.chmod(self.point(name), 0o755)

    def _snapshot(self, name: str) -> None:
        self._need(name.partition("@")[0], "create snapshot")
        copy = f"{self.folder}/snapshot{len(self.calls)}"
        os.mkdir(copy)
        copy_tree(self.point(name.partition("@")[0]), copy)
        self.snapshots[name] = copy

    def _clone(self, snapshot: str, name: str) -> None:
        self._need(snapshot, "open")
        self._create(name)
        self.origin[name] = snapshot
        copy_tree(self.snapshots[snapshot], self.point(name))

    def _promote(self, name: str) -> None:
        snapshot = self.origin[name]
        old = snapshot.partition("@")[0]
        moved = f"{name}@{snapshot.partition('@')[2]}"
        self.snapshots[moved] = self.snapshots.pop(snapshot)
        if snapshot in self.deferred:
            self.deferred = (self.deferred - {snapshot}) | {moved}
        self.origin[name], self.origin[old] = self.origin[old], moved
        self.origin = {one: moved if origin == snapshot else origin for one, origin in self.origin.items()}

    def _rename(self, old: str, new: str) -> None:
        self._need(old, "open")
        if new in self.origin:
            raise tools.said(f"cannot rename '{old}': dataset already exists")
        durable.rename(self.point(old), f"{self.point(new.rpartition('/')[0])}/{new.rpartition('/')[2]}")
        self.origin[new] = self.origin.pop(old)
        self.snapshots = {_renamed(one, old, new): copy for one, copy in self.snapshots.items()}
        self.deferred = {_renamed(one, old, new) for one in self.deferred}
        self.origin = {one: _renamed(origin, old, new) for one, origin in self.origin.items()}

    def _destroy(self, flag: str, name: str) -> None:
        self._need(name, "destroy")
        if "@" in name:
            self.deferred.add(name)
            assert flag == "-d"
            self._reap()
            return
        snapshots = [one for one in self.snapshots if one.startswith(name + "@")]
        if any(origin in snapshots for origin in self.origin.values()):
            raise tools.said(f"cannot destroy '{name}': filesystem has dependent clones\nuse '-R' to destroy the following datasets:")
        durable.remove_tree(self.point(name))
        for one in snapshots:
            shutil.rmtree(self.snapshots.pop(one))
        del self.origin[name]
        self._reap()

    def _reap(self) -> None:
        for one in list(self.deferred):
            if one not in self.origin.values():
                self.deferred.discard(one)
                shutil.rmtree(self.snapshots.pop(one))

    def _mount(self, name: str) -> None:
        self._need(name, "open")

    def _list(self, *words: str) -> str:
        name = words[-1]
        if name.startswith("/"):
            return self.pool + "\n"
        self._need(name, "open")
        columns = words[words.index("-o") + 1].split(",")
        rows = [one for one in sorted(self.origin) if one == name or ("-r" in words and one.startswith(name + "/"))]
        values = {"used": "1.50G", "available": "20G", "compressratio": "1.00x"}
        return "".join("\t".join({"name": one, "origin": self.origin[one], **values}[column] for column in columns) + "\n" for one in rows)


def _renamed(snapshot: str, old: str, new: str) -> str:
    return new + snapshot.removeprefix(old) if snapshot.startswith(old + "@") else snapshot
