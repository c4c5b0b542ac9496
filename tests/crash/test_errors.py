"""EIO, ENOSPC, EDQUOT, EMFILE and EINTR at every call: the operation fails with a typed error or succeeds, and leaves nothing.

EINTR too, in the long form: Python repeats most calls by itself (PEP 475), not rename, unlink, mkdir and their like.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
ERRORS = [(errno.EIO, False), (errno.ENOSPC, True), (errno.EMFILE, False)]
if LONG:
    ERRORS += [(errno.EIO, True), (errno.ENOSPC, False), (errno.EDQUOT, True), (errno.EINTR, False)]


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.BIRTH])
def test_an_error_of_the_disk_is_typed_and_leaves_nothing(bench: Bench, name: str) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    faults = [fault for number, lasting in ERRORS for fault in bench.errors(name, number, lasting, every=1 if LONG else 19)]
    assert not faults, told(faults)
