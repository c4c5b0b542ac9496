"""The stage the demo plays on: a store folder of its own, headings, and commands that are printed before they are run."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from rich.console import Console

MARKER = ".layerlog-demo"
WIDTH_MAX = 100


class Failed(Exception):
    """A command of the demo ended otherwise than it should have."""


class Stage:
    """One folder for the store and everything the demo makes; commands run there by ``sh``, as they are printed.

    *command*: the installed ``layerlog``. A short wrapper of that name, which adds the store's place to every call, goes
    into ``<folder>/bin``, so that the commands stay readable here and work afterwards from a shell of the reader's.
    """

    def __init__(self, folder: Path, command: Path, driver: str) -> None:
        self.folder = folder
        self.graph, self.run_root = folder / "graph", folder / "run"
        self.console = Console(highlight=False, width=min(WIDTH_MAX, Console().width))
        self.where = ["--graph", str(self.graph), "--run", str(self.run_root), *(["--storage-driver", driver] if driver else [])]
        self._clear()
        self._write_wrapper(command)
        self._steps = 0
        self._prompts = 0  # of this step

    def _clear(self) -> None:
        """Start from nothing; a folder that an earlier demo did not make is left alone."""
        if self.folder.exists():
            if not (self.folder / MARKER).exists() and any(self.folder.iterdir()):
                raise Failed(f"{self.folder} is not empty and no earlier demo made it; --store names another place")
            remove(self.folder)
        self.folder.mkdir(parents=True)
        (self.folder / MARKER).write_text("made by `make demo`, which removes this folder when it runs again\n")

    def _write_wrapper(self, command: Path) -> None:
        wrapper = self.folder / "bin" / "layerlog"
        wrapper.parent.mkdir()
        words = " ".join(f"'{word}'" for word in (str(command), *self.where))
        wrapper.write_text(f'#!/bin/sh\n# layerlog on the store of the demo\nexec {words} "$@"\n')
        wrapper.chmod(0o755)

    def heading(self, title: str, why: str) -> None:
        """Begin a step: what is shown, and why it matters."""
        self._steps += 1
        self._prompts = 0
        self.console.print()
        self.console.rule(f"[bold]{self._steps}. {title}", align="left", style="dim")
        self.console.print(f"[dim]{why}[/dim]\n")

    def note(self, text: str) -> None:
        """A sentence about what was just seen."""
        self.console.print(f"[cyan]{text}[/cyan]")

    def prompt(self, line: str) -> None:
        """Print a command as it is typed, apart from the output of the one before."""
        if self._prompts:
            self.console.print()
        self._prompts += 1
        self.console.print("[bold green]$[/bold green] ", end="")
        self.console.print(line, style="bold", markup=False, soft_wrap=True)
        sys.stdout.flush()

    def environment(self) -> dict[str, str]:
        """What the commands see: the wrapper first, and the width that the headings have."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "COLUMNS": str(self.console.width)}

    def run(self, line: str, *, status: int = 0) -> None:
        """Print *line* and run it for real; its output goes where ours goes. Raises Failed on another exit status."""
        self.prompt(line)
        done = subprocess.run(["sh", "-c", line], env=self.environment(), cwd=self.folder)
        if done.returncode != status:
            raise Failed(f"`{line}` ended with status {done.returncode}, not {status}")

    def ask(self, line: str) -> str:
        """Run *line* unseen and return what it printed."""
        done = subprocess.run(["sh", "-c", line], env=self.environment(), cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"`{line}` ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start(self, line: str) -> subprocess.Popen[bytes]:
        """Print *line* and start it in a process group of its own, its output unseen: it is there to be killed."""
        self.prompt(line)
        return subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            env=self.environment(),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def remove(folder: Path) -> None:
    """Remove a store that an earlier demo left, with what it may have left mounted and folders without write permission."""
    for mounted in sorted(mounts_below(folder), reverse=True):
        subprocess.run(["umount", "--lazy", mounted], check=True)
    for directory, subfolders, _ in os.walk(folder):
        for path in (Path(directory, name) for name in subfolders):
            if not path.is_symlink() and path.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
                path.chmod(0o700)
    shutil.rmtree(folder)


def mounts_below(folder: Path) -> list[str]:
    """Mount points below *folder*, outer ones first."""
    inside = f"{folder.resolve()}/"
    lines = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape").splitlines()
    return [where for line in lines if (where := line.split(" ")[1].replace("\\040", " ")).startswith(inside)]
