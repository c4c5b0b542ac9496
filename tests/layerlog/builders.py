"""Small tars and images, built here; every builder takes what a test wants to be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST, CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

BASE = {"etc/": None, "etc/motd": b"hello\n", "etc/old": b"old\n", "bin/": None, "bin/tool": b"#!/bin/sh\n"}
TOP = {"etc/.wh.old": b"", "etc/motd": b"good bye\n", "new": b"x" * 3000}


def tar(members: Mapping[str, bytes | str | None]) -> bytes:
    """A tar of files (bytes), symlinks (text) and folders (None), owned by whoever runs the tests."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.uid, member.gid, member.mtime = os.geteuid(), os.getegid(), 1_700_000_000
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI layout in memory: change ``blobs``, ``manifest`` or ``index`` before it is written."""

    def __init__(self, *layers: dict[str, Any], name: str = "built:1", packed: bool = True) -> None:
        plain = [tar(one) for one in layers or (BASE, TOP)]
        stored = [gzip.compress(one, mtime=0) if packed else one for one in plain]
        self.blobs = {digest(one): one for one in stored}
        self.diff_ids = [digest(one) for one in plain]
        self.config: dict[str, Any] = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": self.diff_ids}}
        kind = LAYER + ("+gzip" if packed else "")
        self.layers: list[dict[str, Any]] = [{"mediaType": kind, "digest": digest(one), "size": len(one)} for one in stored]
        self.name = name

    def add(self, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        """Store a blob; its descriptor."""
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    def manifest(self, **more: Any) -> dict[str, Any]:
        """Store config and manifest as they are now; the manifest's descriptor."""
        config = self.add(json.dumps(self.config).encode(), CONFIG)
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": self.layers}
        return self.add(json.dumps({**document, **more}).encode(), MANIFEST)

    def index(self) -> dict[str, Any]:
        """The index of one image."""
        return {
            "schemaVersion": 2,
            "manifests": [{**self.manifest(), "annotations": {"org.opencontainers.image.ref.name": self.name}}],
        }

    def write(self, folder: Path, index: bytes | None = None) -> str:
        """Write it; its path."""
        data = json.dumps(self.index()).encode() if index is None else index
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
        (folder / "index.json").write_bytes(data)
        for name, blob in self.blobs.items():
            (folder / "blobs" / "sha256" / name.partition(":")[2]).write_bytes(blob)
        return str(folder)


def docker_archive(layout: Layout, *tags: str) -> dict[str, bytes | str | None]:
    """Members of a docker-archive as ``docker save`` writes it: ``<id>/layer.tar``, the second of two equal layers a link."""
    config = json.dumps(layout.config).encode()
    members: dict[str, bytes | str | None] = {"config.json": config}
    names: list[str] = []
    seen: dict[str, str] = {}
    for place, diff_id in enumerate(layout.diff_ids):
        name = f"{place}/layer.tar"
        plain = next(data for blob in layout.blobs.values() if digest(data := _plain(blob)) == diff_id)
        members[name] = f"../{seen[diff_id]}" if diff_id in seen else plain
        seen.setdefault(diff_id, name)
        names.append(name)
    entry = {"Config": "config.json", "RepoTags": list(tags) or None, "Layers": names}
    return {**members, "manifest.json": json.dumps([entry]).encode()}


def _plain(blob: bytes) -> bytes:
    return gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob


def image_of(layout: Layout) -> str:
    """The image ID that a layout gives."""
    return digest(json.dumps(layout.config).encode()).partition(":")[2]
