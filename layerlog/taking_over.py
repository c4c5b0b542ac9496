"""A lease whose last holder died, taken by somebody with other plans: what it had begun is settled first.

So a process that runs on need not be restarted when another one dies. Whoever holds a lease shared says so in its note,
which the first of them writes: a note that does not say so is that of one who had it alone. While it stands nobody goes on, however many
share the lease: that holder's next contents may be committed and not in place yet.
"""

from __future__ import annotations

from layerlog.eventstore.errors import InUse
from layerlog.eventstore.leases import describe
from layerlog.recovery import SWEEP_LEASE, half_done, settle, settle_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.core import Core
    from layerlog.eventstore.locks import Lease
    from layerlog.projections.items import Row


def taken_over(core: Core, lease: Lease, note: Row, shared: bool, wait: bool) -> Lease:
    """The lease, or another one of the same ID, with nothing left to settle; *note* as it is to be from now on.

    Raises InUse when somebody else was quicker (unless *wait*), or while the journal has a gap and what the dead one noted must wait.
    """
    if lease.id.startswith(".") and lease.id != SWEEP_LEASE:
        if not shared:
            lease.note(note)
        return lease
    if shared:
        return _shared(core, lease, note, wait)
    try:
        if lease.id == SWEEP_LEASE:
            for layer_id in sorted(half_done(core)):
                settle(core, layer_id)
        else:
            _settle(core, lease)
        lease.note(note)
    except BaseException:
        lease.abandon()
        raise
    return lease


def _shared(core: Core, lease: Lease, note: Row, wait: bool) -> Lease:
    """Of those who come to a dead lease at once one settles it, and the others wait for that, whatever *wait* says."""
    others_live = False
    while lease.before() and not (others_live and lease.was_shared()):
        if lease.was_shared():
            lease.abandon()
            settle(core, lease.id)  # unless others share it, who are alive
            others_live = True
        elif lease.alone():
            try:
                _settle(core, lease)
            except BaseException:
                lease.abandon()
                raise
            lease.release()
        else:
            lease.abandon()
        lease = core.leases.take(lease.id, note, shared=True, wait=wait)
    return lease


def _settle(core: Core, lease: Lease) -> None:
    """Settle what is held alone; where that must wait until the journal has no gap, its note must stay, too."""
    settle_held(core, lease)
    if "generation" in lease.before() and core.ledger.has_damage():
        raise InUse(id=lease.id, holder=f"{describe(lease.before())}, which died; what it left waits for `layerlog journal salvage`")
