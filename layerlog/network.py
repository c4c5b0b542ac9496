"""File systems that several machines share: the journal's locks, positions and flushes hold on one machine only."""

from __future__ import annotations

import os

from layerlog.drivers import syscalls
from layerlog.eventstore.errors import NotSupported

NAMES = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB 2",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
}
"""statfs(2), ``f_type``."""


class NetworkFileSystem(NotSupported):
    """Data: ``folder``, ``kind``."""

    message = "{folder} is on {kind}: locks and flushes of the journal hold on one machine only"
    hint = "give a --graph directory on a disk of this machine"


def refuse_network(folder: str) -> None:
    """Raise NetworkFileSystem when a store would be made on one. *folder*, or the nearest that is there above it, is asked."""
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kind = NAMES.get(syscalls.file_system_type(fd) & 0xFFFFFFFF)
    finally:
        os.close(fd)
    if kind:
        raise NetworkFileSystem(folder=folder, kind=kind)
