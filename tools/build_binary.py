"""Build bin/layerlog: one executable file that needs nothing but python3 >= 3.11.

    python tools/build_binary.py [OUTPUT]

A zipapp with layerlog and the pure-Python packages it needs, taken from where this interpreter imports them. What is
compiled (codecs, checksums) is left out: layerlog then uses the standard library or says what it cannot do. Inside, only
the file itself and the standard library are importable, so that nothing installed on the host can change what it does.
Compiled modules of this interpreter's version lie beside the sources: another version ignores them and compiles anew.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import py_compile
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LINKED = ("cli", "drivers", "eventstore", "projections")
# rich needs pygments and markdown-it only to colour source code and to render Markdown, which layerlog never does.
NEEDED = ("attr", "attrs", "cattr", "cattrs", "rich", "typing_extensions", "watchdog")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can hold: equal sources give an equal file

MAIN = '''\
"""The entry of the one-file layerlog."""

import sys

if sys.version_info < (3, 11):
    sys.exit("layerlog needs python3 >= 3.11, this is %d.%d" % sys.version_info[:2])
sys.path[1:] = [path for path in sys.path[1:] if not path.rstrip("/").endswith(("site-packages", "dist-packages"))]

from layerlog.cli.main import main

sys.exit(main())
'''


def own_modules() -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of every module of layerlog; the links in layerlog/ give the names."""
    yield from modules_below(ROOT / "layerlog", "layerlog")


def modules_below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of every Python file of one package."""
    for directory, subfolders, files in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(s for s in subfolders if s != "__pycache__")
        for file in sorted(files):
            path = Path(directory, file)
            if file.endswith(".py") or file == "py.typed":
                yield f"{name}/{path.relative_to(folder).as_posix()}", path


def needed_modules() -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of every module of the packages that layerlog needs."""
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            sys.exit(f"{name} is not installed for {sys.executable}; `make binary` installs it")
        if spec.submodule_search_locations:
            yield from modules_below(Path(spec.submodule_search_locations[0]), name)
        else:
            yield f"{name}.py", Path(spec.origin)


def compiled(source: Path, name: str) -> bytes:
    """The module's byte code, not tied to the source's time, with the name it has in the archive for tracebacks."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "module.pyc")
        py_compile.compile(
            str(source), str(target), dfile=name, doraise=True, optimize=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        return target.read_bytes()


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """One member with a fixed time, so that the archive is reproducible."""
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    archive.writestr(member, data)


def archive_bytes() -> bytes:
    """The zip with everything in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        add(archive, "__main__.py", MAIN.encode())
        for name, path in (*own_modules(), *needed_modules()):
            add(archive, name, path.read_bytes())
            if name.endswith(".py"):
                add(archive, name + "c", compiled(path, name))
    return buffer.getvalue()


def build(output: Path) -> None:
    """Write the executable, beside its place first: whoever runs the old one meanwhile keeps it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    beside.write_bytes(b"#!/usr/bin/env python3\n" + archive_bytes())
    beside.chmod(0o755)
    beside.rename(output)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the one-file layerlog.")
    parser.add_argument("output", nargs="?", type=Path, default=ROOT / "bin" / "layerlog")
    output: Path = parser.parse_args().output
    build(output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, needs nothing but python3 >= 3.11")


if __name__ == "__main__":
    main()
