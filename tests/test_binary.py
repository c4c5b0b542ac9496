"""`make binary`: one file that works where there is nothing but python3."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.host_image import build as build_image
from layerlog.version import __version__

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once, and moved away from everything that it could borrow from."""
    output = tmp_path_factory.mktemp("binary") / "layerlog"
    done = subprocess.run([sys.executable, ROOT / "tools" / "build_binary.py", output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def run(binary: Path, *arguments: str | Path, cwd: Path) -> str:
    """Run the file in an empty environment; only the interpreter's folder is on the path, when the usual ones have none."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    path = {} if python and is_new_enough(python) else {"PATH": str(Path(sys.executable).resolve().parent) + ":/usr/bin:/bin"}
    done = subprocess.run([binary, *arguments], cwd=cwd, env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_new_enough(python: str) -> bool:
    return subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode == 0


def test_it_says_its_version(binary: Path, tmp_path: Path) -> None:
    assert __version__ in run(binary, "--version", cwd=tmp_path)


def test_it_takes_nothing_from_the_host(binary: Path, tmp_path: Path) -> None:
    """An `attr` package in the working folder, as a user may have one, is not imported."""
    (tmp_path / "attr.py").write_text("raise SystemExit('the wrong attr')\n")
    assert __version__ in run(binary, "--version", cwd=tmp_path)


def test_every_module_in_it_can_be_imported(binary: Path, tmp_path: Path) -> None:
    """What layerlog imports is in the file: a missing package would show only when a command needs it."""
    code = (
        f"import sys; sys.path = [{str(binary)!r}, *(p for p in sys.path if 'packages' not in p)]\n"
        "import importlib, zipfile\n"
        f"for name in zipfile.ZipFile({str(binary)!r}).namelist():\n"
        "    if name.startswith('layerlog/') and name.endswith('.py') and '__main__' not in name:\n"
        "        importlib.import_module(name.removesuffix('.py').removesuffix('/__init__').replace('/', '.'))\n"
        "import rich.console, rich.table, rich.tree, rich.progress, rich.live, watchdog.observers, cattrs, attrs\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_takes_an_image_in_and_gives_its_files_back(binary: Path, tmp_path: Path) -> None:
    """A round trip through vfs: load, container, files, diff, all with nothing but the interpreter."""
    image = build_image(tmp_path / "image", "latest")
    where = ["--graph", str(tmp_path / "graph"), "--run", str(tmp_path / "run"), "--storage-driver", "vfs"]
    run(binary, *where, "load", image, "--name", "host", cwd=tmp_path)
    run(binary, *where, "create-container", "host", "-n", "box", cwd=tmp_path)
    mounted = Path(run(binary, *where, "mount", "box", cwd=tmp_path).strip())
    assert (mounted / "etc" / "motd").read_text() == "Slim Python. Tests run elsewhere.\n"
    assert not list(mounted.glob("usr/lib/*/turtle.py"))
    (mounted / "etc" / "motd").write_text("changed\n")
    run(binary, *where, "unmount", "box", cwd=tmp_path)
    assert "/etc/motd" in run(binary, *where, "changes", "box", cwd=tmp_path)
