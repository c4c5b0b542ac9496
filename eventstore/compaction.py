"""Compaction, the part below the store: where a journal can be cut, writing the base, moving segments away. DESIGN §4.

Only whole segments go, and the base stands after the first unit boundary (checkpoints.py) behind the last of
them, so that runs fit onto it. ``layerlog/compacting.py`` has the order of the steps.
"""

from __future__ import annotations

import os

from layerlog.eventstore import base, disk, ofd, segments
from layerlog.eventstore.archive import before
from layerlog.eventstore.checkpoints import UNIT, Checkpoints
from layerlog.eventstore.errors import JournalError
from layerlog.eventstore.reading import SEGMENTS
from layerlog.eventstore.state import CHECKPOINTS, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.eventstore.base import Base
    from layerlog.eventstore.journal import Journal
    from layerlog.eventstore.state import Fold


class Cut:
    """Where a journal can be cut: ``through`` is the last commit in the base, ``numbers`` are the segments that go."""

    __slots__ = ("bytes", "numbers", "through")

    def __init__(self, through: int, numbers: list[int], bytes_: int) -> None:
        self.through, self.numbers, self.bytes = through, numbers, bytes_


def find_cut(journal: Journal, limit: int) -> Cut | None:
    """The latest cut with everything after commit *limit* kept; None when no segment lies before it as a whole."""
    listing = journal.listing()
    found = None
    for place, (_, following, _) in enumerate(listing[1:], 1):
        through = _through(following)
        if through > min(limit, journal.position.sequence):
            break
        numbers = [number for number, _, _ in listing[:place]]
        found = Cut(through, numbers, sum(os.stat(journal.segment(number).path).st_blocks * 512 for number in numbers))
    return found


def _through(kept_from: int) -> int:
    """After which commit a base stands when the first segment that is kept begins with commit *kept_from*."""
    return -(-(kept_from - 1) // UNIT) * UNIT


def unfollowed(journal: Journal) -> int:
    """The last commit that can be folded away with every segment kept that a follower stands in (follow.py locks it), and all after it."""
    for number, first, _ in journal.listing():
        fd = disk.open_to_read(journal.segment(number).path)
        try:
            if ofd.is_held(fd):
                return _through(first)
        finally:
            os.close(fd)
    return journal.position.sequence


def fold_to(journal: Journal, fold: Fold, through: int, archives: list[str], fold_version: int) -> str:
    """Replay the journal alone up to commit *through* and write what it gives as a base, aside and durable; its SHA-256.

    Raises: JournalError when a record on the way is damaged: what it said would be lost for good.
    """
    state = State(journal.folder, journal, fold, fold_version=fold_version, may_write=False, until=0)
    state.replay_to(through)
    lost = [found for found in journal.damage.values() if not found.mended]
    if lost or state.position.sequence != through:
        where = f"segment {lost[0].segment}, bytes {lost[0].offset} to {lost[0].end}" if lost else f"after commit {state.position.sequence}"
        raise JournalError(f"damaged records ({where}) are not folded away: layerlog verify names them")
    # The run of it, so that no later open reads the whole base; it is true whether the compaction comes to its end or not.
    made = Checkpoints(os.path.join(journal.folder, CHECKPOINTS), journal, fold_version=fold_version, may_write=True)
    made.write_from_start(state.rows, state.position)
    return base.write(journal.segments_folder, state.rows.scan(b""), state.position, journal.id, archives)


def settle(folder: str, wanted: str, archive: str) -> Base | None:
    """Carry out what the last compaction of the journal in *folder* committed, or take back what it did not commit; can be repeated.

    *wanted*: the SHA-256 of the base that was committed, empty if none was. *archive*: where segments go, relative to the
    folder of segments; empty: nowhere. The base that is in place when this returns.
    """
    home = os.path.join(folder, SEGMENTS)
    aside = os.path.join(home, base.ASIDE)
    if os.path.exists(aside):
        if wanted and base.digest(aside) == wanted:
            base.place(home)
        else:
            disk.unlink(aside)
            disk.sync_folder(home)
    found = base.newest(home)
    if found is None:
        return None
    going = segments.compacted(home) + segments.bases(home)[:-1]
    if going:
        disk.sync_folder(home)  # whoever gave the base its name may not have come to that
        _move_away(home, [name for _, _, name in going], archive)
    if before(home) is None:
        _forget_runs(folder, found.sequence)
    return found


def leftovers(folder: str) -> bool:
    """Whether a compaction was cut short."""
    home = os.path.join(folder, SEGMENTS)
    return os.path.exists(os.path.join(home, base.ASIDE)) or bool(segments.compacted(home) or segments.bases(home)[:-1])


def _move_away(home: str, names: list[str], archive: str) -> None:
    """Archive or drop files of the journal's folder; archived ones are durable there before their name here goes."""
    target = os.path.join(home, archive)
    if archive:
        disk.make_folders(target)
        disk.sync_path(target)
    for name in names:
        path = os.path.join(home, name)
        if archive:
            _carry(path, os.path.join(target, name))
        disk.unlink(path)
    if archive:
        disk.sync_folder(target)
    disk.sync_folder(home)


def _carry(path: str, target: str) -> None:
    """Rename, or copy to another file system: whole and durable there, or not there."""
    if os.stat(path).st_dev == os.stat(os.path.dirname(target)).st_dev:
        disk.rename(path, target)
        return
    aside = target + ".new"
    source = disk.open_to_read(path)
    fd = disk.open_to_write(aside, os.O_CREAT | os.O_TRUNC)
    try:
        while part := os.read(source, 1 << 20):
            disk.write_all(fd, part)
        disk.fsync(fd)
    finally:
        os.close(source)
        os.close(fd)
    disk.rename(aside, target)
    disk.sync_folder(os.path.dirname(target))


def _forget_runs(folder: str, sequence: int) -> None:
    """Runs of a history that is gone for good serve nobody."""
    place = os.path.join(folder, CHECKPOINTS)
    for name in os.listdir(place) if os.path.isdir(place) else ():
        after, _, last = name.partition(".")[0].partition("-")
        if after.isdigit() and last.isdigit() and (int(last) < sequence or 0 < int(after) < sequence):
            disk.unlink(os.path.join(place, name))
