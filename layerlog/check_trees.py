"""Are the contents of each layer what its record says: the same tar again, and the same tree?

The tree that a chain of tars should give is folded from their headers and compared with what the driver shows:
kind, owner, size, permission bits, times of files in seconds. A layer that was opened for writing after it was
filled is judged like any other: what was written there is not what its record describes. Skipped where it means
nothing: above a layer that is not sound or whose tars do not tell the whole tree (see ``foretold``); owners and
devices where the user who unpacked could not set them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from typing import IO, TYPE_CHECKING

from attrs import evolve

from layerlog.drivers.tarsplit import reassemble
from layerlog.eventstore.errors import BlobMissing, ContentsDamaged, DriverError, StoreError
from layerlog.findings import CONTENT, MISSING, Finding
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layerlog.core import Core
    from layerlog.projections.items import Row

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
_KINDS = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link"}
Path = dict[str, "What"]


class What:
    """One path as a tar header tells it."""

    __slots__ = ("gid", "kind", "mode", "mtime", "size", "uid")

    def __init__(self, member: tarfile.TarInfo) -> None:
        special = f"special {member.devmajor}:{member.devminor}"
        self.kind = "file" if member.issparse() or member.isreg() else _KINDS.get(member.type, special)
        self.mode = stat.S_IMODE(member.mode)
        self.uid, self.gid, self.mtime = member.uid, member.gid, int(member.mtime)
        self.size = member.size if self.kind == "file" else 0

    def differences(self, found: What, owners: bool) -> list[str]:
        """What differs, in the original's form: ``mode:0755￫0700``."""
        said = [("kind", self.kind, found.kind)]
        if owners:
            said += [("uid", str(self.uid), str(found.uid)), ("gid", str(self.gid), str(found.gid))]
        if self.kind == "file":
            said += [("size", str(self.size), str(found.size)), ("mtime", str(self.mtime), str(found.mtime))]
        if self.kind != "link":
            said.append(("mode", f"0{self.mode:o}", f"0{found.mode:o}"))
        return [f"{name}:{before}￫{now}" for name, before, now in said if before != now]


def contents(core: Core, quick: bool) -> Iterator[Finding]:
    """Every layer of the store, bases before what stands on them."""
    with core.reading() as rows:
        layers = every(rows, "layer")
        chains = {row["id"]: layer_rows.chain(rows, row["id"]) for row in layers}  # of other stores, too: read, and never mended
    sound: set[str] = set()
    whole_tars = foretold(core, layers)
    by_id = {row["id"]: row for row in reversed(layers)}  # one's own hides that of another store
    for row in layers:
        findings = [] if core.leases.holder(row["id"]) else list(_layer(core, row))
        if findings and core.layer_row(row["id"]) != row:
            continue  # changed or deleted while we looked
        yield from _flagged(row, findings)
        whole = [row["id"], *chains[row["id"]]]
        if findings or row["id"] not in whole_tars or not sound.issuperset(whole[1:]):
            continue
        findings = [] if quick else list(_tree(core, [by_id[one] for one in whole]))
        if core.layer_row(row["id"]) != row:
            continue
        yield from _flagged(row, findings)
        if not findings:  # else each layer above it would be told the same
            sound.add(row["id"])


def foretold(core: Core, layers: list[Row]) -> set[str]:
    """IDs of layers that held nothing before their one tar was applied: their headers tell all that they add.

    A layer made of a tar is one. For one that was made empty and filled later the history is read, since its
    record does not tell what was written into it before.
    """
    recorded = [row for row in layers if row.get("contents", {}).get("tar_split")]
    found = {row["id"] for row in recorded if row["generation"] in (0, row.get("anew"))}
    asked = {row["id"] for row in recorded if row["generation"] == 1} - found
    empty: set[str] = set()
    for commit in core.ledger.history() if asked else ():
        for event in commit.events:
            layer_id = event.get("id")
            if layer_id not in asked:
                continue
            if event["type"] == "LayerCreated":
                found.discard(layer_id)  # another layer of that ID was before it
                (empty.discard if event.get("contents") or event.get("opened") else empty.add)(layer_id)
            elif event["type"] == "LayerOpenedForWriting":
                empty.discard(layer_id)
            elif event["type"] == "LayerDiffApplied" and layer_id in empty:
                empty.discard(layer_id)
                found.add(layer_id)
    return found


def _flagged(row: Row, findings: Iterable[Finding]) -> Iterator[Finding]:
    """What is found of another store's layer is said of a read-only one."""
    for one in findings:
        yield evolve(one, read_only=True) if row.get("read_only") else one


