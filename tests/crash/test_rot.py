"""Bit rot in every file that the store writes: told by ``check`` or by a typed error, mended, or of no consequence; never passed on."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.eventstore.errors import StoreError
from tests.crash import children, judge
from tests.crash.conftest import LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
PLACES = 24 if LONG else 3


def files_of(root: str) -> list[str]:
    """Every regular file with bytes in it, relative to *root*."""
    found = []
    for where, _, names in os.walk(root):
        paths = [os.path.join(where, name) for name in names]
        found += [path for path in paths if stat.S_ISREG(os.lstat(path).st_mode) and os.path.getsize(path)]
    return sorted(os.path.relpath(path, root) for path in found)


def used_bytes(path: str) -> int:
    """How far a file is used: a segment's zeros behind its last frame are not."""
    with open(path, "rb") as file:
        return len(file.read().rstrip(b"\0")) or 1


def flip(path: str, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def looked_at(root: str, driver: str) -> tuple[Any, list[str], str]:
    """What a store shows now, what check tells, and the typed error if it refuses."""
    try:
        with Store(root, driver=driver) as store:
            state = judge.describe(store)
            return state, [str(finding) for finding in store.check()], ""
    except StoreError as error:
        return None, [], f"{type(error).__name__}: {error}"


def derived(name: str, driver: str) -> bool:
    """Files that nobody believes: they may rot."""
    parts = name.split(os.sep)
    own = parts[0] == f"{driver}-layerlog" or (parts[0] == "run" and len(parts) > 1)
    if own:
        return parts[-1] in ("position", "settled", "genesis", "lock", "mounts.lock") or parts[0] == "run" or "checkpoints" in parts
    return driver == "overlay" and parts[-1] in ("link", "lower")


def program_wrote(name: str) -> bool:
    """What a program wrote through a mount is not journaled: nobody can tell that it rotted (DESIGN §5)."""
    return name.endswith("/written")


def test_no_flipped_bit_is_passed_on_in_silence(bench: Bench) -> None:
    faults = []
    bench.fresh()
    before = children.run(lambda say: say(looked_at(bench.root, bench.driver))).said[0]
    assert before[1:] == ([], "")
    for name in files_of(bench.prepared):
        if program_wrote(name) or "/trash/" in name or name.startswith(f"{bench.driver}/dir/box"):
            continue
        used = used_bytes(os.path.join(bench.prepared, name))
        for place in sorted({used * part // PLACES for part in range(PLACES)}):
            bench.fresh()
            flip(os.path.join(bench.root, name), place)
            bench.kinds["one bit flipped"] += 1
            ended = children.run(lambda say: say(looked_at(bench.root, bench.driver)))
            state, told_, error = ended.said[0] if ended.said else (None, [], "")
            if not ended.said:
                faults.append((f"{name} at {place}", [f"an untyped error: {ended.trace[-400:]}"]))
            elif error and derived(name, bench.driver):
                faults.append((f"{name} at {place}", [f"refused, though the file is derived: {error}"]))
            elif not error and not told_ and not derived(name, bench.driver) and not of_container(name, state):
                faults.append((f"{name} at {place}", ["not noticed"]))
            elif not error and not told_ and state != before[0]:
                faults.append((f"{name} at {place}", ["another state, and nothing told"]))
    assert not faults, told(faults)


def of_container(name: str, state: Any) -> bool:
    """A file below a container's layer, which was opened for writing."""
    return any(row["layer"] in name for row in state["container"].values())
