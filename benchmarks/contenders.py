"""Who does the work: layerlog as a library, layerlog's command, Debian's containers-storage, GNU tar. Each runs as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Used(NamedTuple):
    """What one run took: seconds of wall clock, seconds of CPU (user and system, children included), MiB of memory at its peak."""

    wall: float
    cpu: float
    peak: float


def run(*command: str) -> Used:
    """Run *command* to its end, its output thrown away. Raises CalledProcessError with what it said."""
    start = time.perf_counter()
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=_environment(), **quiet) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return Used(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _environment() -> dict[str, str]:
    """Compiled modules are kept, as an installed command has them."""
    here = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**here, "PYTHONPATH": ROOT, "LC_ALL": "C.UTF-8"}


class Original:
    """containers-storage, as Debian packages it."""

    name = "containers-storage"

    def __init__(self, place: str, driver: str) -> None:
        self._front = ["containers-storage", "--graph", f"{place}/graph", "--run", f"{place}/run", "--storage-driver", driver]

    @staticmethod
    def there() -> bool:
        return shutil.which("containers-storage") is not None

    def do(self, *words: str) -> Used:
        """One command."""
        return run(*self._front, *words)


class Command(Original):
    """The layerlog command of this environment, by its front door for containers-storage's language."""

    name = "layerlog, command"

    def __init__(self, place: str, driver: str) -> None:
        front = [sys.executable, "-m", "layerlog", "compat"]
        self._front = [*front, "--graph", f"{place}/graph", "--run", f"{place}/run", "--storage-driver", driver]

    @staticmethod
    def there() -> bool:
        return True


_PROGRAM = """
import importlib, json, os, pkgutil, resource, sys, time
from layerlog import Store
import layerlog.contents, layerlog.drivers
for module in pkgutil.iter_modules(layerlog.drivers.__path__):
    importlib.import_module("layerlog.drivers." + module.name)

def used():
    here = resource.getrusage(resource.RUSAGE_SELF)
    return here.ru_utime + here.ru_stime

def main(place, driver, verb, *words):
    with Store(place + "/graph", run_root=place + "/run", driver=driver) as store:
        store.layers()
        begun, cpu = time.perf_counter(), used()
        if verb == "import-layer":
            layer_id, path, parent = words
            with open(path, "rb") as stream:
                store.import_layer(stream, parent, id=layer_id)
        elif verb == "diff":
            for piece in store.diff(words[-1], compression=0):
                pass
        elif verb == "changes":
            list(store.changes(*words))
        elif verb == "diffsize":
            store.diff_size(*words)
        else:
            store.delete_layer(*words)
        took = time.perf_counter() - begun, used() - cpu
    print(json.dumps([*took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))

main(*sys.argv[1:])
"""


class Library:
    """layerlog in a process that has a store open: what a Python program pays."""

    name = "layerlog, library"

    def __init__(self, place: str, driver: str) -> None:
        self._front = [sys.executable, "-c", _PROGRAM, place, driver]

    @staticmethod
    def there() -> bool:
        return True

    def do(self, *words: str) -> Used:
        """One call, in the words of the command."""
        if words[0] == "import-layer":
            given = dict(zip(words[1:-1:2], words[2::2], strict=False))
            words = ("import-layer", given["-i"], given["-f"], words[-1] if len(words) % 2 == 0 else "")
        said: Any = subprocess.run([*self._front, *words], check=True, capture_output=True, env=_environment()).stdout
        return Used(*json.loads(said))


class Tar:
    """GNU tar and a sync of what it wrote: no digests, no record, no store; what unpacking itself costs."""

    name = "GNU tar and sync"

    def __init__(self, place: str, driver: str) -> None:
        self._place = place

    @staticmethod
    def there() -> bool:
        return shutil.which("tar") is not None

    def do(self, *words: str) -> Used:
        """Unpack the archive that the words of import-layer name."""
        target = os.path.join(self._place, "tree")
        os.makedirs(target)
        archive = words[words.index("-f") + 1]
        unzip = {"gzip.tar": "-z", "zstd.tar": "--zstd"}.get(os.path.basename(archive), "--no-auto-compress")
        script = 'tar -x "$1" -f "$2" -C "$3" --xattrs --xattrs-include="*" --numeric-owner && sync -f "$3"'
        return run("sh", "-c", script, "sh", unzip, archive, target)


ALL = (Library, Command, Original, Tar)
