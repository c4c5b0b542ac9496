"""A real multi-layer OCI image made of files that every host with Python has: its standard library.

Pure Python, no root, no network: `tarfile`, `gzip` and `hashlib` write an image layout that skopeo, umoci and podman read
as well. The layers do what layers of real images do: they replace files, remove files and folders (whiteouts), hide a
folder's old contents (an opaque directory), and carry hard links, symbolic links and owners.

Source: OCI image-spec v1.1, image-layout.md, layer.md, config.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import sysconfig
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREATED = "2026-01-01T00:00:00Z"  # fixed, so that the same host gives the same digests each time
MTIME = 1_767_225_600  # the same moment, in seconds
LAYER_MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PACKAGES = "asyncio collections concurrent ctypes curses distutils email encodings html http importlib json lib2to3 logging".split()
MORE_PACKAGES = "multiprocessing pydoc_data re sqlite3 tomllib unittest urllib wsgiref xml zoneinfo".split()


class Layer(NamedTuple):
    """One finished layer: the descriptor for the manifest, and what the configuration says of it."""

    digest: str
    size: int
    diff_id: str
    created_by: str


class LayerTar:
    """The tar of one layer while it is written: members with fixed times and modes, so that it is reproducible."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - finish() closes it

    def _add(self, name: str, kind: bytes, *, mode: int, data: bytes = b"", target: str = "", owner: int = 0) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname = kind, mode, target
        member.uid = member.gid = owner
        member.mtime, member.size = MTIME, len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def folder(self, name: str, mode: int = 0o755) -> None:
        """A directory entry."""
        self._add(name.rstrip("/") + "/", tarfile.DIRTYPE, mode=mode)

    def file(self, name: str, data: bytes, mode: int = 0o644, owner: int = 0) -> None:
        """A regular file."""
        self._add(name, tarfile.REGTYPE, mode=mode, data=data, owner=owner)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._add(name, tarfile.SYMTYPE, mode=0o777, target=target)

    def hard_link(self, name: str, target: str) -> None:
        """A second name of a file that is already in this tar."""
        self._add(name, tarfile.LNKTYPE, mode=0o644, target=target)

    def whiteout(self, name: str) -> None:
        """Remove *name* as the layers below have it."""
        head, _, tail = name.rpartition("/")
        self.file(f"{head}/.wh.{tail}", b"", mode=0)

    def opaque(self, name: str) -> None:
        """Hide whatever the layers below have in the folder *name*."""
        self.folder(name)
        self.file(f"{name}/.wh..wh..opq", b"", mode=0)

    def finish(self) -> bytes:
        """The whole archive."""
        self._tar.close()
        return self._buffer.getvalue()


def host_files(folder: Path, under: str) -> Iterator[tuple[str, bytes, int]]:
    """Regular files below *folder* as (name in the image, contents, mode), sorted, without caches and test suites."""
    for directory, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(s for s in subfolders if s not in {"__pycache__", "test", "tests", "idlelib", "site-packages"})
        for name in sorted(files):
            path = Path(directory, name)
            if path.is_file() and os.access(path, os.R_OK) and not name.endswith((".pyc", ".a")):
                yield f"{under}/{path.relative_to(folder).as_posix()}", path.read_bytes(), 0o644


