"""The same on btrfs, whose driver changes files by a program of its own: killed at the calls of ours before, between and after."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import ALL, LONG, told
from tests.crash.laboratory import Bench
from tests.file_systems import btrfs_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.crash, pytest.mark.root]
QUICK = ["import_layer", "import_dir", "apply_diff to a filled layer", "delete_layer", "delete_layer at once"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with btrfs_folder(tmp_path_factory.mktemp("btrfs")) as folder:
        made = Bench(str(folder / "bench"), "btrfs")
        yield made
        made.clear()
        shutil.rmtree(folder / "bench", ignore_errors=True)


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL] if LONG else QUICK)
def test_a_killed_operation_is_wholly_there_or_wholly_absent(bench: Bench, name: str) -> None:
    faults = list(bench.stops(name, partial=False, every=1 if ALL else 3 if LONG else 23))
    assert not faults, told(faults)


@pytest.mark.parametrize("name", ["apply_diff to a filled layer", "import_layer"] if LONG else ["import_layer"])
def test_a_recovery_that_is_killed_is_finished_by_the_next(bench: Bench, name: str) -> None:
    faults = list(bench.stops_of_recovery(name, every=1 if ALL else 13 if LONG else 97))
    assert not faults, told(faults)
