"""``doctor``: what this host can do for a store, and the one command that mends each lack."""

from __future__ import annotations

import os

from layerlog.cli.command import FRIENDLY, Command
from layerlog.eventstore.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.cli.run import Run

OK, LACK, FAULT = "ok", "lack", "fault"


class Finding:
    """One line: ``state`` is ok, lack (works without) or fault (does not work); ``mend`` is a command or empty."""

    __slots__ = ("mend", "state", "text", "what")

    def __init__(self, what: str, state: str, text: str, mend: str = "") -> None:
        self.what, self.state, self.text, self.mend = what, state, text, mend


def doctor(run: Run) -> int:
    """Look at the host; status 1 if something does not work."""
    from layerlog.cli.config import settle

    settings = settle(run.values, compat=False)
    found = list(findings(settings.root))
    if run.json:
        run.out_json([{"what": one.what, "state": one.state, "text": one.text, "mend": one.mend} for one in found])
    else:
        from layerlog.cli.views.doctor import doctor_view
        from layerlog.cli.views.show import show

        show(doctor_view(found))
    return 1 if any(one.state == FAULT for one in found) else 0


def findings(root: str) -> Iterator[Finding]:
    """Everything that was looked at, in the order in which it matters."""
    existing = root
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    yield _root(root, existing)
    yield _room(existing)
    yield _accelerators()
    yield from (_kernel(name, what, wanted) for name, what, wanted in _KERNEL)
    yield user_namespaces()
    yield _subordinate_ids()
    yield _idmapped_mounts()
    yield _reflinks(existing)
    yield _quota(existing)
    yield from (_program(name, what, package) for name, what, package in _PROGRAMS)


def _root(root: str, existing: str) -> Finding:
    if not os.access(existing, os.W_OK):
        return Finding("root", FAULT, f"{existing} cannot be written by this user", "layerlog --graph ~/.local/share/layerlog status")
    from layerlog.eventstore.safety import look
    from layerlog.network import refuse_network

    try:
        look(root)
        refuse_network(existing)
    except StoreError as refused:
        return Finding("root", FAULT, str(refused), refused.advice())
    if _is_memory(existing):
        return Finding("root", LACK, f"{root} is in memory (tmpfs): nothing of it outlives a boot", "layerlog --graph DIR, on a disk")
    return Finding("root", OK, root if root == existing else f"{root}, will be made")


def _is_memory(folder: str) -> bool:
    from layerlog.drivers.syscalls import file_system_type

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return file_system_type(fd) & 0xFFFFFFFF in (0x01021994, 0x858458F6)  # statfs(2): tmpfs, ramfs
    finally:
        os.close(fd)


def _room(existing: str) -> Finding:
    from layerlog.cli.views.units import size

    found = os.statvfs(existing)
    free, inodes = found.f_bavail * found.f_frsize, found.f_favail
    text = f"{size(free)} free" + (f", {inodes:,} inodes" if found.f_files else "")
    tight = free < 1 << 30 or (found.f_files and inodes < 10_000)
    return Finding("room", LACK if tight else OK, text, "layerlog trash empty" if tight else "")


def _accelerators() -> Finding:
    from importlib.util import find_spec

    wanted = {"google_crc32c": "google-crc32c", "isal": "isal", "zstandard": "zstandard", "fastcrc": "fastcrc", "msgspec": "msgspec"}
    missing = [package for module, package in wanted.items() if find_spec(module) is None]
    if not missing:
        return Finding("accelerators", OK, "all there")
    lost = " (without zstandard no zstd layers)" if "zstandard" in missing else ""
    return Finding("accelerators", LACK, f"not installed: {', '.join(missing)}{lost}", f"pip install {' '.join(missing)}")


_KERNEL = (("overlay", "overlay driver", "overlay"), ("btrfs", "btrfs driver", "btrfs"), ("zfs", "zfs driver", "zfs"))
_PROGRAMS = (
    ("newuidmap", "maps of several IDs for ordinary users", "uidmap"),
    ("btrfs", "tools of the btrfs driver", "btrfs-progs"),
    ("zfs", "tools of the zfs driver", "zfsutils-linux"),
    ("fuse-overlayfs", "overlay for ordinary users on old kernels", "fuse-overlayfs"),
)


def _kernel(name: str, what: str, wanted: str) -> Finding:
    with open("/proc/filesystems", encoding="ascii") as file:
        known = {line.split()[-1] for line in file if line.strip()}
    untried = "; this driver was never run on a real pool" if name == "zfs" else ""
    if wanted in known:
        return Finding(what, OK, f"the kernel knows {name}{untried}")
    return Finding(what, LACK, f"the kernel does not know {name} (now){untried}", f"modprobe {name}")


