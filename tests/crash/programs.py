"""Two programs with one command language, and the sequence of commands during which the power fails."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Protocol

from tests.crash import world


class Program(Protocol):
    """What a program of that language must tell: its exit status and standard output, and after a failure what it said of it."""

    name: str
    own_check: bool

    def run(self, root: str, run_root: str, driver: str, words: list[str]) -> tuple[int, bytes]:
        """Run one command."""

    def boots(self) -> None:
        """What follows is after another boot; the run root, which is on a tmpfs, is empty."""


class Original:
    """Debian's ``containers-storage``."""

    name, own_check = "containers-storage", False

    def run(self, root: str, run_root: str, driver: str, words: list[str]) -> tuple[int, bytes]:
        """Run one command."""
        command = [self.name, "--debug=false", "-g", root, "-R", run_root, "-s", driver, *words]
        ended = subprocess.run(command, capture_output=True, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)
        return ended.returncode, ended.stdout if ended.returncode == 0 else ended.stdout + ended.stderr

    def boots(self) -> None:
        """It knows a boot by its run root alone."""

    @staticmethod
    def is_here() -> bool:
        """Whether it is installed."""
        return shutil.which("containers-storage") is not None


class Ours:
    """The drop-in door of layerlog, in a forked child: the command as it is, without the start of an interpreter for each."""

    name, own_check = "layerlog", True

    def __init__(self) -> None:
        self.boot = os.urandom(16)

    def boots(self) -> None:
        """It knows a boot by the kernel's boot id."""
        self.boot = os.urandom(16)

    def run(self, root: str, run_root: str, driver: str, words: list[str]) -> tuple[int, bytes]:
        """Run one command."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            pid = os.fork()
            if pid == 0:
                status = 125
                try:
                    status = self._main(
                        output.fileno(), errors.fileno(), ["--debug=false", "-g", root, "-R", run_root, "-s", driver, *words]
                    )
                finally:
                    os._exit(status)
            _, waited = os.waitpid(pid, 0)
            output.seek(0)
            errors.seek(0)
            status = os.waitstatus_to_exitcode(waited)
            return status, output.read() if status == 0 else output.read() + errors.read()

    def _main(self, output: int, errors: int, words: list[str]) -> int:
        from layerlog.cli.main import main
        from layerlog.eventstore import position

        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "wb", closefd=False), write_through=True)
        os.environ["LAYERLOG_RETENTION"] = "0"  # as the original: what is deleted is gone
        position._boot_id = self.boot
        status = main(["containers-storage", *words])
        sys.stdout.flush()
        return status


def make_archives(folder: str) -> dict[str, str]:
    """The tars that commands read, by name."""
    big = world.tar(*((f"file-{number}", os.urandom(20_000)) for number in range(12)))
    archives = {"base": world.BASE, "middle": world.MIDDLE, "other": world.OTHER, "big": big, "probe": world.tar(("probe", "p" * 100))}
    paths = {}
    for name, data in archives.items():
        paths[name] = os.path.join(folder, f"{name}.tar")
        with open(paths[name], "wb") as file:
            file.write(data)
    return paths


def before(archives: dict[str, str]) -> list[list[str]]:
    """What is in the store, flushed long ago, when the sequence begins."""
    return [
        ["import-layer", "-i", "old", "-f", archives["base"]],
        ["import-layer", "-i", "old-top", "-f", archives["middle"], "old"],
        ["create-image", "-i", "old-image", "-n", "app:1", "old-top"],
        ["set-image-data", "-f", archives["other"], "old-image", "manifest"],
        ["create-container", "-i", "old-box", "-n", "old-box-name", "old-image"],
        ["create-layer", "-i", "blank", "old"],
    ]


def sequence(archives: dict[str, str]) -> list[list[str]]:
    """An ordinary day: a pull, a run, a build, some tidying; each is acknowledged by exit status 0."""
    return [
        ["import-layer", "-i", "base", "-f", archives["big"]],
        ["import-layer", "-i", "top", "-n", "top-name", "-f", archives["middle"], "base"],
        ["create-image", "-i", "image", "-n", "app:2", "-m", "made", "top"],
        ["set-image-data", "-f", archives["base"], "image", "manifest"],
        ["add-names", "-n", "app:3", "image"],
        ["create-container", "-i", "box", "-n", "box-name", "-m", "{}", "image"],
        ["set-metadata", "-m", "changed", "box"],
        ["applydiff", "-f", archives["other"], "blank"],
        ["set-names", "-n", "app:4", "old-image"],
        ["delete-container", "old-box"],
        ["delete-image", "old-image"],
        ["create-layer", "-i", "next", "-n", "next-name", "top"],
        ["delete-layer", "blank"],
    ]
