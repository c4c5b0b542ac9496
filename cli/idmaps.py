"""ID-map flags: ``--uidmap 0:1000:10:10:2000:5``, ``--subuidmap USER``, ``--hostuidmap`` (contract/cli.md §4)."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, switch, text
from layerlog.eventstore.errors import InvalidMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.auto_userns import AutoUserNS
    from layerlog.cli.run import Run
    from layerlog.eventstore.events import MapEntry

FLAGS = (
    switch("--hostuidmap", "Force host UID map"),
    switch("--hostgidmap", "Force host GID map"),
    text("--uidmap", "UID map"),
    text("--gidmap", "GID map"),
    text("--subuidmap", "subuid UID map for a user"),
    text("--subgidmap", "subgid GID map for a group"),
)
USERNS = text("--userns", "auto, or auto:size=N: IDs that no other container has", door=FRIENDLY)
ID_MAX = 2**32 - 1
_NONE = ("uidmap", "gidmap", "subuidmap", "subgidmap", "hostuidmap", "hostgidmap")


def wanted(run: Run) -> tuple[list[MapEntry], list[MapEntry]]:
    """UID and GID maps that the flags ask for. Raises InvalidMappings."""
    if not any(run[key] for key in _NONE):
        return [], []
    if run["hostuidmap"] and (run["uidmap"] or run["subuidmap"]):
        raise InvalidMappings("host uid map specified along with UID mapping")
    if run["hostgidmap"] and (run["gidmap"] or run["subgidmap"]):
        raise InvalidMappings("host gid map specified along with GID mapping")
    user = run["subuidmap"] or run["subgidmap"]
    group = run["subgidmap"] or run["subuidmap"]
    uids = [*(_subordinate(user, "/etc/subuid", "subuid") if user else ()), *parse(run["uidmap"], "uid")]
    gids = [*(_subordinate(group, "/etc/subgid", "subgid") if group else ()), *parse(run["gidmap"], "gid")]
    return uids, gids


def asked(run: Run) -> dict[str, Any]:
    """The same as arguments of the library. Raises InvalidMappings."""
    uids, gids = wanted(run)
    return {"uid_map": uids, "gid_map": gids, "host_uids": bool(run["hostuidmap"]), "host_gids": bool(run["hostgidmap"])}


def userns(run: Run) -> AutoUserNS | None:
    """What ``--userns`` asks for, with the defaults of storage.conf; None without. Raises InvalidMappings."""
    word = run.values.get("userns") or ""
    if not word:
        return None
    if any(run[key] for key in _NONE):
        raise InvalidMappings("--userns chooses the IDs itself: it does not go with maps")
    kind, colon, rest = word.partition(":")
    size = rest.removeprefix("size=") if colon else "0"
    fits = size.isascii() and size.isdigit() and len(size) < 11 and int(size) <= ID_MAX
    if kind != "auto" or not fits or (colon and not rest.startswith("size=")):
        from layerlog.cli.gojson import quoted

        raise InvalidMappings(f"cannot read {quoted(word)} as a user namespace (auto, auto:size=N)")
    from layerlog.auto_userns import AutoUserNS
    from layerlog.cli.config import defaults

    user, least, most = defaults(run.compat).userns
    return AutoUserNS(int(size), user=user or "containers", least=least or 1024, most=most or 65536)


def parse(word: str, what: str) -> list[MapEntry]:
    """Triples ``CONTAINER:HOST:SIZE``, all joined by colons. *what* is ``uid`` or ``gid``, for the message."""
    if not word:
        return []
    numbers = word.split(":")
    if len(numbers) % 3 or not all(one.isascii() and one.isdigit() and len(one) < 11 and int(one) <= ID_MAX for one in numbers):
        from layerlog.cli.gojson import quoted

        raise InvalidMappings(f'initializing ID mappings: {what} setting is malformed expected ["uint32:uint32:uint32"]: [{quoted(word)}]')
    values = list(map(int, numbers))
    return [{"container_id": values[at], "host_id": values[at + 1], "size": values[at + 2]} for at in range(0, len(values), 3)]


def _subordinate(name: str, path: str, what: str) -> list[MapEntry]:
    """Ranges of a user or group in /etc/subuid or /etc/subgid, mapped one after another from 0."""
    from layerlog.auto_userns import ranges_of

    found: list[MapEntry] = []
    following = 0
    for start, size in ranges_of(name, path):
        found.append({"container_id": following, "host_id": start, "size": size})
        following += size
    if not found:
        from layerlog.cli.gojson import quoted

        raise InvalidMappings(f"no {what} ranges found for {'user' if what == 'subuid' else 'group'} {quoted(name)} in {path}")
    return found