def user_namespaces() -> Finding:
    limit = _number("/proc/sys/user/max_user_namespaces")
    if limit == 0:
        return Finding("user namespaces", LACK, "turned off", "sysctl user.max_user_namespaces=15000")
    if _number("/proc/sys/kernel/unprivileged_userns_clone") == 0 and os.geteuid():
        return Finding("user namespaces", LACK, "only for root", "sysctl kernel.unprivileged_userns_clone=1")
    if _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 and os.geteuid():
        return Finding("user namespaces", LACK, "held back by AppArmor", "sysctl kernel.apparmor_restrict_unprivileged_userns=0")
    return Finding("user namespaces", OK, "there")


def _subordinate_ids() -> Finding:
    """Ranges of IDs that this user may give to containers (subuid(5))."""
    import pwd

    what = "subordinate IDs"
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return Finding(what, LACK, "this user has no name")
    missing = [path for path in ("/etc/subuid", "/etc/subgid") if not _names_of(path) & {name, str(os.geteuid())}]
    if not missing:
        return Finding(what, OK, f"{name} has ranges")
    mend = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
    return Finding(what, LACK, f"{name} has no range in {' nor in '.join(missing)}", mend)


def _names_of(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return {line.partition(":")[0] for line in file}
    except OSError:
        return set()


def _idmapped_mounts() -> Finding:
    """Overlay shows layers with other owners without copying them, from Linux 5.19 on (mount_setattr(2))."""
    what = "idmapped mounts"
    if os.environ.get("_CONTAINERS_OVERLAY_DISABLE_IDMAP") == "yes":
        return Finding(what, LACK, "turned off by the environment", "unset _CONTAINERS_OVERLAY_DISABLE_IDMAP")
    if os.geteuid():
        return Finding(what, LACK, "only root can make them; layers are copied for other owners", "sudo layerlog doctor")
    release = os.uname().release
    version = tuple(int(part) if part.isdigit() else 0 for part in release.split("-")[0].split(".")[:2])
    if version < (5, 19):
        return Finding(what, LACK, f"Linux {release} has none for overlay (5.19 has); layers are copied for other owners")
    return Finding(what, OK, f"Linux {release} has them for overlay")


def _quota(existing: str) -> Finding:
    """Project quota, which a size limit of a container's layer needs (xfs(5), ext4(5))."""
    kind, options, point, device = _mount_of(existing)
    if kind not in ("xfs", "ext4"):
        return Finding("quota", LACK, f"none on {kind or 'this file system'} (xfs and ext4 have it)")
    if any(word.partition("=")[0] in ("prjquota", "pquota") for word in options):
        return Finding("quota", OK, f"project quota is on at {point}")
    mend = f"tune2fs -O project,quota {device}  # unmounted" if kind == "ext4" else f"mount -o remount,prjquota {point}"
    return Finding("quota", LACK, f"off at {point} ({kind}): sizes of containers cannot be limited", mend)


def _mount_of(path: str) -> tuple[str, list[str], str, str]:
    """Type, options, mount point and device of the file system that *path* lies in (proc_pid_mountinfo(5))."""
    real, best = os.path.realpath(path), ("", [""], "", "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            point = before.split()[4].encode("latin-1", "replace").decode("unicode_escape")
            if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[2]):
                kind, device, options = after.split(" ", 2)
                best = (kind, [*options.strip().split(","), *before.split()[5].split(",")], point, device)
    return best


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, PermissionError, ValueError):
        return None


def _reflinks(existing: str) -> Finding:
    import tempfile

    if not os.access(existing, os.W_OK):
        return Finding("reflinks", LACK, "cannot be tried here")
    with tempfile.NamedTemporaryFile(dir=existing) as one, tempfile.NamedTemporaryFile(dir=existing) as two:
        one.write(b"x" * 4096)
        one.flush()
        return _clone(one.fileno(), two.fileno())


def _clone(source: int, target: int) -> Finding:
    from layerlog.drivers.syscalls import clone_file

    try:
        clone_file(source, target)
    except OSError:
        return Finding("reflinks", LACK, "not on this file system: vfs copies whole files, dedup does nothing (xfs and btrfs can)")
    return Finding("reflinks", OK, "there: copies share their blocks")


def _program(name: str, what: str, package: str) -> Finding:
    from shutil import which

    path = which(name) or which(name, path="/usr/sbin:/sbin")
    return Finding(name, OK, path) if path else Finding(name, LACK, f"not installed ({what})", f"apt install {package}")


COMMANDS = (
    Command(
        "doctor",
        doctor,
        "Say what this host can do for a store",
        "",
        most=0,
        door=FRIENDLY,
        store=False,
        about="""Drivers, user namespaces, idmapped mounts, reflinks, quota, accelerators, room: what works, what is missing,
and the command that mends it. Changes nothing.""",
    ),
)