def _layer(core: Core, row: Row) -> Iterator[Finding]:
    """Its folder is there; its diff is the recorded one."""
    layer_id = row["id"]
    if not core.driver.found(layer_id):
        if "contents" in row or "opened" in row:
            proof = f"{core.driver.path(layer_id)} is missing"
            yield Finding(MISSING, "layer", layer_id, f"layer {layer_id}: its folder is missing", proof, f"layerlog repair {layer_id}")
        return
    expected = row.get("contents", {})
    if expected.get("unproven"):
        message = f"layer {layer_id}: its contents are not proven"
        proof = f"adopted without the record of its tar, which should be {expected['diff_digest']}"
        yield Finding(CONTENT, "layer", layer_id, message, proof, f"layerlog repair {layer_id}")
        return
    if not expected.get("tar_split"):
        return
    since = f"; it was opened for writing in commit {row['opened']}" if "opened" in row else ""
    digest, size = hashlib.sha256(), 0
    try:
        with core.blobs_with(expected["tar_split"]["blob"]).open(expected["tar_split"]["blob"]) as record:
            for block in reassemble(core.driver, layer_id, record):
                digest.update(block)
                size += len(block)
    except BlobMissing as error:
        message = f"layer {layer_id}: the record of its tar is missing"
        yield Finding(MISSING, "layer", layer_id, message, str(error), f"layerlog repair {layer_id}")
        return
    except (ContentsDamaged, DriverError, OSError, EOFError) as error:
        message = f"layer {layer_id}: file integrity checksum failed"
        yield Finding(CONTENT, "layer", layer_id, message, f"{error}{since}", f"layerlog repair {layer_id}")
        return
    found = f"sha256:{digest.hexdigest()}"
    if (found, size) != (expected["diff_digest"], expected["diff_size"]):
        proof = f"its diff has {size} bytes and digest {found}; recorded are {expected['diff_size']} and {expected['diff_digest']}{since}"
        message = f"layer {layer_id}: layer content incorrect digest"
        yield Finding(CONTENT, "layer", layer_id, message, proof, f"layerlog repair {layer_id}")


def _tree(core: Core, chain: list[Row]) -> Iterator[Finding]:
    """The whole tree of a layer, against the headers of all tars below and of its own. *chain*: itself first."""
    layer_id, below = chain[0]["id"], [row["id"] for row in chain[1:]]
    expected: Path = {}
    try:
        for row in reversed(chain):
            blob = row["contents"]["tar_split"]["blob"]
            with core.blobs_with(blob).open(blob) as record:
                _fold(expected, _members(reassemble(core.driver, row["id"], record)))
        found = {_clean(member.name): one for member, one in _linked(_members(core.driver.diff(layer_id, below, against=[])))}
    except (tarfile.TarError, StoreError, OSError) as error:
        message = f"layer {layer_id}: its tree cannot be read"
        yield Finding(CONTENT, "layer", layer_id, message, str(error), f"layerlog check --quick, then layerlog repair {layer_id}")
        return
    since = f"; it was opened for writing in commit {chain[0]['opened']}" if "opened" in chain[0] else ""
    owners = os.geteuid() == 0 and not any(row["contents"].get("left_out") for row in chain)
    for path in sorted({*expected, *found} - {""}):
        wanted, seen = expected.get(path), found.get(path)
        if seen is None and wanted is not None and (owners or not wanted.kind.startswith("special")):
            said = f"-/{path}"
        elif wanted is None and seen is not None:
            said = f"+/{path}"
        elif wanted is not None and seen is not None and (differences := wanted.differences(seen, owners)):
            said = f"/{path}({','.join(differences)})"
        else:
            continue
        message = f"layer {layer_id}: {said}, layer content modified"
        yield Finding(CONTENT, "layer", layer_id, message, f"{core.driver.path(layer_id)}: {said}{since}", f"layerlog repair {layer_id}")


class _Stream:
    """An iterator of blocks as a file that tarfile reads.

    Real archives end without padding of the last member and without end-of-archive blocks; tarfile raises there, so
    zeros follow the last block.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest, self._padding = blocks, b"", bytes(3 * 512)

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (block := next(self._blocks, None)) is not None:
            self._rest += block
        if len(self._rest) < size:
            self._rest, self._padding = self._rest + self._padding, b""
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _members(blocks: Iterator[bytes]) -> Iterator[tarfile.TarInfo]:
    stream: IO[bytes] = _Stream(blocks)  # type: ignore[assignment] # read is all that tarfile uses of a stream
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined] # or it keeps them all
            yield member


def _linked(members: Iterator[tarfile.TarInfo], known: Path | None = None) -> Iterator[tuple[tarfile.TarInfo, What]]:
    """Each member with what it is; a hard link is what it leads to."""
    seen: Path = {} if known is None else known
    for member in members:
        what = What(member)
        if member.islnk():
            what = seen.get(_clean(member.linkname), what)
        if known is None:
            seen[_clean(member.name)] = what
        yield member, what


def _fold(tree: Path, members: Iterator[tarfile.TarInfo]) -> None:
    """Lay one tar over *tree*: whiteouts hide what was below, a file replaces a folder with all that it held."""
    below = set(tree)
    for member, what in _linked(members, tree):
        path = _clean(member.name)
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            _remove(tree, folder, below, keep_itself=True)
        elif name.startswith(WHITEOUT):
            _remove(tree, f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"), below)
        else:
            if path in tree and (what.kind != "dir" or tree[path].kind != "dir"):
                _remove(tree, path, set(tree))
            tree[path] = what
            below.discard(path)


def _remove(tree: Path, path: str, among: set[str], keep_itself: bool = False) -> None:
    """Take *path* and all below it out, as far as it is *among* these."""
    for one in [one for one in tree if one in among and (one.startswith(f"{path}/") or (one == path and not keep_itself) or not path)]:
        del tree[one]


def _clean(name: str) -> str:
    return os.path.normpath("/" + name).lstrip("/")
