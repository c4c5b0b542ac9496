"""ACLs of an archive, and none besides: a folder hands its default ACL down to what programs make, not to what is unpacked."""

from __future__ import annotations

import errno
import io
import os
import struct
from typing import TYPE_CHECKING

import pytest

from tests.drivers import tars

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.drivers.driver import Driver

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_NOBODY = (1 << 32) - 1


def acl(group: int, mask: int) -> bytes:
    """user::rw-, user 1000:rwx, group, mask, other::r-- as the kernel keeps it (acl(5), linux/posix_acl_xattr.h)."""
    entries = ((1, 6, _NOBODY), (2, 7, 1000), (4, group, _NOBODY), (16, mask, _NOBODY), (32, 4, _NOBODY))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def record(name: str, value: bytes) -> dict[bytes, bytes]:
    return {b"SCHILY.xattr." + name.encode(): value}


@pytest.fixture(autouse=True)
def acls_here(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, DEFAULT, acl(4, 7))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("kernel has no ACLs on this file system")
    os.removexattr(tmp_path, DEFAULT)


def fill(driver: Driver, layer_id: str, chain: list[str], *members: bytes) -> str:
    staged = driver.stage(layer_id, chain)
    staged.apply(tars.stream(*members), tar_split=io.BytesIO())
    staged.close()
    driver.place(layer_id)
    return driver.own_tree(layer_id)


HANDING_DOWN = tars.pax(record(DEFAULT, acl(4, 7))) + tars.folder(b"d")


def test_the_acl_has_the_last_word_on_the_groups_mode(driver: Driver) -> None:
    """As with tar, umoci and the original, which set it after the mode."""
    root = fill(driver, "one", [], tars.file(b"f", b"x", record(ACCESS, acl(4, 7)), mode=0o644))
    assert os.getxattr(f"{root}/f", ACCESS) == acl(4, 7)
    assert os.stat(f"{root}/f").st_mode & 0o777 == 0o674


def test_what_is_unpacked_inherits_nothing(driver: Driver) -> None:
    inside = [tars.file(b"d/f", b"x", mode=0o640), tars.folder(b"d/e", 0o750), tars.fifo(b"d/p"), tars.file(b"d/implied/f")]
    root = fill(driver, "one", [], HANDING_DOWN, *inside)
    assert os.getxattr(f"{root}/d", DEFAULT) == acl(4, 7)
    assert {name: os.listxattr(f"{root}/d/{name}") for name in ("f", "e", "p", "implied", "implied/f")} == {
        name: [] for name in ("f", "e", "p", "implied", "implied/f")
    }
    assert [os.stat(f"{root}/d/{name}").st_mode & 0o777 for name in ("f", "e")] == [0o640, 0o750]


def test_nor_does_what_a_later_layer_brings(driver: Driver) -> None:
    fill(driver, "one", [], HANDING_DOWN)
    root = fill(driver, "two", ["one"], tars.file(b"d/f", b"x", mode=0o640), tars.folder(b"d/e"), tars.fifo(b"d/p"), tars.file(b"d/i/f"))
    assert os.getxattr(f"{root}/d", DEFAULT) == acl(4, 7)
    assert [os.listxattr(f"{root}/d/{name}") for name in ("f", "e", "p", "i", "i/f")] == [[]] * 5
    assert os.stat(f"{root}/d/f").st_mode & 0o777 == 0o640
