"""Where the store is and how it is opened: flags, storage.conf, environment, defaults.

Source: contract/cli.md §2, "Where defaults come from". The two doors differ in two things only. ``compat`` reads
the files of the original and falls back on its roots. ``layerlog`` reads its own files (the same format) and
falls back on roots of its own: on a machine with Podman, storage.conf and the default root describe *Podman's*
store, which layerlog refuses to touch; a first ``layerlog load`` must not end in that refusal.
"""

from __future__ import annotations

import os
from types import NoneType

from layerlog.eventstore.errors import IncompleteOptions, InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYSTEM_FILES = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
SYSTEM_FOLDERS = ("/etc/", "/usr/share/")
OWN_SYSTEM_FILE = "/etc/layerlog/storage.conf"


OUTSIDE = "_CONTAINERS_ROOTLESS_UID"
"""Set inside a user namespace, by us and by the original: who one is outside."""


class Settings:
    """What a Store is opened with. ``file`` is the main configuration file that was read; ``table`` what it and its drop-ins say.

    ``unhonoured``: options of the file that the original acts on and layerlog does not.
    """

    __slots__ = ("driver", "file", "image_store", "options", "priority", "root", "run_root", "table", "transient", "unhonoured", "userns")

    def __init__(self) -> None:
        self.root = self.run_root = self.driver = self.image_store = self.file = ""
        self.options: list[str] = []
        self.priority: list[str] = []
        self.unhonoured: list[str] = []
        self.transient = False
        self.userns: tuple[str, int, int] = ("", 0, 0)
        """For containers in a user namespace of their own: whose subordinate IDs, the least and the most of them; 0 is not set."""
        self.table: dict[str, Any] = {}


def settle(values: dict[str, Any], compat: bool) -> Settings:
    """Flags over file and environment over defaults. Raises IncompleteOptions, InvalidRequest."""
    for key in ("graph", "run", "image_store", "storage_driver"):
        if "\0" in (values.get(key) or ""):
            raise InvalidRequest(f"--{key.replace('_', '-')}: a path has no NUL byte")
    found = defaults(compat)
    given = bool(values.get("graph") or values.get("run") or values.get("storage_driver") or values.get("storage_opt"))
    if given:
        found.unhonoured = []
        if compat and not (values.get("graph") or values.get("run")):
            raise IncompleteOptions
        found.driver, found.options, found.priority = values.get("storage_driver") or "", list(values.get("storage_opt") or ()), []
        if values.get("graph"):
            found.root = os.path.abspath(values["graph"])
        if values.get("run"):
            found.run_root = os.path.abspath(values["run"])
        elif values.get("graph") and not compat:
            found.run_root = ""
    found.driver = "overlay" if found.driver == "overlay2" else found.driver
    found.image_store = os.path.abspath(values["image_store"]) if values.get("image_store") else ("" if given else found.image_store)
    found.transient = bool(values.get("transient_store")) or (found.transient and not given)
    return found


def defaults(compat: bool, path: str | None = None) -> Settings:
    """Settings without any flag. Reads at most one configuration file: *path*, or the first that exists."""
    found = Settings()
    if compat:
        found.root, found.run_root = _original_roots()
    else:
        found.root, found.run_root = _own_roots()
    found.file = path or config_file(compat)
    files = [found.file] if found.file else []
    named = bool(path or os.environ.get("CONTAINERS_STORAGE_CONF"))
    if not named:
        files += drop_ins(compat)
    if not path and (last := os.environ.get("CONTAINERS_STORAGE_CONF_OVERRIDE")):
        files.append(last)
    if files:
        _read(found, files, named)
    if driver := os.environ.get("STORAGE_DRIVER"):
        found.driver = driver
    if options := os.environ.get("STORAGE_OPTS"):
        found.options = options.split(",")
    if not compat:
        found.root = os.environ.get("LAYERLOG_ROOT") or found.root
        found.run_root = os.environ.get("LAYERLOG_RUN_ROOT") or found.run_root
    return found


def config_file(compat: bool) -> str:
    """The configuration file that counts; empty when there is none. ``$CONTAINERS_STORAGE_CONF`` must exist."""
    if path := os.environ.get("CONTAINERS_STORAGE_CONF"):
        return path
    own = os.environ.get("XDG_CONFIG_HOME") or (os.path.join(home(), ".config") if user() else "")
    folder = "containers" if compat else "layerlog"
    places = [os.path.join(own, folder, "storage.conf")] if own else []
    places += SYSTEM_FILES if compat else (OWN_SYSTEM_FILE,)
    return next((place for place in places if os.path.exists(place)), "")


