"""A disk that is full to the last byte: what frees room works, then everything does."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.eventstore.errors import StoreError
from tests.crash import children, judge, seams, world
from tests.crash.laboratory import unmount_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.crash, pytest.mark.root]
MIB = 1 << 20
KINDS = {"ext4": (48, "mkfs.ext4 -q -F"), "xfs": (320, "mkfs.xfs -q -f"), "btrfs": (256, "mkfs.btrfs -q -f")}


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A fresh small file system on a loop device."""
    size, make = KINDS[request.param]
    program = make.split()[0]
    if not (shutil.which(program) or os.path.exists(f"/usr/sbin/{program}")):
        pytest.skip(f"kernel has {request.param} but {program} is not installed")
    image, point = tmp_path / "image", tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(size * MIB)
    point.mkdir()
    subprocess.run([*make.split(), str(image)], check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"kernel refuses to mount {request.param} on a loop device: {mounted.stderr.strip()}")
    yield point
    unmount_below(str(point))
    subprocess.run(["umount", "-l", str(point)], check=False)


def fill(point: Path) -> None:
    """To the last byte: big writes, then small ones, then files without bytes."""
    with open(point / "filler", "wb", buffering=0) as file:
        for size in (MIB, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
    for size in (4096, 1):
        for number in range(64):
            try:
                with open(point / f"filler-{size}-{number}", "wb", buffering=0) as file:
                    file.write(bytes(size))
                    os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                break


def empty(point: Path) -> None:
    for one in point.glob("filler*"):
        one.unlink()
    os.sync()


def occupied(root: str) -> dict[str, int]:
    """Every name below *root*, and the bytes on the disk behind it."""
    found = {}
    for where, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            found[os.path.relpath(path, root)] = os.lstat(path).st_blocks * 512 if name in files else 0
    return found


@pytest.fixture(params=["vfs", "overlay"])
def full(request: pytest.FixtureRequest, disk: Path) -> tuple[str, str, Path]:
    """A store on a full disk: root, driver, and the disk."""
    root = str(disk / "root")
    made = children.run(lambda say: world.make_store(root, request.param))
    assert made.status == 0, made.trace
    fill(disk)
    return root, request.param, disk


def test_what_frees_room_works_on_a_full_disk_and_then_everything_does(full: tuple[str, str, Path]) -> None:
    root, driver, disk = full
    with Store(root, driver=driver) as store:
        store.untag("app:1")
        store.delete_container("box")
        store.delete_layer("other")
        store.empty_trash()
        store.delete_image("image")
        assert judge.leftovers(store) == []
    fill(disk)
    with Store(root, driver=driver, retention=0) as store:
        store.prune(everything=True)
        assert judge.leftovers(store) == []
        assert not store.exists("blank")
        store.wipe()
        assert store.layers() == []
    empty(disk)
    assert judge.goes_on(root, driver) == []


def test_what_needs_room_fails_with_a_typed_error_and_leaves_no_byte(full: tuple[str, str, Path]) -> None:
    root, driver, disk = full
    large = world.tar(*((f"file-{number}", os.urandom(MIB)) for number in range(40)))
    with Store(root, driver=driver) as store:
        before, bytes_before = judge.describe(store), occupied(root)
        for operation in (
            lambda: store.import_layer(io.BytesIO(large), id="large"),
            lambda: store.set_big_data("image", "image", "large", os.urandom(4 * MIB)),
            lambda: store.apply_diff("other", io.BytesIO(large)),
        ):
            with pytest.raises(StoreError):
                operation()
            assert judge.leftovers(store) == []
            assert occupied(root) == bytes_before
        assert judge.describe(store) == before
    empty(disk)
    assert judge.goes_on(root, driver) == []


def test_recovery_works_on_a_full_disk(full: tuple[str, str, Path]) -> None:
    root, driver, disk = full
    empty(disk)

    def killed(say: object) -> None:
        with Store(root, driver=driver) as store:
            seams.install(seams.Killer(25))
            store.import_layer(io.BytesIO(world.BASE), id="half")

    assert children.run(killed).status == children.KILLED
    fill(disk)
    with Store(root, driver=driver) as store:
        assert not store.exists("half")
        assert judge.leftovers(store) == []
    empty(disk)
    assert judge.goes_on(root, driver) == []
