"""A container in a user namespace of its own, without saying which IDs: ``create_container(userns="auto")``.

Source: contract/semantics.md §6. Ranges come from /etc/subuid and /etc/subgid of one user (``containers``), less those
that any container here has; the lease ``.userns`` is held from the look until the container is committed.
"""

from __future__ import annotations

from contextlib import contextmanager

from layerlog.decide import auto_userns as decide
from layerlog.decide.common import lookup
from layerlog.decide.lending import lowers_from
from layerlog.drivers.idmaps import FIELDS
from layerlog.eventstore.errors import InvalidMappings, StoreError
from layerlog.projections.items import every, get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerlog.core import Core
    from layerlog.eventstore.events import MapEntry

LEASE = ".userns"


class AutoUserNS:
    """How to choose. *size* 0: as large as the image needs, at least *least*; *extra*: maps that the container gets besides."""

    def __init__(
        self,
        size: int = 0,
        *,
        user: str = "containers",
        least: int = 1024,
        most: int = 65536,
        extra_uids: Sequence[MapEntry] = (),
        extra_gids: Sequence[MapEntry] = (),
        subuid: str = "/etc/subuid",
        subgid: str = "/etc/subgid",
    ) -> None:
        self.size, self.user, self.least, self.most = size, user, least, most
        self.extra = {"uid_map": list(extra_uids), "gid_map": list(extra_gids)}
        self.files = {"uid_map": subuid, "gid_map": subgid}


@contextmanager
def chosen(core: Core, image: str, wish: AutoUserNS) -> Iterator[dict[str, list[MapEntry]]]:
    """Maps that no other container has, while the block runs. Raises InvalidMappings."""
    with core.lease(LEASE, "choose IDs for a container", wait=True):
        size = wish.size or _needed(core, image, wish)
        if size > wish.most:
            decide.size_for(size, 0, wish.most, (), ())
        yield {field: _maps(core, field, size, wish) for field in FIELDS}


def _maps(core: Core, field: str, size: int, wish: AutoUserNS) -> list[MapEntry]:
    given = ranges_of(wish.user, wish.files[field])
    if not given:
        raise InvalidMappings(f'cannot find mappings for user "{wish.user}" in {wish.files[field]}')
    with core.reading() as rows:
        entries = [entry for row in every(rows, "container") for entry in row.get(field, ())]
    extra = wish.extra[field]
    used = [(one["host_id"], one["size"]) for one in [*entries, *extra]]
    inside = [(one["container_id"], one["size"]) for one in extra]
    return [*decide.first_free(size, given, used, inside), *extra]


def _needed(core: Core, image: str, wish: AutoUserNS) -> int:
    """IDs that an image's layers and accounts need."""
    with core.reading() as rows:
        row = lookup(rows, "image", image) if image else None
        top = (row or {}).get("layer", "")
        chain = lowers_from(rows, top) if top else []
        contents = [(get(rows, "layer", one) or {}).get("contents", {}) for one in chain]
    owners = [one for found in contents for one in (*found.get("uids", ()), *found.get("gids", ()))]
    accounts = [one for name in (b"etc/passwd", b"etc/group") for one in _accounts(core, chain, name)]
    return decide.size_for(0, wish.least, wish.most, owners, accounts)


def _accounts(core: Core, chain: list[str], path: bytes) -> list[int]:
    """IDs that the nearest copy of an account file names."""
    for layer_id in chain:
        try:
            with core.driver.open_file(layer_id, path) as file:
                rows = [line.split(b":") for line in file.read().splitlines()]
        except (OSError, StoreError):
            continue
        columns = (2, 3) if path.endswith(b"passwd") else (2,)
        return [int(row[at]) for row in rows for at in columns if len(row) > at and row[at].isdigit()]
    return []


def ranges_of(name: str, path: str) -> list[decide.Range]:
    """Ranges of a user or group in /etc/subuid or /etc/subgid; none where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.strip().split(":") for line in file if not line.startswith("#")]
    except FileNotFoundError:
        return []
    return [(int(row[1]), int(row[2])) for row in rows if len(row) == 3 and row[0] == name and row[1].isdigit() and row[2].isdigit()]
