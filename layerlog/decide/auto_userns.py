"""Which IDs a container of its own user namespace gets: the first that are free (contract/semantics.md §6)."""

from __future__ import annotations

from layerlog.eventstore.errors import InvalidMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerlog.eventstore.events import MapEntry

Range = tuple[int, int]
"""First ID and how many."""
NOBODY = 65534


def first_free(size: int, given: Iterable[Range], used: Iterable[Range], inside: Iterable[Range] = ()) -> list[MapEntry]:
    """Map *size* IDs, from 0 on and past those *inside* that are mapped already, to the first free ones of the host.

    *given*: what the user may hand out; *used*: what other containers have. Raises InvalidMappings when there are too few.
    """
    free = _without(_ordered(given), used)
    wanted = _without([(0, size + sum(length for _, length in inside))], inside)
    found: list[MapEntry] = []
    left = size
    for start, length in wanted:
        at, rest = start, min(length, left)
        while rest and free:
            host, room = free.pop(0)
            taken = min(room, rest)
            found.append({"container_id": at, "host_id": host, "size": taken})
            if taken < room:
                free.insert(0, (host + taken, room - taken))
            at, rest, left = at + taken, rest - taken, left - taken
    if left:
        raise InvalidMappings(f"not enough available IDs: {size - left} < {size}")
    return found


def size_for(asked: int, least: int, most: int, owners: Iterable[int], accounts: Iterable[int]) -> int:
    """How many IDs a container needs: as asked, else enough for every owner in its layers and every account of its image.

    Raises InvalidMappings for more than *most*.
    """
    size = asked or max([least, *(one + 1 for one in (*owners, *accounts) if one != NOBODY)])
    if size > most:
        needs = f"the container needs a user namespace with size {size}"
        raise InvalidMappings(f"{needs} that is bigger than the maximum value allowed with userns=auto {most}")
    return size


def _ordered(ranges: Iterable[Range]) -> list[Range]:
    return sorted((start, length) for start, length in ranges if length > 0)


def _without(ranges: Sequence[Range], taken: Iterable[Range]) -> list[Range]:
    """What is left of ordered *ranges*."""
    left = list(ranges)
    for start, length in taken:
        left = [piece for one in left for piece in _cut(one, start, start + length)]
    return left


def _cut(one: Range, start: int, end: int) -> list[Range]:
    first, last = one[0], one[0] + one[1]
    if end <= first or last <= start:
        return [one]
    pieces = [(first, start - first), (end, last - end)]
    return [(at, length) for at, length in pieces if length > 0]
