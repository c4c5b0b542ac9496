"""What is to be removed, and is not this user's to remove: it waits for who may, and nobody else waits for it.

A layer unpacked in a user namespace has files of subordinate IDs; outside of it the same user may neither empty their folders
nor rename them. (Root meets the same with ``chattr +i``.) The commit that deletes them stands. A dead lease asks whoever opens
the store next to try again.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress

from layerlog.eventstore.errors import DriverError, InUse
from layerlog.recovery import SWEEP_LEASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.core import Core

_REMOVING = frozenset(("freeing", "removal", "discarding", "putting aside"))


def not_ours(error: BaseException) -> bool:
    """Whether the system refused the removal of files to this user."""
    return isinstance(error, DriverError) and error.data.get("operation") in _REMOVING and isinstance(error.__cause__, PermissionError)


@contextmanager
def leaving_behind(core: Core, layer_id: str) -> Iterator[None]:
    """After a commit: what it deleted is removed inside, or stays with a dead lease, and ``lazy.left_behind`` says so."""
    try:
        yield
    except DriverError as error:
        if not not_ours(error):
            raise
        core.lazy.left_behind.append(layer_id)
        ask_the_next(core)


def ask_the_next(core: Core) -> None:
    """Have whoever opens the store next look at all that was deleted. Who holds that lease now does so when it is done."""
    core.lazy.asks_the_next = True
    with suppress(InUse):
        core.leases.take(SWEEP_LEASE, {"doing": "removing what was deleted", **core.holder_note()}).abandon()
        core.lazy.asks_the_next = False
