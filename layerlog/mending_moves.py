"""What a mended store does not claim goes to ``lost+found/``; what it claims and has in the trash only comes back.

Worked out from the rows that the new journal will give, before anything is moved.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from layerlog.eventstore import disk
from layerlog.eventstore.leases import Leases
from layerlog.eventstore.safety import names_in
from layerlog.projections import trash
from layerlog.projections.items import every, get
from layerlog.projections.keys import prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from layerlog.drivers.driver import Driver
    from layerlog.eventstore.rows import Rows
    from layerlog.mending import Mending

SUPERSEDED = ".superseded."


class Move:
    """One thing that is moved: in words, and how. May be repeated."""

    __slots__ = ("act", "words")

    def __init__(self, words: str, act: Callable[[], object]) -> None:
        self.words, self.act = words, act


def moves(found: Mending, rows: Rows, mentioned: set[str]) -> list[Move]:
    """Everything that is on disk and that *rows* do not claim. *mentioned*: blobs that some readable commit refers to."""
    return [*_trash(found, rows), *_staged(found, rows), *_blobs(found, rows, mentioned), *_folders(found, rows)]


def _trash(found: Mending, rows: Rows) -> Iterator[Move]:
    driver = found.driver
    claimed = {trash.entry_name(row["sequence"], row["id"]) for row in trash.every(rows) if row["kept"]}
    missing = without_files(driver, rows)
    for entry in sorted(driver.trash(), key=_age, reverse=True):
        layer_id = entry.partition("-")[2]
        if entry in claimed:
            continue
        if layer_id in missing:
            missing.discard(layer_id)
            words = f"layer {layer_id}: the record of its deletion is lost; it comes back from the trash"
            yield Move(words, partial(_bring_back, driver, entry, layer_id))
        else:
            words = f"trash/{entry}: no deletion claims it; to lost+found"
            yield Move(words, partial(_lose, driver, "trash", entry))


def without_files(driver: Driver, rows: Rows) -> set[str]:
    """Layers that claim contents and have no folder."""
    return {row["id"] for row in every(rows, "layer") if ("contents" in row or "opened" in row) and not driver.exists(row["id"])}


def _age(entry: str) -> int:
    number = entry.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _bring_back(driver: Any, entry: str, layer_id: str) -> None:
    if driver.in_trash(entry) and not driver.exists(layer_id):
        driver.bring_back(entry, layer_id)


def _staged(found: Mending, rows: Rows) -> Iterator[Move]:
    """What recovery will settle by its lease stays for it."""
    driver = found.driver
    notes = {name: note for name, _, note in Leases(os.path.join(found.folder, "leases"))._all()}
    for name in [*driver.staged(), *(SUPERSEDED + one for one in driver.superseded())]:
        layer_id = name.removeprefix(SUPERSEDED)
        row = get(rows, "layer", layer_id)
        if row is not None and layer_id in notes and row["generation"] == notes[layer_id].get("generation", -1):
            continue
        yield Move(f"staging/{name}: nothing claims it; to lost+found", partial(_lose, driver, "staging", name))


def _lose(driver: Any, *parts: str) -> None:
    if os.path.lexists(os.path.join(driver.home, *parts)):
        driver.lose_other(*parts)


def _blobs(found: Mending, rows: Rows, mentioned: set[str]) -> Iterator[Move]:
    for digest in found.blobs.digests():
        if digest not in mentioned and next(rows.keys(prefix("blob", digest)), None) is None:
            path = found.blobs.path(digest)
            yield Move(f"data item {digest}: no record refers to it; to lost+found", partial(_aside, found, path, "blobs"))


def _folders(found: Mending, rows: Rows) -> Iterator[Move]:
    """Folders of containers and images for their users' own files."""
    for kind in ("container", "image"):
        parent = os.path.join(found.root, f"{found.driver_name}-{kind}s")
        for item_id in names_in(parent):
            if get(rows, kind, item_id) is None:
                path = os.path.join(parent, item_id)
                words = f"the own folder of {kind} {item_id}: no record of it; to lost+found"
                yield Move(words, partial(_aside, found, path, f"{kind}s"))


def _aside(found: Mending, path: str, below: str) -> None:
    """Move a file or folder below the ledger's ``lost+found/``."""
    if not os.path.lexists(path):
        return
    folder = os.path.join(found.folder, "lost+found", below)
    disk.make_folders_below(found.folder, folder)
    place = os.path.join(folder, os.path.basename(path))
    count = 1
    while os.path.lexists(place):
        count += 1
        place = os.path.join(folder, f"{os.path.basename(path)}.{count}")
    disk.rename(path, place)
    disk.sync_folder(folder)
