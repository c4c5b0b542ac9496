"""The judge for a program known by its commands only: the same questions, asked by them and by looking at the files."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.crash.programs import Program

    State = dict[str, dict[str, Any]]

FAULTS = ("lost", "half done", "corrupt", "refused", "leaked", "false alarm")
_KEPT = ("names", "parent", "metadata", "diff-digest", "diff-size", "layer", "image", "big-data-names", "big-data-digests")
_OURS = ("staging", "trash")


class Refused(Exception):
    """A listing of the store failed."""


class Opened:
    """One store, and the program that opens it."""

    def __init__(self, program: Program, root: str, run_root: str, driver: str) -> None:
        self.program, self.root, self.run_root, self.driver = program, root, run_root, driver

    def run(self, *words: str) -> tuple[int, bytes]:
        """One command."""
        return self.program.run(self.root, self.run_root, self.driver, list(words))

    def listing(self, noun: str) -> list[dict[str, Any]]:
        """Records of one kind. Raises Refused."""
        status, output = self.run(noun, "--json")
        try:
            if status:
                raise ValueError(f"exit status {status}: {shown(output)}")
            return json.loads(output or "[]") or []
        except ValueError as error:
            raise Refused(f"{noun}: {error}") from error

    def state(self) -> State:
        """All records, without times; a container's layer, whose ID is random, is called after the container."""
        containers = self.listing("containers")
        layer_of = {row["layer"]: f"layer of {row['id']}" for row in containers}
        found: State = {}
        for noun in ("layers", "images", "containers"):
            for row in containers if noun == "containers" else self.listing(noun):
                kept = {name: row[name] for name in _KEPT if row.get(name)}
                if noun == "containers":
                    kept["layer"] = f"layer of {row['id']}"
                found[f"{noun} {layer_of.get(row['id'], row['id'])}"] = kept
        return found


def judge(store: Opened, allowed: list[State], known: set[str], probe: str) -> dict[str, list[str]]:
    """What is wrong, by fault. *allowed*: the states before and after the command in flight. *known*: IDs that ever had a name of ours."""
    faults: dict[str, list[str]] = {fault: [] for fault in FAULTS}
    try:
        found = store.state()
        compare(found, allowed, known, faults)
        faults["corrupt"] = contents(store)
        if store.program.own_check and not any(faults.values()):
            status, output = store.run("check")
            faults["false alarm"] = [output.decode(errors="replace")] if status or output else []
        faults["refused"] = goes_on(store, probe)
        faults["leaked"] = leftovers(store)
    except Refused as refused:
        faults["refused"].append(str(refused))
    return faults


def compare(found: State, allowed: list[State], known: set[str], faults: dict[str, list[str]]) -> None:
    """Acknowledged is there, deleted is gone, and of the command in flight all or nothing."""
    if found in allowed:
        return
    for item in sorted({*found, *allowed[0], *allowed[-1]}):
        shown = found.get(item)
        if all(shown != one.get(item) for one in allowed):
            foreign = item.partition(" ")[2] not in known
            faults["half done" if foreign else "lost"].append(f"{item}: {shown} instead of {[one.get(item) for one in allowed]}")
    if not faults["lost"] and not faults["half done"]:
        faults["half done"].append("some of the command in flight happened")


def contents(store: Opened) -> list[str]:
    """Every layer gives back what its digest says, every item of big data too."""
    faults = []
    for layer in store.listing("layers"):
        status, output = store.run("diff", "-u", layer["id"])
        if status:
            faults.append(f"layer {layer['id']} gives no diff: {shown(output)}")
        elif "diff-digest" in layer and layer["diff-digest"] != f"sha256:{hashlib.sha256(output).hexdigest()}":
            faults.append(f"layer {layer['id']} has another digest")
    for image in store.listing("images"):
        for key, digest in (image.get("big-data-digests") or {}).items():
            status, output = store.run("get-image-data", image["id"], key)
            if status or digest != f"sha256:{hashlib.sha256(output).hexdigest()}":
                faults.append(f"image {image['id']}: {key} is damaged")
    return faults


def goes_on(store: Opened, probe: str) -> list[str]:
    """New operations work."""
    for words in (
        ["import-layer", "-i", "probe", "-f", probe],
        ["create-image", "-i", "probe-image", "-n", "probe:1", "probe"],
        ["delete-image", "probe-image"],
    ):
        status, output = store.run(*words)
        if status:
            return [f"{words[0]} fails: {shown(output)}"]
    return []


def shown(output: bytes) -> str:
    """The end of what a program said."""
    return output[-300:].decode(errors="replace")


def leftovers(store: Opened) -> list[str]:
    """Files of layers, images and containers that no record claims; the store had a chance to tidy up: it was opened and changed."""
    ids = {noun: {row["id"] for row in store.listing(noun)} for noun in ("layers", "images", "containers")}
    home = os.path.join(store.root, store.driver, "dir") if store.driver == "vfs" else os.path.join(store.root, store.driver)
    special = {"l", "lost+found", "leases", *_OURS}
    found = [f"layer folder {one}" for one in _names(home) if one not in ids["layers"] | special and not one.startswith(".")]
    found += [f"link {one}" for one in _names(home, "l") if not os.path.exists(os.path.join(home, "l", one))]
    for folder in _OURS:
        found += [f"{folder}/{one}" for one in (*_names(home, folder), *_names(store.root, store.driver, folder))]
    found += [f"leases/{one}" for one in _names(store.root, f"{store.driver}-layerlog", "leases") if one != ".room"]
    for noun in ("layers", "images", "containers"):
        for one in _names(store.root, f"{store.driver}-{noun}"):
            if not one.startswith(f"{noun}.") and not one.startswith("volatile-") and one.split(".tar-split")[0] not in ids[noun]:
                found.append(f"{store.driver}-{noun}/{one}")
    return found


def _names(*parts: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except (FileNotFoundError, NotADirectoryError):
        return []
