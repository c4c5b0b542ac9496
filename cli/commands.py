"""Which module holds which command. Only the module of the command that runs is imported."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.command import Command

MODULES = {
    # the commands of the contract, in the order in which the original lists them
    "check": "checking",
    "config": "about",
    "container": "containers",
    "list-container-data": "bigdata",
    "get-container-data": "bigdata",
    "get-container-data-size": "bigdata",
    "get-container-data-digest": "bigdata",
    "set-container-data": "bigdata",
    "get-container-dir": "folders",
    "get-container-run-dir": "folders",
    "container-parent-owners": "containers",
    "containers": "containers",
    "copy": "copying",
    "create-layer": "layers",
    "import-layer": "layers",
    "create-storage-layer": "layers",
    "create-image": "images",
    "create-container": "containers",
    "dedup": "housekeeping",
    "delete": "deleting",
    "delete-layer": "deleting",
    "delete-image": "deleting",
    "delete-container": "deleting",
    "changes": "diffs",
    "diffsize": "diffs",
    "diff": "diffs",
    "applydiff": "diffs",
    "applydiff-using-staging-dir": "diffs",
    "exists": "exists",
    "gc": "housekeeping",
    "image": "images",
    "list-image-data": "bigdata",
    "get-image-data": "bigdata",
    "get-image-data-size": "bigdata",
    "get-image-data-digest": "bigdata",
    "get-image-dir": "folders",
    "get-image-run-dir": "folders",
    "set-image-data": "bigdata",
    "images": "images",
    "images-by-digest": "images",
    "layer": "layers",
    "layer-parent-owners": "layers",
    "list-layer-data": "bigdata",
    "get-layer-data": "bigdata",
    "set-layer-data": "bigdata",
    "layers": "layers",
    "storage-layers": "layers",
    "metadata": "metadata",
    "set-metadata": "metadata",
    "mount": "mounts",
    "unmount": "mounts",
    "mounted": "mounts",
    "get-names": "names",
    "add-names": "names",
    "remove-names": "names",
    "set-names": "names",
    "shutdown": "housekeeping",
    "status": "about",
    "unshare": "unshare",
    "version": "about",
    "wipe": "housekeeping",
}
"""Commands of both doors."""

FRIENDLY_MODULES = {
    "load": "moving",
    "save": "moving",
    "import": "moving",
    "tree": "looking",
    "ls": "looking",
    "ps": "looking",
    "inspect": "looking",
    "df": "looking",
    "log": "log",
    "show": "history",
    "why-gone": "history",
    "blame": "asking",
    "who": "asking",
    "diff-state": "asking",
    "undo": "undoing",
    "watch": "watching",
    "verify": "keeping",
    "compact": "compacting",
    "redact": "redacting",
    "bundle": "keeping",
    "replay": "keeping",
    "migrate": "migrating",
    "mounts": "mounts",
    "recover": "rescue",
    "rebuild": "rescue",
    "repair": "rescue",
    "journal": "journal",
    "pin": "undoing",
    "unpin": "undoing",
    "restore": "trash",
    "trash": "trash",
    "commit": "changing",
    "rename": "changing",
    "tag": "changing",
    "untag": "changing",
    "rm": "changing",
    "rmi": "changing",
    "prune": "pruning",
    "apply": "pruning",
    "batch": "batch",
    "compat": "setup",
    "completion": "setup",
    "man": "setup",
    "doctor": "doctor",
}
"""Commands that only ``layerlog`` has."""

ALIASES = {
    "createlayer": "create-layer",
    "importlayer": "import-layer",
    "createimage": "create-image",
    "createcontainer": "create-container",
    "deletelayer": "delete-layer",
    "deleteimage": "delete-image",
    "deletecontainer": "delete-container",
    "diff-size": "diffsize",
    "apply-diff": "applydiff",
    "setmetadata": "set-metadata",
    "umount": "unmount",
    "getnames": "get-names",
    "addnames": "add-names",
    "removenames": "remove-names",
    "setnames": "set-names",
    "listimagedata": "list-image-data",
    "getimagedata": "get-image-data",
    "getimagedatasize": "get-image-data-size",
    "getimagedatadigest": "get-image-data-digest",
    "setimagedata": "set-image-data",
    "listcontainerdata": "list-container-data",
    "getcontainerdata": "get-container-data",
    "getcontainerdatasize": "get-container-data-size",
    "getcontainerdatadigest": "get-container-data-digest",
    "setcontainerdata": "set-container-data",
    "listlayerdata": "list-layer-data",
    "getlayerdata": "get-layer-data",
    "setlayerdata": "set-layer-data",
    "getcontainerdir": "get-container-dir",
    "getcontainerrundir": "get-container-run-dir",
    "getimagedir": "get-image-dir",
    "getimagerundir": "get-image-run-dir",
}


def find(word: str, compat: bool = False) -> Command | None:
    """The command called *word* at that door, or None."""
    name = ALIASES.get(word, word)
    module_name = MODULES.get(name) or (None if compat else FRIENDLY_MODULES.get(name))
    if module_name is None:
        return None
    from importlib import import_module

    module = import_module("layerlog.cli." + module_name)
    found: Command = next(command for command in module.COMMANDS if command.names[0] == name)
    return found


def every(compat: bool = False) -> list[Command]:
    """All commands of a door, in the order of the tables above."""
    names = list(MODULES) + ([] if compat else list(FRIENDLY_MODULES))
    return [command for name in names if (command := find(name, compat)) is not None]
