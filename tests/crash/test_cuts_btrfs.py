"""Power cuts on btrfs with its own driver: subvolumes are made, snapshotted, renamed and deleted on a recorded disk, then judged."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import ALL, LONG, in_memory, told
from tests.crash.device import disks
from tests.crash.laboratory import Bench
from tests.crash.recorded import Recorded
from tests.file_systems import btrfs_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.crash, pytest.mark.root]
QUICK = ["apply_diff to a filled layer", "import_layer", "delete_layer at once"]
MOST, EVERY = (6, 1) if ALL else (3, 6) if LONG else (2, 7)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A store of the btrfs driver on a recorded disk, and one beside it that is never cut, to compare with."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("kernel lacks /dev/fuse")
    images = in_memory("btrfs") or str(tmp_path_factory.mktemp("images"))
    with btrfs_folder(tmp_path_factory.mktemp("btrfs")) as folder:
        bench = Bench(str(folder / "bench"), "btrfs")
        try:
            yield Recorded(bench, "btrfs", images)
        except disks.NotHere as lacking:
            pytest.skip(str(lacking))
        finally:
            bench.clear()
            shutil.rmtree(folder / "bench", ignore_errors=True)
            shutil.rmtree(images, ignore_errors=True)


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.SEQUENCES] if LONG else QUICK)
def test_no_power_cut_takes_a_subvolume_that_was_acknowledged(recorded: Recorded, name: str) -> None:
    faults = list(recorded.cuts(name, MOST, every=EVERY))
    assert not faults, told(faults)


def test_control_a_store_that_flushes_nothing_is_caught(recorded: Recorded) -> None:
    """Flushes of folders alone are not missed here: once a subvolume was renamed, each fsync commits the whole transaction."""
    faults = recorded.cuts("import_layer", 3, forget="all")
    assert any("shows no state" in fault for _, found in faults for fault in found)