class Recipe:
    """What goes into which layer; *library* is the host's standard library, *inside* its place in the image."""

    def __init__(self) -> None:
        self.library = Path(sysconfig.get_path("stdlib"))
        self.inside = f"usr/lib/{self.library.name}"

    def base(self, tar: LayerTar) -> None:
        """A small root file system: folders, os-release, the modules of the library that are single files."""
        for name in ("app", "bin", "etc", "tmp", "usr", "usr/bin", "usr/lib", self.inside):
            tar.folder(name, 0o1777 if name == "tmp" else 0o755)
        release = Path("/etc/os-release")
        tar.file("etc/os-release", release.read_bytes() if release.is_file() else b'ID=unknown\nNAME="a host"\n')
        tar.file("etc/motd", b"Nothing is installed yet.\n")
        tar.link("bin/python", f"../{self.inside}")
        for path in sorted(self.library.glob("*.py")):
            tar.file(f"{self.inside}/{path.name}", path.read_bytes())
        tar.hard_link(f"{self.inside}/site-again.py", f"{self.inside}/site.py")

    def packages(self, tar: LayerTar) -> None:
        """The packages of the library, and its extension modules."""
        for package in (*PACKAGES, *MORE_PACKAGES, "lib-dynload"):
            if (self.library / package).is_dir():
                tar.folder(f"{self.inside}/{package}")
                for name, data, mode in host_files(self.library / package, f"{self.inside}/{package}"):
                    tar.file(name, data, mode)

    def slim(self, tar: LayerTar) -> None:
        """What a careful image builder takes away again: one file, one folder, the contents of another."""
        tar.whiteout(f"{self.inside}/turtle.py")
        tar.whiteout(f"{self.inside}/pydoc_data")
        tar.opaque(f"{self.inside}/unittest")
        tar.file(f"{self.inside}/unittest/__init__.py", b'"""Tests run elsewhere."""\n')
        tar.file("etc/motd", b"Slim Python. Tests run elsewhere.\n")

    def app(self, tar: LayerTar) -> None:
        """The program itself, owned by a user of its own."""
        tar.file("app/main.py", b'import json, platform\nprint(json.dumps({"python": platform.python_version()}))\n', 0o755)
        tar.file("app/settings.toml", b"[server]\nport = 8080\nworkers = 2\n", owner=1000)
        tar.link("usr/bin/app", "../../app/main.py")

    def layers(self) -> list[tuple[str, Callable[[LayerTar], None]]]:
        """(what the history says, what writes it), lowest first."""
        return [
            (f"COPY {self.library.name}/*.py /{self.inside}/", self.base),
            (f"COPY {self.library.name}/ /{self.inside}/", self.packages),
            ("RUN rm -r turtle.py pydoc_data unittest/*", self.slim),
            ("COPY app /app", self.app),
        ]


class Layout:
    """An OCI image layout on disk; blobs are written under the digest of their bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')

    def blob(self, data: bytes) -> tuple[str, int]:
        """Store *data*; its digest and size."""
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(data)
        return f"sha256:{digest}", len(data)

    def document(self, media_type: str, document: dict[str, object]) -> dict[str, object]:
        """Store a JSON document; its descriptor."""
        digest, size = self.blob(json.dumps(document, indent=2).encode())
        return {"mediaType": media_type, "digest": digest, "size": size}

    def layer(self, tar: bytes, created_by: str) -> Layer:
        """Store a layer, gzip-compressed without a name or a time in its header."""
        digest, size = self.blob(gzip.compress(tar, compresslevel=6, mtime=0))
        return Layer(digest, size, f"sha256:{hashlib.sha256(tar).hexdigest()}", created_by)


def configuration(layers: list[Layer]) -> dict[str, object]:
    """The image's config document: what would run, and which uncompressed layers it stands on."""
    return {
        "created": CREATED,
        "architecture": MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": ["python3", "/app/main.py"], "WorkingDir": "/app", "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": CREATED, "created_by": layer.created_by} for layer in layers],
    }


def build(folder: Path, name: str, *, more: bytes = b"") -> Path:
    """Write the image as an OCI layout into the new *folder* and return it; *name* becomes its reference name.

    With *more*, each layer gets a file with those bytes: another image, of which no layer is stored yet.
    """
    layout = Layout(folder)
    layers: list[Layer] = []
    for created_by, write in Recipe().layers():
        tar = LayerTar()
        write(tar)
        if more:
            tar.file(f"etc/more-{len(layers)}", more)
        layers.append(layout.layer(tar.finish(), created_by))
    config = layout.document("application/vnd.oci.image.config.v1+json", configuration(layers))
    manifest = layout.document(
        "application/vnd.oci.image.manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [{"mediaType": LAYER_MEDIA_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers],
        },
    )
    index = {"schemaVersion": 2, "manifests": [{**manifest, "annotations": {"org.opencontainers.image.ref.name": name}}]}
    (folder / "index.json").write_text(json.dumps(index, indent=2))
    return folder
