"""Import a folder of the host as an image of one layer.

The folder becomes a tar as a layer's diff does (sorted, whole seconds, no user names), so that an unchanged
folder gives the same layer again, which is then stored once. The image's config is dated by the newest file in
it for the same reason.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from layerlog import change, oci
from layerlog.contents import Filled, unnamed_file
from layerlog.decide import images as decide
from layerlog.drivers.changes import ADD, MODIFY, compare
from layerlog.drivers.tarwrite import DiffWriter
from layerlog.drivers.trees import View
from layerlog.eventstore.errors import InvalidRequest
from layerlog.image_sources import machine_architecture
from layerlog.images_in import big_data_of
from layerlog.records import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from layerlog.core import Core
    from layerlog.drivers.changes import Change


def import_folder(core: Core, path: str, names: list[str]) -> Image:
    """See ``Store.import_folder``."""
    core.must_write()
    folder = os.path.realpath(path)
    if not os.path.isdir(folder):
        raise InvalidRequest(f"{path} is not a folder")
    if (os.path.realpath(core.root) + os.sep).startswith(folder.rstrip(os.sep) + os.sep):
        raise InvalidRequest(f"{path} holds the store itself")
    with unnamed_file(core.folder()) as spool:
        try:
            diff_id, size, newest = _spool(folder, spool)
        except OSError as unreadable:
            where = os.fsdecode(unreadable.filename) if isinstance(unreadable.filename, str | bytes) else path
            raise InvalidRequest(f"{where} cannot be read: {unreadable.strerror}") from unreadable
        return _commit(core, spool, diff_id, size, newest, names)


def _commit(core: Core, spool: BinaryIO, diff_id: str, size: int, newest: int, names: list[str]) -> Image:
    layer_id = oci.layer_id("", diff_id)
    with Filled(core, layer_id, "", "import", wait=True) as filled:
        made: list[Any] = []
        if core.layer_row(layer_id) is None:
            spool.seek(0)
            made.append({"id": layer_id, "parent": "", "contents": filled.apply(spool)})
            filled.place()
        manifest, config = _documents(diff_id, size, newest)
        items = big_data_of(core, manifest, config)
        image_id, digest = oci.digest_of(config).partition(":")[2], oci.digest_of(manifest)
        committed = change.commit(
            core,
            lambda rows: decide.loaded(rows, image_id, made, layer_id, names, big_data=items, digest=digest),
            f"import {image_id} {names}",
        )
    return Image(change.outcome(core, committed, "image", image_id))


def _spool(folder: str, spool: BinaryIO) -> tuple[str, int, int]:
    """Write a folder as a tar; its digest, its size, and the newest time in it (seconds since 1970)."""
    view = View([folder], overlay=False)
    newest = 0

    def watched() -> Iterator[Change]:
        nonlocal newest
        for found in compare(None, view):
            if found.kind in (ADD, MODIFY):
                newest = max(newest, int(os.lstat(os.fsencode(folder) + found.path).st_mtime))
            yield found

    digest, size = hashlib.sha256(), 0
    for piece in DiffWriter(view).run(watched()):
        digest.update(piece)
        size += len(piece)
        spool.write(piece)
    return "sha256:" + digest.hexdigest(), size, newest


def _documents(diff_id: str, size: int, newest: int) -> tuple[bytes, bytes]:
    """Manifest and config of an image of one layer."""
    created = datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = oci.to_json(
        {
            "architecture": machine_architecture(),
            "os": "linux",
            "created": created,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "created_by": "layerlog import"}],
        }
    )
    manifest = oci.to_json(
        {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "config": {"mediaType": oci.CONFIG, "digest": oci.digest_of(config), "size": len(config)},
            "layers": [{"mediaType": oci.LAYER_PLAIN, "digest": diff_id, "size": size}],
        }
    )
    return manifest, config
