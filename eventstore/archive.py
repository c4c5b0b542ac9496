"""What compaction moved out of a journal: where it is, and reading it as if it were still there."""

from __future__ import annotations

import os

from layerlog.eventstore import segments
from layerlog.eventstore.base import Base, newest
from layerlog.eventstore.errors import CommitUnknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    Entry = tuple[int, int, str]


class HistoryCompacted(CommitUnknown):
    """The commit was folded away by compaction. Data: ``asked``, ``through`` (the last such commit), ``why``, ``archives`` (folders)."""

    message = "commit {asked} is not in the journal any more: compaction folded everything up to commit {through} into its base, {why}"


class Archived:
    """Segments that lie before a journal's base, without a gap up to it, and the base that they begin with, if not with commit 1."""

    __slots__ = ("base", "segments")

    def __init__(self, found: list[Entry], base: Base | None) -> None:
        self.segments, self.base = found, base


def before(folder: str) -> Archived | None:
    """What can still be read of the commits that the base in a folder of segments stands for; None: nothing."""
    base = newest(folder)
    if base is None:
        return None
    places = folders(folder, base)
    there = _all(places, segments.SUFFIX)
    chain: list[Entry] = []
    number = base.segment.number
    while number - 1 in there:
        number -= 1
        chain.insert(0, there[number])
    older = _all(places, segments.BASE_SUFFIX)
    if not chain:
        return None
    if number == 1:
        return Archived(chain, None)
    return Archived(chain, Base(older[number][2])) if number in older else None


def folders(folder: str, base: Base) -> list[str]:
    """Where segments from before *base* may be: also still in their place, when compaction is at work or was cut short."""
    return [folder, *(os.path.join(folder, place) for place in base.archives)]


def refusal(folder: str, asked: int) -> HistoryCompacted:
    """Why commit *asked* cannot be read."""
    base = newest(folder)
    assert base is not None, "only a compacted journal refuses"
    places = [os.path.join(folder, place) for place in base.archives]
    if places:
        why = f"and its archive is not whole in {', '.join(places)}: bring the archived segments back there"
    else:
        why = "and the segments were dropped"
    return HistoryCompacted(asked=asked, through=base.sequence, why=why, archives=places)


def _all(places: list[str], suffix: str) -> dict[int, Entry]:
    """Segments or bases in several folders by number; of two alike the one that was archived last, since that one stays."""
    found: dict[int, Entry] = {}
    for place in places:
        try:
            names = os.listdir(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        found.update({number: (number, first, os.path.join(place, name)) for number, first, name in segments.numbered(names, suffix)})
    return found
