"""The store that every crash test starts from.

Small on purpose: a state is copied, run, killed and judged some thousand times. IDs are given or drawn from a seed,
so that the same operation makes the same records each time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from typing import Any

from layerlog import Store
from layerlog.eventstore.errors import StoreError

UID, GID = os.geteuid(), os.getegid()
WHEN = 1_700_000_000
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def tar(*members: tuple[str, object]) -> bytes:
    """A tar of ours: text is a file, None a folder, ``("->", target)`` a symlink, ``("=", target)`` a hard link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in members:
            member = tarfile.TarInfo(name)
            member.uid, member.gid, member.mtime, member.mode = UID, GID, WHEN, 0o644
            if what is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            elif isinstance(what, tuple):
                member.type = tarfile.SYMTYPE if what[0] == "->" else tarfile.LNKTYPE
                member.linkname = what[1]
                archive.addfile(member)
            else:
                data = what if isinstance(what, bytes) else str(what).encode()
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def every_kind() -> bytes:
    """A tar whose unpacking makes every system call that unpacking can make."""
    from tests.drivers import tars

    own: dict[str, Any] = {"uid": UID, "gid": GID, "mtime": WHEN}
    special = [tars.device(b"null", 1, 3), tars.file(b"owned", b"x", uid=7, gid=8, mode=0o4711)] if UID == 0 else []
    sparse = tars.pax(
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"holes", b"GNU.sparse.realsize": b"90000"}
    )
    return tars.archive(
        tars.folder(b"etc", 0o750, **own),
        tars.whiteout(b"etc/group"),
        tars.file(b"etc/motd", b"hello", {b"SCHILY.xattr.user.k": b"v"}, **own),
        tars.opaque(b"var"),
        tars.file(b"implied/by/this", b"x" * 600, mode=0o666, **own),
        tars.symlink(b"link", b"nowhere"),
        tars.hard_link(b"var/hard", b"etc/motd"),
        tars.fifo(b"pipe"),
        sparse + tars.header(b"x", size=512 + 3, **own) + tars.padded(b"1\n80000\n3\n") + tars.padded(b"end"),
        tars.file(b"twice", b"first", **own),
        tars.file(b"twice", b"second", **own),
        *special,
    )


BASE = tar(
    ("etc", None),
    ("etc/passwd", "root:x:0:0\n"),
    ("bin", ("->", "usr/bin")),
    ("usr", None),
    ("usr/tool", "x" * 5000),
    ("usr/same", ("=", "usr/tool")),
)
MIDDLE = tar(("etc", None), ("etc/.wh.passwd", ""), ("etc/group", "root:x:0:\n"), ("var", None), ("var/data", "d" * 700))
OTHER = tar(("srv", None), ("srv/page", "hello\n" * 20))
EVERY_KIND = every_kind()
FIRST_OF_IMAGE = tar(("opt", None), ("opt/a", "a" * 900))
SECOND_OF_IMAGE = tar(("opt", None), ("opt/.wh.a", ""), ("opt/b", "b" * 1300))


def make_layout(folder: str) -> None:
    """An OCI layout of two gzip layers, and in it a folder of the host to be imported."""
    blobs = os.path.join(folder, "blobs", "sha256")
    os.makedirs(blobs)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digits = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digits), "wb") as file:
            file.write(data)
        return {"mediaType": kind, "digest": f"sha256:{digits}", "size": len(data)}

    tars = [FIRST_OF_IMAGE, SECOND_OF_IMAGE]
    layers = [blob(gzip.compress(one, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip") for one in tars]
    diff_ids = ["sha256:" + hashlib.sha256(one).hexdigest() for one in tars]
    config = blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode(), CONFIG)
    manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode(), MANIFEST)
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "loaded:1"}}
    with open(os.path.join(folder, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [named]}, file)
    os.makedirs(os.path.join(folder, "folder", "inner"))
    _write(os.path.join(folder, "folder", "inner"), "other", "of the host too")
    _write(os.path.join(folder, "folder"), "file", "of the host")
    with open(os.path.join(folder, "oci-layout"), "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)


def folder() -> str:
    """The folder of the host, for ``import_dir``."""
    return os.path.join(LAYOUT, "folder")


def make_store(root: str, driver: str) -> None:
    """The store at the beginning of every test."""
    with Store(root, driver=driver, actor="laboratory") as store:
        store.import_layer(io.BytesIO(BASE), id="base", names=["base-name"])
        store.import_layer(io.BytesIO(MIDDLE), "base", id="middle")
        store.create_layer("middle", id="blank")
        store.create_image("middle", id="image", names=["app:1"], big_data={"extra": b'{"schemaVersion":2}', "note": b"n" * 3000})
        store.create_container("image", id="box", name="box-name", metadata="{}")
        write_into(store, "box", "written", "by a program")
        store.import_layer(io.BytesIO(OTHER), id="other")
        store.import_layer(io.BytesIO(OTHER), "base", id="thrown")
        store.create_image("thrown", id="thrown-image", names=["old:1"], big_data={"note": b"gone" * 50})
        store.delete_image("thrown-image")
        store.create_layer(id="thrown-empty", names=["nothing"])
        store.delete_layer("thrown-empty")
        store.create_layer("base", id="alone")
        store.import_layer(io.BytesIO(MIDDLE), "base", id="middle-copy")
        store.set_big_data("image", "image", "old", b"replaced later")
        store.remove_big_data("image", "image", "old")


def write_into(store: Store, asked: str, name: str, text: str) -> None:
    """What a program does in a mounted container."""
    program(store.mount(asked), name, text)
    store.unmount(asked)


def program(root: str, name: str, text: str) -> None:
    """A program that writes one file, at a time that is always the same, so that the diff is too.

    Raises ProgramFailed when the laboratory makes one of its own calls fail: nothing that a store could help.
    """
    try:
        _write(root, name, text)
    except OSError as error:
        raise ProgramFailed(str(error)) from error


class ProgramFailed(StoreError):
    """The user's own program failed, not the store."""


def _write(root: str, name: str, text: str) -> None:
    os.chmod(root, 0o755)
    path = os.path.join(root, name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, text.encode())
    os.close(fd)
    os.utime(path, (WHEN, WHEN))
    os.utime(root, (WHEN, WHEN))


LAYOUT = ""
"""Where the OCI layout for ``load`` is; set by the fixture that made it."""
