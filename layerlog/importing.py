"""Import a folder of the host, or a tar of a root file system, as an image of one layer more than its parent.

The tar is made, or read, twice: once for the digest from which the layer's ID follows, once to unpack. Both must be the
same bytes, so that what changes meanwhile is noticed. An unchanged folder gives the same layer again, which is then
stored once, and the same image: its config is dated by the newest file in it.
"""

from __future__ import annotations

import io
import os
import stat
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from attrs import field, frozen

from layerlog import change, oci
from layerlog.committing import Added, documents
from layerlog.contents import Filled, unnamed_file
from layerlog.decide import images as decide
from layerlog.decide.common import lookup
from layerlog.decide.layers import parent_of_new
from layerlog.drivers import compression
from layerlog.drivers.applying import Applied, Unpacking
from layerlog.eventstore.errors import DuplicateID, InvalidRequest
from layerlog.images_in import Quiet, big_data_of
from layerlog.import_sources import FolderSource, TarSource, make_holes
from layerlog.projections import layers as layer_rows
from layerlog.records import Image

if TYPE_CHECKING:
    from layerlog.core import Core
    from layerlog.images_in import Progress
    from layerlog.import_sources import ImportSource

_COPY_BYTES = 1 << 20
_PACKED = {compression.GZIP: "+gzip", compression.ZSTD: "+zstd"}


@frozen
class Wanted:
    """What to make of it: *names* of the image, its *parent* (an image or a layer), and what its config says."""

    names: list[str]
    parent: str = ""
    changes: list[str] = field(factory=list)
    """Instructions as a Dockerfile has them (``CMD ["/bin/sh"]``, ``ENV A=1``): layerlog/image_changes.py."""
    message: str = ""
    platform: str = ""


def import_dir(core: Core, path: str, wanted: Wanted, progress: Progress | None = None) -> Image:
    """See ``Store.import_dir``."""
    core.must_write()
    folder = os.path.realpath(path)
    if not os.path.isdir(folder):
        raise InvalidRequest(f"{path} is not a folder")
    if (os.path.realpath(core.root) + os.sep).startswith(folder.rstrip(os.sep) + os.sep):
        raise InvalidRequest(f"{path} holds the store itself")
    return _import(core, FolderSource(folder, with_root=not wanted.parent), wanted, progress or Quiet())


def import_tar(core: Core, file: IO[bytes], wanted: Wanted, progress: Progress | None = None) -> Image:
    """See ``Store.import_tar``."""
    core.must_write()
    with ExitStack() as stack:
        if not _is_plain_file(file):
            spool = stack.enter_context(unnamed_file(core.folder()))
            while data := file.read(_COPY_BYTES):
                spool.write(data)
            spool.seek(0)
            file = spool
        if not file.read(1):
            raise InvalidRequest("nothing to import: the archive is empty")
        file.seek(-1, io.SEEK_CUR)
        return _import(core, TarSource(file), wanted, progress or Quiet())


def _is_plain_file(file: IO[bytes]) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, AttributeError, io.UnsupportedOperation):
        return isinstance(file, io.BytesIO)


@frozen
class _Parent:
    """What a new layer stands on: its chain, nearest first, and the image that brings a config, if it is one."""

    chain: list[str]
    image: dict[str, Any] | None


def _parent(core: Core, asked: str) -> _Parent:
    if not asked:
        return _Parent([], None)
    with core.reading() as rows:
        image = lookup(rows, "image", asked)
        layer = parent_of_new(rows, asked) if image is None else None
        top = layer["id"] if layer is not None else (image or {}).get("layer", "")
        return _Parent([top, *layer_rows.chain(rows, top)] if top else [], image)


def _import(core: Core, source: ImportSource, wanted: Wanted, progress: Progress) -> Image:
    from layerlog.image_changes import changed, checked

    instructions = checked(wanted.changes)  # a mistake is told before anything is read
    under = _parent(core, wanted.parent)
    added = _measure(core, source, progress)
    parent = under.chain[0] if under.chain else ""
    layer_id = oci.layer_id(parent, added.diff_id)
    with Filled(core, layer_id, parent, "import", wait=True) as filled:
        made: list[Any] = []
        present = core.layer_row(layer_id)
        if present is not None and present.get("contents", {}).get("diff_digest") != added.diff_id:
            raise DuplicateID(kind="layer", id=layer_id)  # somebody gave another layer this ID
        progress.layer(0, 1, added.diff_id, added.size, present is not None)
        if present is None:
            made.append({"id": layer_id, "parent": parent, "contents": _fill(filled, source, added, progress)})
            filled.place()
        history = {"created": _date(source.newest), "created_by": "layerlog import", "comment": wanted.message}
        new_config = partial(changed, instructions=instructions, platform=wanted.platform)
        manifest, config = documents(core, under.image, under.chain, added, history, new_config)
        items = big_data_of(core, manifest, config)
        image_id, digest = oci.digest_of(config).partition(":")[2], oci.digest_of(manifest)
        committed = change.commit(
            core,
            lambda rows: decide.loaded(rows, image_id, made, layer_id, wanted.names, big_data=items, digest=digest),
            f"import {image_id} {wanted.names}",
        )
    return Image(change.outcome(core, committed, "image", image_id))


def _measure(core: Core, source: ImportSource, progress: Progress) -> Added:
    """Read the whole tar once, without a look at its members: what the layer is to be called and described as."""
    progress.reading()
    unpacking = Unpacking(source.stream(), core.limits, progress.advance)
    found = Applied()
    try:
        for _ in unpacking:
            pass
        unpacking.report(found)
    finally:
        unpacking.close()
    progress.left_out(source.left_out)
    kind = _PACKED.get(found.compression)
    if kind is None:  # bzip2 and xz are no layers of an image: described as what they unpack to
        return Added(found.diff_digest, oci.LAYER_PLAIN, found.diff_digest, found.diff_size)
    return Added(found.diff_digest, oci.LAYER_PLAIN + kind, found.compressed_digest, found.compressed_size)


def _fill(filled: Filled, source: ImportSource, added: Added, progress: Progress) -> Any:
    """Unpack the tar, read once more. Raises InvalidRequest when it is not what it was."""
    contents = filled.apply(source.stream(), progress.advance, progress.left_out)
    if contents["diff_digest"] != added.diff_id:
        raise InvalidRequest("what is imported changed while it was read; nothing was imported")
    if source.sparse:
        make_holes(filled.staged.root, source.sparse)
    return contents


def _date(newest: int | None) -> str:
    return datetime.fromtimestamp(time.time() if newest is None else newest, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
