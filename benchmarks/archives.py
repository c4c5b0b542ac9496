"""The archives that the data path is measured with: a large root file system in three compressions, and very many small files."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import tarfile
from typing import IO

SMALL_FILES = 16_500
COPIES = 3  # of the real image of 127 MB, so that the layer is as large as that of a desktop's root
MTIME = 1_700_000_000


def make(folder: str, images: str) -> dict[str, str]:
    """Write the archives below *folder* (once): ``{"gzip": path, "plain": …, "zstd": …, "small files": …, "change": …}``."""
    paths = {name: os.path.join(folder, name.replace(" ", "-") + ".tar") for name in ("plain", "gzip", "zstd", "small files", "change")}
    real = real_layer(images)
    with open(paths["plain"], "wb") as out:
        (_copies(real, out) if real else _generated(out))
    subprocess.run(f"gzip -6 -n < {paths['plain']} > {paths['gzip']}", shell=True, check=True)
    subprocess.run(["zstd", "-q", "-3", "-f", paths["plain"], "-o", paths["zstd"]], check=True)
    with open(paths["small files"], "wb") as out:
        _small(out)
    with open(paths["change"], "wb") as out:
        _change(paths["plain"], out)
    return paths


def real_layer(images: str) -> str:
    """The gzip layer of the real image debian-min; empty when there is none."""
    layout = os.path.join(images, "debian-min", "oci")
    try:
        with open(os.path.join(layout, "index.json"), encoding="utf-8") as file:
            index = json.load(file)
        with open(_blob(layout, index["manifests"][0]["digest"]), encoding="utf-8") as file:
            return _blob(layout, json.load(file)["layers"][0]["digest"])
    except FileNotFoundError:
        return ""


def _blob(layout: str, digest: str) -> str:
    return os.path.join(layout, "blobs", *digest.split(":"))


def _copies(layer: str, out: IO[bytes]) -> None:
    """The real layer several times beside itself, each in a folder of its own."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for copy in range(COPIES):
            with gzip.open(layer) as packed, tarfile.open(fileobj=packed, mode="r|") as members:
                for member in members:
                    content = members.extractfile(member) if member.isreg() else None
                    member.name = os.path.normpath(f"root{copy}/{member.name}")
                    if member.islnk():
                        member.linkname = os.path.normpath(f"root{copy}/{member.linkname}")
                    archive.addfile(member, content)


def _generated(out: IO[bytes]) -> None:
    """About 400 MB in 19,000 paths with the sizes of a root file system: most files small, most bytes in large ones."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(3, 12)).hex().encode() for _ in range(4000)]
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in range(1500):
            _add_folder(archive, f"d{folder % 40:02}/s{folder:04}" if folder >= 40 else f"d{folder:02}")
            for number in range(12):
                size = int(min(chance.lognormvariate(7.8, 2.0), 40e6))
                content = b" ".join(chance.choices(words, k=size // 15 + 1))[:size] if size < 1 << 20 else chance.randbytes(size // 2) * 2
                _add_file(archive, f"d{folder % 40:02}/s{folder:04}/f{number}" if folder >= 40 else f"d{folder:02}/f{number}", content)


def _small(out: IO[bytes]) -> None:
    chance = random.Random(2)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(SMALL_FILES):
            if number % 33 == 0:
                _add_folder(archive, f"p{number // 33:03}")
            _add_file(archive, f"p{number // 33:03}/m{number}.py", chance.randbytes(chance.randrange(0, 2000)).hex().encode()[:1999])


def _change(plain: str, out: IO[bytes]) -> None:
    """A layer on top of the large one: every tenth file again, every twentieth gone."""
    with tarfile.open(plain) as members, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, member in enumerate(m for m in members if m.isreg()):
            if number % 20 == 0:
                parent, _, base = member.name.rpartition("/")
                _add_file(archive, f"{parent}/.wh.{base}", b"")
            elif number % 10 == 0:
                member.mtime += 5
                archive.addfile(member, members.extractfile(member))


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, MTIME
    archive.addfile(member)


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(content), MTIME
    archive.addfile(member, io.BytesIO(content))