def drop_ins(compat: bool) -> list[str]:
    """Files that are read after the main one, by name wherever they lie; of two of the same name that of the later folder counts.

    Source: containers-config(5): below each place ``storage.conf.d/``, for root ``storage.rootful.conf.d/``, for others
    ``storage.rootless.conf.d/`` and a folder of the user's ID in that.
    """
    own = os.environ.get("XDG_CONFIG_HOME") or (os.path.join(home(), ".config") if user() else "")
    name = "containers" if compat else "layerlog"
    places = [f"/usr/share/{name}", f"/etc/{name}"]
    found: dict[str, str] = {}
    for place in [*places, *([os.path.join(own, name)] if own else [])]:
        variants = ["storage.conf.d"]
        if place in places:
            rootless = ["storage.rootless.conf.d", f"storage.rootless.conf.d/{user()}"]
            variants += rootless if user() else ["storage.rootful.conf.d"]
        for variant in variants:
            folder = os.path.join(place, variant)
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            found.update({one: os.path.join(folder, one) for one in names if one.endswith(".conf")})
    return [found[one] for one in sorted(found)]


def user() -> int:
    """Whose store it is: the user, inside a user namespace too, where everybody is root."""
    outside = os.environ.get(OUTSIDE, "")
    return int(outside) if outside.isascii() and outside.isdigit() and len(outside) < 11 else os.geteuid()


def home() -> str:
    """The user's home, from the environment or the user database."""
    return os.environ.get("HOME") or os.path.expanduser("~")


def _original_roots() -> tuple[str, str]:
    if user() == 0:
        return "/var/lib/containers/storage", "/run/containers/storage"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home(), ".local/share")
    return os.path.join(data, "containers/storage"), os.path.join(_run_folder(), "containers")


def _own_roots() -> tuple[str, str]:
    if user() == 0:
        return "/var/lib/layerlog", "/run/layerlog"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home(), ".local/share")
    return os.path.join(data, "layerlog"), os.path.join(_run_folder(), "layerlog")


def _run_folder() -> str:
    """The user's own run-time folder; in /tmp where the system gives none."""
    uid = user()
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given):
        return given
    usual = f"/run/user/{uid}"
    return usual if os.path.isdir(usual) and os.access(usual, os.W_OK) else f"/tmp/storage-run-{uid}"


def _read(found: Settings, paths: list[str], named: bool) -> None:
    """Put what the files say into *found*, later ones over earlier ones. *named*: the user named the first of them."""
    for path in paths:
        table = _parsed(path)
        if user() and not named and path.startswith(SYSTEM_FOLDERS) and "rootless" not in path:
            _without_roots(table)
        _merge(found.table, table)
    path = paths[0]
    storage = _section(found.table, "storage", path)
    found.driver = _word(storage, "driver") or found.driver
    found.driver = "overlay" if found.driver == "overlay2" else found.driver  # its name in older files and scripts
    found.root = _path(_word(storage, "graphroot")) or found.root
    found.run_root = _path(_word(storage, "runroot")) or found.run_root
    if user() and (rootless := _word(storage, "rootless_storage_path")):
        found.root = _path(rootless)
    found.image_store = _word(storage, "imagestore")
    found.priority = _texts(storage, "driver_priority")
    found.transient = _truth(storage, "transient_store")
    options = _section(storage, "options", path)
    _section(options, "pull_options", path)
    for driver in UNHONOURED:
        _section(options, driver, path)
    sizes = (_number(options, "auto-userns-min-size"), _number(options, "auto-userns-max-size"))
    found.userns = (_word(options, "root-auto-userns-user"), *sizes)
    found.options = driver_options(options, found.driver)
    found.unhonoured = unhonoured(options, found.driver)


def _without_roots(table: dict[str, Any]) -> None:
    """The roots in a file of the system are root's; everybody else has ``rootless_storage_path``, or the home."""
    storage = table.get("storage")
    for key in ("graphroot", "runroot"):
        if isinstance(storage, dict):
            storage.pop(key, None)


