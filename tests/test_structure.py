"""The rules of the house that no single module can hold: who may import whom, how long things get, what starts slowly.

Source: DESIGN §3 (folders, links, packaging) and §7 (start-up); tigerbeetle's `tidy.zig` gave the idea.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LINKED = ("eventstore", "projections", "drivers", "cli")
# Lowest first. A folder may import itself and those before it.
FLOORS = ("eventstore", "projections", "drivers", "layerlog", "cli")

FUNCTION_LINES_MAX = 70  # one screen: STYLE.md, "Module size"
MODULE_LINES_MAX = 400
# What is longer, and why that is right. An entry that is no longer needed fails the test.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_MODULES: dict[str, str] = {}

# What a decision or a fold may not touch: clock, path, lock, random source, process (DESIGN §2, law 3).
IMPURE = frozenset(
    "os time datetime random secrets uuid pathlib shutil tempfile fcntl threading subprocess socket signal io mmap glob".split()
)
# What a plain command must not wait for (DESIGN §7: milliseconds each, above a bare interpreter's nine).
SLOW_TO_START = frozenset(
    "argparse asyncio attr attrs cattr cattrs concurrent.futures dataclasses email http.client inspect logging msgspec multiprocessing "
    "pathlib rich shutil socket ssl subprocess tempfile tomllib typing typing_extensions urllib.request watchdog".split()
)


def folder(name: str) -> Path:
    """The real folder of a floor."""
    return ROOT / name


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python file under *folders*, links not followed, so that each file is seen once."""
    for name in folders:
        for directory, subfolders, files in os.walk(folder(name), followlinks=False):
            subfolders[:] = [s for s in subfolders if s != "__pycache__" and not (Path(directory) / s).is_symlink()]
            yield from (Path(directory) / file for file in sorted(files) if file.endswith(".py"))


def ours() -> list[Path]:
    """All modules of the distribution."""
    return sorted(python_files(*FLOORS))


