"""Bytes on disk, for what no record tells."""

from __future__ import annotations

import os


def bytes_below(folder: str) -> int:
    """Bytes of the files below a folder; what goes away meanwhile counts for nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                continue
    return total
