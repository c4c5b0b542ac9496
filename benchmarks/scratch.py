"""A file system for one measurement, made anew each time.

On a much reused ext4 creating a file costs many times what it costs on a fresh one.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 4 << 30  # sparse


@contextmanager
def fresh_ext4(folder: str) -> Iterator[str]:
    """A mounted empty ext4 on a loop device below *folder*; unmounted and removed afterwards. Needs root."""
    disk, point = os.path.join(folder, "disk"), os.path.join(folder, "mnt")
    with open(disk, "wb") as file:
        file.truncate(SIZE)
    # Nothing is left for the kernel to initialise in the background while something else is measured.
    now = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    searched = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", now, disk], check=True, env=searched)
    os.makedirs(point, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", disk, point], check=True)
    try:
        os.sync()
        yield point
    finally:
        subprocess.run(["umount", "-R", point], check=True)
        os.unlink(disk)
