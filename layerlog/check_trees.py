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
from typing import TYPE_CHECKING

from attrs import evolve

from layerlog.contents import driver_diff
from layerlog.drivers import tarfields, whiteouts
from layerlog.drivers.resolve import clean
from layerlog.drivers.tarsplit import reassemble
from layerlog.drivers.tarstream import Feed, TarReader
from layerlog.eventstore.errors import BlobMissing, ContentsDamaged, DriverError, StoreError
from layerlog.findings import CONTENT, METADATA, MISSING, Finding
from layerlog.projections import layers as layer_rows
from layerlog.projections.items import every

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layerlog.core import Core
    from layerlog.projections.items import Row

_KINDS = {tarfields.REGULAR: "file", tarfields.FOLDER: "dir", tarfields.SYMLINK: "link"}
Path = dict[bytes, "What"]


class What:
    """One path as a tar header tells it."""

    __slots__ = ("gid", "kind", "mode", "mtime", "size", "uid")

    def __init__(self, member: tarfields.Member) -> None:
        self.kind = _KINDS.get(member.kind, f"special {member.major}:{member.minor}")
        self.mode = member.mode
        self.uid, self.gid, self.mtime = member.uid, member.gid, member.mtime_ns // 1_000_000_000
        self.size = member.real_size if self.kind == "file" else 0

    def differences(self, found: What, owners: bool) -> list[str]:
        """What differs, in the original's form: ``mode:0755￫0700``.

        *owners*: root unpacked it; an ordinary user opens folders that would be closed to their owner (attributes.py).
        """
        said = [("kind", self.kind, found.kind)]
        if owners:
            said += [("uid", str(self.uid), str(found.uid)), ("gid", str(self.gid), str(found.gid))]
        if self.kind == "file":
            said += [("size", str(self.size), str(found.size)), ("mtime", str(self.mtime), str(found.mtime))]
        opened = not owners and self.kind == "dir" and found.mode == self.mode | 0o500
        if self.kind != "link" and not opened:
            said.append(("mode", f"0{self.mode:o}", f"0{found.mode:o}"))
        return [f"{name}:{before}￫{now}" for name, before, now in said if before != now]


def contents(core: Core, quick: bool) -> Iterator[Finding]:
    """Every layer of the store, bases before what stands on them."""
    with core.reading() as rows:
        layers = every(rows, "layer")
        chains = {row["id"]: layer_rows.chain(rows, row["id"]) for row in layers}  # of other stores, too: read, and never mended
    sound: set[str] = set()
    whole_tars = foretold(core, layers) - outrun(core, layers, chains)
    trees: dict[str, Path] = {}  # of the layer looked at last: the next one often stands on it
    by_id = {row["id"]: row for row in reversed(layers)}  # one's own hides that of another store
    for row in layers:
        findings = [] if core.leases.holder(row["id"]) else list(_layer(core, row))
        if findings and core.layer_row(row["id"]) != row:
            continue  # changed or deleted while we looked
        yield from _flagged(row, findings)
        whole = [row["id"], *chains[row["id"]]]
        if findings or row["id"] not in whole_tars or not sound.issuperset(whole[1:]):
            continue
        findings = [] if quick else list(_tree(core, [by_id[one] for one in whole], trees))
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


def outrun(core: Core, layers: list[Row], chains: dict[str, list[str]]) -> set[str]:
    """IDs of layers below which one was filled after them: a driver that copies gave them what that held before."""
    late = {row["id"] for row in layers if row["generation"]}
    suspects = {layer_id: late.intersection(below) for layer_id, below in chains.items() if not late.isdisjoint(below)}
    filled: dict[str, int] = {}
    before = 0
    for commit in core.ledger.history() if suspects else ():
        before = before or commit.sequence - 1
        for event in commit.events:
            if event["type"] in ("LayerCreated", "LayerDiffApplied"):
                filled[event["id"]] = commit.sequence
    # Of two that compaction folded away nobody knows which was the first: their headers are not relied upon.
    return {one for one, below in suspects.items() if max(filled.get(under, before) for under in below) > filled.get(one, 0)}


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
        if _refused(error):
            yield _unreadable(layer_id, error)
            return
        message = f"layer {layer_id}: file integrity checksum failed"
        yield Finding(CONTENT, "layer", layer_id, message, f"{error}{since}", f"layerlog repair {layer_id}")
        return
    found = f"sha256:{digest.hexdigest()}"
    if (found, size) != (expected["diff_digest"], expected["diff_size"]):
        proof = f"its diff has {size} bytes and digest {found}; recorded are {expected['diff_size']} and {expected['diff_digest']}{since}"
        message = f"layer {layer_id}: layer content incorrect digest"
        yield Finding(CONTENT, "layer", layer_id, message, proof, f"layerlog repair {layer_id}")


def _refused(error: BaseException) -> bool:
    """Whether the system does not let this user read, which says nothing of what is there."""
    return isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)


def _unreadable(layer_id: str, error: BaseException) -> Finding:
    """No damage, and nothing to repair: a layer that was unpacked in a user namespace, looked at from outside."""
    message = f"layer {layer_id}: its contents are not this user's to read"
    return Finding(METADATA, "layer", layer_id, message, str(error), "layerlog --unshare check", unknown=True)


