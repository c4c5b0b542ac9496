"""The run journal: the same journal in the run root, for what ends with the boot. DESIGN §4.

Its genesis names the boot; one of another boot is void. Nothing in it is ever synced.
"""

from __future__ import annotations

import os

from layerlog.eventstore import codec, disk, segments
from layerlog.eventstore.damage import Damage, Walk
from layerlog.eventstore.envelope import process_facts
from layerlog.eventstore.errors import StoreError
from layerlog.eventstore.journal import GENESIS, LOCK, make_first_segment
from layerlog.eventstore.locks import FileLock
from layerlog.eventstore.position import boot_id
from layerlog.eventstore.reading import POSITION, SEGMENTS
from layerlog.eventstore.safety import names_in


def prepare(folder: str) -> None:
    """Have a run journal of this boot in *folder*: made when missing, replaced when its boot is over."""
    if is_of_this_boot(folder):
        return
    disk.make_folders(folder)
    with FileLock(os.path.join(folder, LOCK)):
        if not is_of_this_boot(folder):
            _clear(folder)
            event = {"type": "RunStarted", "boot": boot_id().hex()}
            make_first_segment(folder, codec.Encoder().encode([event], process_facts()), durable=False)


def is_of_this_boot(folder: str) -> bool:
    """Whether the genesis of the journal there names this boot. A damaged one is of no boot."""
    try:
        listing = segments.listing(os.path.join(folder, SEGMENTS))
    except FileNotFoundError:
        return False
    if not listing or listing[0][0] != 1:
        return False
    fd = disk.open_to_read(os.path.join(folder, SEGMENTS, listing[0][2]))
    try:
        return _boot_in_genesis(fd) == boot_id().hex()
    except StoreError:
        return False
    finally:
        os.close(fd)


def _boot_in_genesis(fd: int) -> str:
    segment = segments.parse(os.pread(fd, segments.HEADER_BYTES, 0), "")
    if segment is None:
        return ""
    for frame in Walk(fd, segment.start(), os.fstat(fd).st_size, segment.journal_id[:8], proven=False):
        if isinstance(frame, Damage) or not frame.payload:
            return ""
        return str(codec.decode(frame.payload)["events"][0].get("boot", ""))
    return ""


def _clear(folder: str) -> None:
    for name in (POSITION, GENESIS):
        disk.unlink(os.path.join(folder, name))
    for below in (SEGMENTS, "checkpoints"):
        path = os.path.join(folder, below)
        for name in names_in(path):
            disk.unlink(os.path.join(path, name))