def everything() -> list[Path]:
    """All Python files of the repository."""
    return sorted(python_files(*(f for f in (*FLOORS, "tests", "examples", "tools", "benchmarks") if folder(f).is_dir())))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """``eventstore/ids.py`` -> ``layerlog.eventstore.ids``."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in LINKED:
        parts.insert(0, "layerlog")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that *path* names in an import statement, at any depth, or in a call of import_module; with its line.

    ``from a import b`` yields ``a.b``: b may be a module, and a name inside a module has the same floor as the module.
    """
    tree = ast.parse(path.read_bytes())
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from ((node.lineno, a.value) for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def floor_of_import(name: str) -> str | None:
    """The floor that an imported name belongs to, or None when it is not ours."""
    parts = name.split(".")
    if parts[0] != "layerlog":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LINKED else "layerlog"


def floor_of_file(path: Path) -> str:
    """The folder; but ``python -m layerlog`` is the command line's other door."""
    return "cli" if relative(path) == "layerlog/__main__.py" else path.relative_to(ROOT).parts[0]


def test_imports_go_down_only() -> None:
    """cli > layerlog > drivers > projections > eventstore, imports inside functions and for types included."""
    wrong = [
        f"{relative(path)}:{line}: {floor_of_file(path)} may not import {name}"
        for path in ours()
        for line, name in imported_names(path)
        if (floor := floor_of_import(name)) is not None and FLOORS.index(floor) > FLOORS.index(floor_of_file(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_prefixed_names_are_imported() -> None:
    """`import eventstore` would be a second copy of the module in the checkout, and nothing at all outside of it."""
    wrong = [
        f"{relative(path)}:{line}: write layerlog.{name}"
        for path in everything()
        for line, name in imported_names(path)
        if name.split(".")[0] in LINKED
    ]
    assert not wrong, "\n".join(wrong)


def test_folds_and_decisions_touch_no_clock_path_lock_or_chance() -> None:
    pure = [*python_files("projections"), *python_files("layerlog/decide")]
    wrong = [
        f"{relative(path)}:{line}: imports {name}" for path in pure for line, name in imported_names(path) if name.split(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_the_import_checks_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong import at each depth and in each spelling is seen: a check that cannot fail checks nothing."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / "bad.py").write_text(
        "import layerlog.cli.main\n"
        "from layerlog import cli, Store\n"
        "from .. import cli\n"
        "from ..store import Store\n"
        "def f():\n    from layerlog.store import Store\n    import_module('layerlog.cli.main')\n"
        "import layerlog.eventstore.ids\n"
    )
    with pytest.raises(AssertionError) as failure:
        test_imports_go_down_only()
    assert [int(n) for n in re.findall(r"bad\.py:(\d+)", str(failure.value).split("\nassert")[0])] == [1, 2, 2, 3, 4, 6, 7]


@pytest.mark.parametrize("name", LINKED)
def test_the_links_in_layerlog_are_links(name: str) -> None:
    """A checkout or a copy that turned them into folders would hold every module twice."""
    link = ROOT / "layerlog" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"


def test_every_sub_package_is_listed_and_mapped() -> None:
    """setuptools finds nothing by itself here: a folder that is not listed would be missing from the wheel."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = {module_name(path / "__init__.py") for path in {file.parent for file in ours()}}
    assert set(setuptools["packages"]) == found
    assert setuptools["package-dir"] == {"layerlog": "layerlog"} | {f"layerlog.{name}": name for name in LINKED}


def test_every_folder_of_modules_is_a_package() -> None:
    assert not [relative(d) for d in {file.parent for file in ours()} if not (d / "__init__.py").is_file()]


def test_every_module_says_what_it_is_for() -> None:
    modules = [path for path in everything() if "tests" not in path.parts]  # a test's names say it
    assert not [relative(path) for path in modules if ast.get_docstring(ast.parse(path.read_bytes())) is None]


def long_functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{relative(path)}:{node.name}", lines


def test_a_function_fits_a_screen() -> None:
    long = {name: lines for path in everything() for name, lines in long_functions(path)}
    assert not {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS}
    assert not set(LONG_FUNCTIONS) - set(long), "no longer long: remove from LONG_FUNCTIONS"


def test_a_module_fits_in_a_head() -> None:
    long = {relative(p): lines for p in ours() if (lines := len(p.read_bytes().splitlines())) > MODULE_LINES_MAX}
    assert not {name: lines for name, lines in long.items() if name not in LONG_MODULES}
    assert not set(LONG_MODULES) - set(long), "no longer long: remove from LONG_MODULES"


def texts() -> Iterator[Path]:
    """Every text file of the repository, whatever its kind."""
    for directory, subfolders, files in os.walk(ROOT):
        if Path(directory) == ROOT:
            kept = {*FLOORS, "tests", "examples", "tools", "benchmarks", "docs", ".ci", ".github"}
            subfolders[:] = [s for s in subfolders if s in kept]
            files = [f for f in files if f != ".git"]  # a linked worktree's pointer to its repository
        subfolders[:] = [s for s in subfolders if s != "__pycache__" and not (Path(directory) / s).is_symlink()]
        yield from (Path(directory) / f for f in files if not f.endswith((".pyc", ".tar", ".gz", ".zst", ".bin", ".svg", ".png")))


def test_no_path_or_host_of_one_machine_is_in_the_tree() -> None:
    """What worked on the author's machine only: home folders, package indexes and mirrors of one place."""
    forbidden = re.compile(rb"/home/[a-z]+/|/Users/|(?<![\w.])/work/|/root/\.|/tmp/v/|index[-_]url|pypi\.org/simple")
    wrong = [
        f"{relative(path)}:{number}: {line.decode(errors='replace').strip()}"
        for path in texts()
        if path.is_file() and path != Path(__file__)
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def modules_imported_by(*arguments: str, cwd: Path) -> set[str]:
    """What running ``layerlog *arguments*`` imports beyond what a bare interpreter does."""

    def imports(code: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", code, *arguments],
            cwd=cwd,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(cwd), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}

    return imports("import sys; from layerlog.cli.main import main; sys.exit(main())") - imports("import sys")


def where(folder: Path) -> tuple[str, ...]:
    return ("--graph", str(folder / "graph"), "--run", str(folder / "run"), "--storage-driver", "vfs")


@pytest.mark.parametrize("command", [("exists", "nothing"), ("create-layer",), ("layers",), ("exists", "--image", "nothing")])
def test_a_plain_command_waits_for_nothing_slow(command: tuple[str, ...], tmp_path: Path) -> None:
    for round_ in ("a new store", "an old one"):
        imported = modules_imported_by(*where(tmp_path), *command, cwd=tmp_path)
        assert "layerlog.eventstore.ledger" in imported, "it got as far as opening the store"
        slow = {name for name in imported if name in SLOW_TO_START or name.split(".")[0] in SLOW_TO_START}
        assert not slow, f"{round_}: layerlog {' '.join(command)} imports {', '.join(sorted(slow))}"


@pytest.mark.parametrize("command", [("exists", "nothing"), ("create-layer",)])
def test_a_plain_command_imports_only_what_is_listed(command: tuple[str, ...], tmp_path: Path) -> None:
    """The list is tests/golden/start-up.txt, a line each for a command: add to it what is worth its milliseconds.

    Of the standard library by top-level name, without the private ones, which differ between versions of Python.
    """
    lines = (ROOT / "tests" / "golden" / "start-up.txt").read_text("utf-8").splitlines()
    listed = {name for line in lines if line.startswith(f"{command[0]}:") for name in line.partition(":")[2].split()}
    modules_imported_by(*where(tmp_path), "create-layer", cwd=tmp_path)  # make the store: that is not what is measured
    every = modules_imported_by(*where(tmp_path), *command, cwd=tmp_path)
    imported = {name if name.startswith("layerlog") else name.split(".")[0] for name in every}
    assert sorted(name for name in imported - listed if not name.startswith("_")) == []
    assert sorted(name for name in listed - imported if name.startswith("layerlog")) == [], "listed, and imported no more"
