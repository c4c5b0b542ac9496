"""File systems on recorded and on rebuilt disks: made, mounted, and taken down again whatever happens."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.device import recording

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
KINDS = {
    "ext4": (48, "mkfs.ext4 -q -F -b 4096 -E lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": (320, "mkfs.xfs -q -f"),
    "btrfs": (160, "mkfs.btrfs -q -f"),
}
"""Smallest sensible size in MiB, and what makes it."""
_BLKFLSBUF = 0x1261  # linux/fs.h
_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class NotHere(Exception):
    """This machine cannot: no root, no /dev/fuse, no loop device, no such file system. Says which."""


def make(kind: str, image: str) -> None:
    """A fresh file system of *kind* in the file *image*. Raises NotHere where its program is not installed."""
    size, program = KINDS[kind]
    with open(image, "wb") as file:
        file.truncate(size * MIB)
    if shutil.which(program.split()[0], path=_PATH["PATH"]) is None:
        raise NotHere(f"kernel has {kind} but {program.split()[0]} is not installed")
    subprocess.run([*program.split(), image], check=True, env=_PATH, stdout=subprocess.DEVNULL)


@contextmanager
def mounted(image: str, point: str, options: str = "", direct: bool = False) -> Iterator[None]:
    """*image* on a loop device of its own, mounted on *point*. *direct*: past the page cache, so that each write arrives as it was made."""
    with ExitStack() as stack:
        attach = ["losetup", "-f", "--show", *(["--direct-io=on"] if direct else []), image]
        device = _run(attach, f"kernel refuses a loop device for {image}").strip()
        stack.callback(subprocess.run, ["losetup", "-d", device], check=False, env=_PATH)
        _forget_cached(device)
        _run(["mount", *(["-o", options] if options else []), device, point], f"kernel refuses to mount {image}")
        stack.callback(_unmount, point)
        yield


@contextmanager
def prepared(kind: str, image: str, point: str) -> Iterator[None]:
    """A fresh file system of *kind*, mounted on *point* to be filled; what is in it then is in the file *image*.

    A copy is: a process that made a mount namespace of its own meanwhile still has the file system mounted, and writes to it.
    """
    making = f"{image}.making"
    make(kind, making)
    with mounted(making, point):
        yield
        _sync(point)
    copy(making, image)
    os.unlink(making)


def _sync(point: str) -> None:
    fd = os.open(point, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            raise OSError(ctypes.get_errno(), "syncfs", point)
    finally:
        os.close(fd)


def _forget_cached(device: str) -> None:
    """A loop device that is used again may still have its last disk's blocks in the page cache, where btrfs looks for its superblock."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _BLKFLSBUF)
    finally:
        os.close(fd)


def _run(command: list[str], refused: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, env=_PATH)
    if ended.returncode:
        raise NotHere(f"{refused}: {ended.stderr.strip()}")
    return ended.stdout


def _unmount(point: str) -> None:
    """Everything mounted on or below *point*, newest first; whoever still looks at it is not waited for."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split()[4] for line in file]
    for one in reversed([one for one in points if one == point or one.startswith(point + "/")]):
        if subprocess.run(["umount", one], check=False, env=_PATH, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(["umount", "-l", one], check=False, env=_PATH)


class Disk:
    """A mounted recorded disk: where it is mounted, and marks for its log."""

    def __init__(self, point: str, marks: int) -> None:
        self.point, self._marks = point, marks

    def mark(self, text: bytes) -> None:
        """Write *text* into the log, after everything that reached the device so far."""
        os.pwrite(self._marks, text, 0)


@contextmanager
def recorded(base: str, log: str, folder: str, options: str = "") -> Iterator[Disk]:
    """The file system in the image *base*, which stays as it is, mounted on a device that writes down into *log* what reaches it.

    The log is whole when this returns; unmounting writes too, so count only what stands before the last mark.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    fuse, point = os.path.join(folder, "fuse"), os.path.join(folder, "point")
    for one in (fuse, point):
        os.makedirs(one, exist_ok=True)
    with ExitStack() as stack:
        root = Path(__file__).resolve().parents[3]
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.device.fuse", base, log, fuse],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        stack.callback(_end, server)
        assert server.stdout is not None
        if server.stdout.readline() != b"ready\n":
            raise NotHere("kernel refuses a FUSE file system")
        stack.callback(_unmount, fuse)
        marks = os.open(os.path.join(fuse, "mark"), os.O_WRONLY | os.O_CLOEXEC)
        stack.callback(os.close, marks)
        stack.enter_context(mounted(os.path.join(fuse, "disk"), point, options, direct=True))
        yield Disk(point, marks)


def _end(server: subprocess.Popen[bytes]) -> None:
    """It ends by itself when its file system is unmounted."""
    assert server.stdout is not None
    server.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        server.wait(20)
        return
    server.kill()
    server.wait()


class Platter:
    """What is safely on the disk so far: *base*, and what each cut in turn had flushed."""

    def __init__(self, base: str, folder: str) -> None:
        self.image, self.disk, self.point = (os.path.join(folder, name) for name in ("platter", "rebuilt", "rebuilt.point"))
        os.makedirs(self.point, exist_ok=True)
        copy(base, self.image)

    def advance(self, cut: recording.Cut) -> None:
        """Add what is flushed at *cut*; each cut once, in order."""
        fd = os.open(self.image, os.O_WRONLY)
        recording.lay(fd, cut.flushed)
        os.close(fd)

    @contextmanager
    def rebuilt(self, writes: recording.Writes, options: str = "") -> Iterator[str]:
        """A disk with *writes* besides, mounted: its path. Changes to it are lost. Raises NotHere if the file system itself is gone."""
        copy(self.image, self.disk)
        fd = os.open(self.disk, os.O_WRONLY)
        recording.lay(fd, writes)
        os.close(fd)
        with mounted(self.disk, self.point, options):
            yield self.point

    def clear(self) -> None:
        """Remove the images."""
        for one in (self.image, self.disk):
            with suppress(FileNotFoundError):
                os.unlink(one)


def copy(source: str, target: str) -> None:
    """A sparse copy of an image, in a new file.

    In the old one the file system before may still be alive, in a mount namespace that somebody made while it was mounted,
    and write into the new disk what its own journal says: one disk in some hundred was seen to be spoilt so.
    """
    subprocess.run(["cp", "--remove-destination", "--sparse=always", "--reflink=auto", source, target], check=True, env=_PATH)


@contextmanager
def neighbour(point: str) -> Iterator[None]:
    """Somebody else on the same file system, who writes a file now and then and syncs everything."""
    pid = os.fork()
    if pid == 0:
        try:
            _bustle(point)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _bustle(point: str) -> None:
    libc, folder, number = ctypes.CDLL(None), os.open(point, os.O_RDONLY), 0
    while True:
        number += 1
        path = os.path.join(point, f"neighbour-{number % 3}")
        with open(path + ".new", "wb") as file:
            file.write(os.urandom(3000))
        os.rename(path + ".new", path)
        if number % 2:
            libc.syncfs(folder)
        time.sleep(0.004)
