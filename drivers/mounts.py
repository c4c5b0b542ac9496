"""What is mounted where, as the kernel says."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Mount:
    """One line of /proc/self/mountinfo (proc(5)): device number, root within it, mount point, type, source, options."""

    __slots__ = ("device", "kind", "options", "point", "root", "source")

    def __init__(self, device: str, root: str, point: str, kind: str, source: str, options: str) -> None:
        self.device, self.root, self.point, self.kind, self.source, self.options = device, root, point, kind, source, options


def all_mounts() -> Iterator[Mount]:
    """Every mount that this process sees, oldest first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.rstrip("\n").partition(" - ")
            fields = left.split(" ")
            kind, source, options = [*right.split(" ", 2), "", ""][:3]
            yield Mount(fields[2], _plain(fields[3]), _plain(fields[4]), kind, _plain(source), fields[5] + "," + options)


def below(path: str) -> list[str]:
    """Mount points at and below *path*, innermost first."""
    path = os.path.realpath(path)
    prefix = path.rstrip("/") + "/"
    return [mount.point for mount in all_mounts() if mount.point == path or mount.point.startswith(prefix)][::-1]


def is_mount_point(path: str) -> bool:
    """Whether something of another file system is mounted at *path*; says nothing about a bind mount of the same one."""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        return False


def file_system_of(path: str) -> Mount | None:
    """The mount that *path* lies in."""
    path = os.path.realpath(path)
    best: Mount | None = None
    for mount in all_mounts():
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _plain(field: str) -> str:
    """mountinfo writes space, tab, line break and backslash as three octal digits."""
    if "\\" not in field:
        return field
    parts = field.split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])
