"""EIO, ENOSPC, EDQUOT, EMFILE and EINTR at every call: the operation fails with a typed error or succeeds, and leaves nothing.

After one EIO the same Store goes on; what it acknowledges then outlives a boot. EINTR only where
Python does not repeat the call by itself: at rename, unlink, mkdir and their like.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.crash import operations
from tests.crash.conftest import ALL, LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
QUICK = [(errno.EIO, False, 19), (errno.ENOSPC, True, 19), (errno.EMFILE, False, 19), (errno.EINTR, False, 7)]
MORE = [(errno.EIO, True, 4), (errno.ENOSPC, False, 4), (errno.EDQUOT, True, 6)]
EVERY = [(number, lasting, 1) for number, lasting, _ in QUICK] + [(number, lasting, 1 if ALL else few) for number, lasting, few in MORE]
ERRORS = EVERY if LONG else QUICK
"""Error, whether it lasts, and at each how many-th call."""


@pytest.mark.parametrize("name", [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.BIRTH])
def test_an_error_of_the_disk_is_typed_and_leaves_nothing(bench: Bench, name: str) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    faults = [fault for number, lasting, every in ERRORS for fault in bench.errors(name, number, lasting, every)]
    assert not faults, told(faults)
