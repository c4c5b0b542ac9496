"""What a user installs: the wheel, built as `pip install` builds it, and built from the source distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MADE = (".git", ".venv*", "__pycache__", "build", "bin", "dist", "*.egg-info", ".mypy_cache", "demo-store", ".hypothesis")

pytestmark = pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < 77, reason="setuptools here is older than pyproject asks for; `make test` has it"
)


def build(source: Path, kind: str, into: Path) -> Path:
    """Call setuptools' build hook *kind* in *source*; no isolation, since a test asks no network."""
    into.mkdir(exist_ok=True)
    code = f"import setuptools.build_meta as b; print(b.{kind}({str(into)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    copy = tmp_path_factory.mktemp("source") / "layerlog"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*MADE))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "build_wheel", tmp_path_factory.mktemp("wheel"))


def module_files(wheel: Path) -> set[str]:
    """What the wheel would put into site-packages, its own metadata aside."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_layerlog_alone(wheel: Path) -> None:
    """`cli` or `drivers` in site-packages would hide a user's own folder of that name."""
    assert {name.split("/")[0] for name in module_files(wheel)} == {"layerlog"}


def test_the_wheel_holds_every_module(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for directory, _, files in os.walk(ROOT / "layerlog", followlinks=True)
        for path in (Path(directory, file) for file in files if file.endswith(".py"))
    }
    assert module_files(wheel) == expected | {"layerlog/py.typed"}


def test_a_wheel_made_from_the_source_distribution_is_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    archive = build(source, "build_sdist", tmp_path / "sdist")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path / "unpacked"], check=True)  # tarfile's own filter came with 3.11.4
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build(unpacked, "build_wheel", tmp_path / "wheel")
    assert module_files(again) == module_files(wheel)


def test_an_installed_wheel_works_beside_a_project_that_has_a_folder_named_cli(wheel: Path, tmp_path: Path) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(site)
    (project / "cli").mkdir(parents=True)
    (project / "cli" / "__init__.py").write_text("raise SystemExit('the wrong cli')\n")
    code = "from layerlog.cli.main import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=project,
        env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    from layerlog.version import __version__

    assert __version__ in done.stdout
    assert f"-{__version__}-" in wheel.name