def _parsed(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.loads(file.read().decode("utf-8").removeprefix("\ufeff"))  # a byte order mark, as Windows' editors leave
    except ValueError as broken:  # no TOML, no UTF-8, or a number without end
        raise InvalidRequest(f"{path}: {broken}") from broken
    except OSError as missing:
        raise InvalidRequest(f"{path}: {(missing.strerror or str(missing)).lower()}") from missing


def _merge(table: dict[str, Any], later: dict[str, Any]) -> None:
    """Tables are merged, everything else is replaced."""
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value


UNHONOURED = {
    "overlay": ("ignore_chown_errors", "mount_program", "size", "inodes", "force_mask", "use_composefs"),
    "vfs": ("ignore_chown_errors",),
    "btrfs": ("min_space", "size"),
    "zfs": ("size",),
}
"""What the original acts on and layerlog does not, by driver."""
UNHONOURED_BY_ALL = ("remap-uids", "remap-gids", "remap-user", "remap-group", "disable-volatile", "strip_suid_sgid")
"""The same of the keys that belong to no driver."""


def unhonoured(options: dict[str, Any], driver: str) -> list[str]:
    """Options that are set to something and change nothing here: a driver's as they would be written with --storage-opt."""
    nothing = (None, "", False, "false", "0")
    name = driver or "overlay"
    section = options.get(name)
    own = {**options, **(section if isinstance(section, dict) else {})}
    found = [f"{name}.{key}" for key in UNHONOURED.get(name, ()) if own.get(key) not in nothing]
    found += [key for key in UNHONOURED_BY_ALL if options.get(key) not in nothing]
    return found + ([f"{name}.additionallayerstore"] if options.get("additionallayerstores") else [])


ARCHIVE_LIMITS = ("archive_bytes_max", "archive_entries_max", "archive_ratio_max", "archive_name_bytes_max")
"""Of ours (layerlog/limits.py); the original knows no such options."""


def driver_options(options: dict[str, Any], driver: str) -> list[str]:
    """``[storage.options]`` as ``driver.key=value`` words, in the original's order."""
    prefix = driver or "overlay"
    section = options.get(prefix)
    own = {**options, **(section if isinstance(section, dict) else {})}
    found = [f"{prefix}.imagestore={place}" for place in _texts(options, "additionalimagestores")]
    found += [f"{prefix}.additionallayerstore={place}" for place in _texts(options, "additionallayerstores")]
    keys = {
        "overlay": ("ignore_chown_errors", "mountopt", "mount_program", "size", "inodes", "skip_mount_home", "force_mask", "use_composefs"),
        "vfs": ("ignore_chown_errors",),
        "btrfs": ("min_space", "size"),
        "zfs": ("fsname", "mountopt", "size"),
    }.get(prefix, ())
    name = {"zfs": "zfs", "btrfs": "btrfs"}.get(prefix, prefix)
    for key in (*keys, *ARCHIVE_LIMITS):
        value = own.get(key)
        if not isinstance(value, (str, bool, int, NoneType)):
            raise InvalidRequest(f"storage.conf: {key} is no text")
        if value not in (None, "", False):
            found.append(f"{name}.{key}={str(value).lower() if isinstance(value, bool) else value}")
    return found


def _section(table: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise InvalidRequest(f"{path}: [{name}] is not a table")
    return found


def _word(table: dict[str, Any], key: str) -> str:
    found = table.get(key, "")
    if not isinstance(found, str) or "\0" in found:
        raise InvalidRequest(f"storage.conf: {key} is no text")
    return found


def _number(table: dict[str, Any], key: str) -> int:
    found = table.get(key, 0)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**32:
        raise InvalidRequest(f"storage.conf: {key} is no number of IDs")
    return found


def _truth(table: dict[str, Any], key: str) -> bool:
    found = table.get(key, False)
    if not isinstance(found, bool) and str(found).lower() not in (*_TRUE, "", "0", "f", "false", "no"):
        raise InvalidRequest(f"storage.conf: {key} is neither true nor false")
    return truth(found)


def _texts(table: dict[str, Any], key: str) -> list[str]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) and "\0" not in one for one in found):
        raise InvalidRequest(f"storage.conf: {key} is no list of texts")
    return found


def _path(text: str) -> str:
    """*text* with environment variables and the user's ID and home filled in."""
    if "$" not in text:
        return text
    import re

    known = {**os.environ, "UID": str(user())}
    found = re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda one: known.get(one[1] or one[2], ""), text, flags=re.ASCII)
    if not os.path.isabs(found):
        raise InvalidRequest(f"storage.conf: {text} is no path: a variable in it is not set")
    return found


_TRUE = ("1", "t", "true", "yes")


def truth(value: object) -> bool:
    """A boolean that may be written as a string."""
    return value is True or (isinstance(value, str) and value.lower() in _TRUE)
