"""EIO, ENOSPC, EDQUOT and EMFILE at every call: the operation fails with a typed error or succeeds, and leaves nothing.

EINTR is no error for Python's own calls (PEP 475); ``syscalls`` repeats its own.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.crash import world
from tests.crash.conftest import LONG, told

if TYPE_CHECKING:
    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
ERRORS = [(errno.EIO, False), (errno.ENOSPC, True), (errno.EMFILE, False)]
if LONG:
    ERRORS += [(errno.EIO, True), (errno.ENOSPC, False), (errno.EDQUOT, True)]


@pytest.mark.parametrize("name", [*world.OPERATIONS, *world.EPHEMERAL])
def test_an_error_of_the_disk_is_typed_and_leaves_nothing(bench: Bench, name: str) -> None:
    if bench.driver == "overlay" and not LONG:
        return
    faults = [fault for number, lasting in ERRORS for fault in bench.errors(name, number, lasting, every=1 if LONG else 13)]
    assert not faults, told(faults)
