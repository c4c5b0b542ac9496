"""How many bytes do some changes bring, in files and symlinks?"""

from __future__ import annotations

import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from layerlog.drivers.changes import Change


def size_of(changes: Iterable[Change]) -> int:
    """Sum over added and modified files; a symlink counts by the length of its target, hard links once, folders 0."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for change in changes:
        if change.node is None or stat.S_ISDIR(change.node.found.st_mode):
            continue
        found = change.node.found
        if found.st_nlink > 1:
            key = (found.st_dev, found.st_ino)
            if key in seen:
                continue
            seen.add(key)
        total += found.st_size
    return total