def _tree(core: Core, chain: list[Row], trees: dict[str, Path]) -> Iterator[Finding]:
    """The whole tree of a layer, against the headers of all tars below and of its own. *chain*: itself first.

    *trees*: what headers tell of the layer looked at before; it is replaced by that of this one.
    """
    layer_id, below = chain[0]["id"], [row["id"] for row in chain[1:]]
    expected = trees.pop(below[0], None) if below else None
    trees.clear()
    todo = chain if expected is None else chain[:1]
    expected = expected or {}
    try:
        for row in reversed(todo):
            blob = row["contents"]["tar_split"]["blob"]
            with core.blobs_with(blob).open(blob) as record:
                _fold(expected, _members(reassemble(core.driver, row["id"], record)), core.driver.name == "overlay")
        trees[layer_id] = expected
        found = {clean(member.name): one for member, one in _linked(_members(driver_diff(core, layer_id, below, [])))}
    except _ThroughLink:
        return
    except (StoreError, OSError) as error:
        if _refused(error):
            yield _unreadable(layer_id, error)
            return
        message = f"layer {layer_id}: its tree cannot be read"
        yield Finding(CONTENT, "layer", layer_id, message, str(error), f"layerlog check --quick, then layerlog repair {layer_id}")
        return
    since = f"; it was opened for writing in commit {chain[0]['opened']}" if "opened" in chain[0] else ""
    owners = os.geteuid() == 0 and not any(row["contents"].get("left_out") for row in chain)
    for name in sorted({*expected, *found} - {b""}):
        wanted, seen, path = expected.get(name), found.get(name), os.fsdecode(name)
        if seen is None and wanted is not None and (owners or not wanted.kind.startswith("special")):
            said = f"-/{path}"
        elif wanted is None and seen is not None:
            said = f"+/{path}"
        elif wanted is IMPLIED and seen is not None and seen.kind == "dir":
            continue
        elif wanted is not None and seen is not None and (differences := wanted.differences(seen, owners)):
            said = f"/{path}({','.join(differences)})"
        else:
            continue
        message = f"layer {layer_id}: {said}, layer content modified"
        yield Finding(CONTENT, "layer", layer_id, message, f"{core.driver.path(layer_id)}: {said}{since}", f"layerlog repair {layer_id}")


def _implied() -> What:
    member = tarfields.Member(b"", tarfields.FOLDER, 0)
    member.mode = 0o755
    return What(member)


IMPLIED = _implied()
"""A folder that an archive only implies: nothing says what it is like."""


class _ThroughLink(Exception):
    """A path leads through a symlink: the drivers differ in what becomes of it, as those of the original do."""


def _members(blocks: Iterator[bytes]) -> Iterator[tarfields.Member]:
    reader = TarReader(Feed(blocks))
    while (member := reader.next()) is not None:
        if member.kind != tarfields.GLOBAL:
            yield member


def _linked(members: Iterator[tarfields.Member], known: Path | None = None) -> Iterator[tuple[tarfields.Member, What]]:
    """Each member with what it is; a hard link is what it leads to."""
    seen: Path = {} if known is None else known
    for member in members:
        what = What(member)
        if member.kind == tarfields.HARD_LINK:
            what = seen.get(clean(member.link), what)
        if known is None:
            seen[clean(member.name)] = what
        yield member, what


def _fold(tree: Path, members: Iterator[tarfields.Member], marks: bool) -> None:
    """Lay one tar over *tree*: whiteouts hide what was below, a file replaces a folder with all that it held.

    *marks*: a character device 0:0 is one too, whoever made it: so the kernel takes it.
    """
    below = set(tree)
    for member, what in _linked(members, tree):
        path = clean(member.name)
        folder, _, name = path.rpartition(b"/")
        says = whiteouts.meaning(name)
        if says == whiteouts.HIDES:
            _remove(tree, folder, below, keep_itself=True)
        elif says == whiteouts.DELETES:
            _remove(tree, (folder + b"/" if folder else b"") + name.removeprefix(whiteouts.PREFIX), below)
        elif says == whiteouts.NOT_A_WHITEOUT:
            if path in tree and (what.kind != "dir" or tree[path].kind != "dir"):
                _remove(tree, path, set(tree))
            if marks and member.kind == tarfields.CHAR and not (member.major or member.minor):
                _remove(tree, path, set(tree))
            else:
                tree[path] = what
            below.discard(path)
            _fold_parents(tree, folder, below)


def _fold_parents(tree: Path, folder: bytes, below: set[bytes]) -> None:
    """The folders that a member implies. Raises _ThroughLink."""
    while folder:
        there = tree.get(folder)
        if there is not None and there.kind == "link":
            raise _ThroughLink
        below.discard(folder)
        if there is None:
            tree[folder] = IMPLIED
        folder = folder.rpartition(b"/")[0]


def _remove(tree: Path, path: bytes, among: set[bytes], keep_itself: bool = False) -> None:
    """Take *path* and all below it out, as far as it is *among* these."""
    inside = path + b"/" if path else b""
    for one in [one for one in tree if one in among and (one.startswith(inside) or (one == path and not keep_itself))]:
        del tree[one]
