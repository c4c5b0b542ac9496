"""How does a chain of layers become one mount?

By mount(2) while the options fit into the page it takes; beyond that by fsopen(2), which takes one
lower layer at a time (``lowerdir+``, Linux 6.5); before 6.5 by a helper process that enters the home
and uses the short names. The library itself never changes its folder.
"""

from __future__ import annotations

import errno
import os

from layerlog.drivers import durable, syscalls
from layerlog.eventstore.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerlog.drivers.driver import MountOptions
    from layerlog.drivers.idmaps import IDMaps, Remap
    from layerlog.drivers.overlay import Overlay

LAYERS_MAX = 500  # OVL_MAX_STACK of the kernel
_PAGE = 4096
_SPECIAL = "\\,"  # what the parser of mount options reads as structure; in a list of folders the colon, too
_FLAGS = {
    "ro": (syscalls.MS_RDONLY, 0), "rw": (0, syscalls.MS_RDONLY), "nosuid": (syscalls.MS_NOSUID, 0), "suid": (0, syscalls.MS_NOSUID),
    "nodev": (syscalls.MS_NODEV, 0), "dev": (0, syscalls.MS_NODEV), "noexec": (8, 0), "exec": (0, 8), "sync": (16, 0), "async": (0, 16),
    "noatime": (1024, 0), "nodiratime": (2048, 0), "relatime": (1 << 21, 0), "strictatime": (1 << 24, 0), "defaults": (0, 0),
}  # fmt: skip
_ATTRIBUTES = {syscalls.MS_RDONLY: 1, syscalls.MS_NOSUID: 2, syscalls.MS_NODEV: 4, 8: 8, 1024: 0x10, 2048: 0x80, 1 << 24: 0x20}


def mount_layers(driver: Overlay, layer_id: str, chain: Sequence[str], options: MountOptions) -> None:
    """Mount *layer_id* over *chain* at its ``merged`` folder. Raises OSError, NotSupported."""
    path = driver.path(layer_id)
    if len(chain) > LAYERS_MAX - 1:
        raise NotSupported(f"{len(chain)} layers below {layer_id}: the kernel mounts at most {LAYERS_MAX} at once")
    flags, others = _split(options.options or tuple(filter(None, driver.options.get("mountopt", "").split(","))))
    if options.read_only:
        flags |= syscalls.MS_RDONLY
    lowers = driver.stack([layer_id, *chain])[1:] or [os.path.join(path, "empty")]
    if options.uid_maps or options.gid_maps:
        from layerlog.drivers.idmaps import IDMaps
        from layerlog.drivers.shifting import shifted

        maps = IDMaps(options.uid_maps, options.gid_maps)
        _own_root(os.path.join(path, "diff"), maps)
        with shifted(driver, layer_id, lowers, maps) as places:
            _mount_over(driver, path, places, flags, others, options)
        return
    _mount_over(driver, path, lowers, flags, others, options)


def _own_root(diff: str, maps: IDMaps) -> None:
    """The root folder of a layer that is only seen through maps belongs to who stands for its owner."""
    found = os.stat(diff)
    if not maps.covers_host(found.st_uid, found.st_gid):
        os.chown(diff, *maps.host(found.st_uid, found.st_gid))


def _mount_over(driver: Overlay, path: str, lowers: list[str], flags: int, others: list[str], options: MountOptions) -> None:
    settings = [*_settings(driver), *others]
    if options.label:
        settings.append(f"context={_quoted(options.label)}")
    if flags & syscalls.MS_RDONLY:
        # Without an upper folder nothing can be written, not even by the kernel; it wants two lower ones then.
        lowers = [os.path.join(path, "diff"), *lowers]
        above: list[tuple[str, str]] = []
    else:
        _forget_volatile(path)
        if options.volatile and "volatile" not in settings:
            settings.append("volatile")
        above = [("upperdir", os.path.join(path, "diff")), ("workdir", os.path.join(path, "work"))]
    _mount(driver, os.path.join(path, "merged"), lowers, above, settings, flags)


def _mount(driver: Overlay, target: str, lowers: list[str], above: list[tuple[str, str]], settings: list[str], flags: int) -> None:
    parts = ["lowerdir=" + ":".join(_escaped(lower, "\\:,") for lower in lowers)]
    parts += [f"{key}={_escaped(value, _SPECIAL)}" for key, value in above]
    data = ",".join(parts + settings)
    if len(os.fsencode(data)) < _PAGE:
        syscalls.mount(b"overlay", os.fsencode(target), b"overlay", flags, os.fsencode(data))
        return
    try:
        _mount_by_parts(target, lowers, above, settings, flags)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            raise
        _mount_from_inside(driver, target, lowers, above, settings, flags)


def _mount_by_parts(target: str, lowers: list[str], above: list[tuple[str, str]], settings: list[str], flags: int) -> None:
    """fsopen(2), fsconfig(2) for each part, fsmount(2), move_mount(2). A path it could not take is named by a descriptor."""
    context = syscalls.fsopen(b"overlay")
    held: list[int] = []
    try:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, b"source", b"overlay")
        for key, value in [("lowerdir+", lower) for lower in lowers] + above:
            named = os.fsencode(value)
            if len(named) > 255 or b"\\" in named:  # the kernel takes a backslash for the start of an escape
                held.append(os.open(value, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                named = b"/proc/self/fd/%d" % held[-1]
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key.encode(), named)
        for setting in settings:
            key, equals, value = setting.partition("=")
            if equals:
                syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key.encode(), os.fsencode(value.strip('"')))
            else:
                syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, key.encode())
        if flags & syscalls.MS_RDONLY:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, b"ro")
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        attributes = sum(value for flag, value in _ATTRIBUTES.items() if flags & flag)
        mounted = syscalls.fsmount(context, attributes)
        try:
            syscalls.move_mount(mounted, os.fsencode(target))
        finally:
            os.close(mounted)
    finally:
        os.close(context)
        for fd in held:
            os.close(fd)


_HELPER = """
import ctypes, os, sys
home, target, flags, data = sys.argv[1:]
os.chdir(home)
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"overlay", os.fsencode(target), b"overlay", ctypes.c_ulong(int(flags)), os.fsencode(data)):
    sys.exit(ctypes.get_errno())
"""


def _mount_from_inside(
    driver: Overlay, target: str, lowers: list[str], above: list[tuple[str, str]], settings: list[str], flags: int
) -> None:
    """A helper process in the home mounts by short names. Raises NotSupported when even they do not fit."""
    import subprocess
    import sys

    from layerlog.drivers.overlay import short_name

    def relative(path: str) -> str:
        owner, last = os.path.split(os.path.relpath(path, driver.home))
        here = "/" not in owner  # layers of a store that lends are named by their folders
        return f"l/{short_name(owner)}" if here and last == "diff" and path in lowers else _escaped(os.path.join(owner, last), "\\:,")

    parts = ["lowerdir=" + ":".join(map(relative, lowers)), *(f"{key}={relative(value)}" for key, value in above), *settings]
    data = ",".join(parts)
    if len(os.fsencode(data)) >= _PAGE:
        raise NotSupported(f"{len(lowers)} layers at once need Linux 6.5 or newer (fsconfig lowerdir+)")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _HELPER, driver.home, target, str(flags), data])
    if done.returncode:
        raise OSError(done.returncode, os.strerror(done.returncode), target)


def _settings(driver: Overlay) -> list[str]:
    """Options that keep the upper folder readable as a diff: no redirects, no metadata-only copies, whatever the module's defaults."""
    if driver.rootless:
        return ["userxattr"]
    return ["redirect_dir=off", "metacopy=off", "index=off"]


def _split(options: Sequence[str]) -> tuple[int, list[str]]:
    flags = 0
    others = []
    for option in options:
        known = _FLAGS.get(option)
        if known is None:
            others.append(option)
        else:
            flags = (flags | known[0]) & ~known[1]
    return flags, others


def _forget_volatile(path: str) -> None:
    """The kernel refuses an upper folder that was mounted ``volatile`` until this mark is gone."""
    durable.remove_tree(os.path.join(path, "work", "work", "incompat", "volatile"))


def _escaped(path: str, characters: str) -> str:
    return "".join("\\" + letter if letter in characters else letter for letter in path)


def _quoted(label: str) -> str:
    return f'"{label}"' if "," in label else label


def shift_below(root: str, lowers: list[str], remap: Remap) -> None:
    """Have beside *root*, a staged ``diff``, all that *lowers* show, under other owners; what is there already is given to them."""
    from layerlog.drivers.copytree import copy_tree
    from layerlog.drivers.idmaps import shift_tree
    from layerlog.drivers.overlay import BELOW, copy_root
    from layerlog.drivers.whiteouts import is_private_xattr

    staging = os.path.dirname(root)
    below = os.path.join(staging, BELOW)
    if not os.path.isdir(below):
        if not lowers:
            return
        durable.make_folder(below, 0o700)
        merged, empty = os.path.join(staging, "merged"), os.path.join(staging, "empty")
        durable.make_folder(empty, 0o700)
        data = "lowerdir=" + ":".join(_escaped(lower, "\\:,") for lower in [*lowers, empty])
        syscalls.mount(b"overlay", os.fsencode(merged), b"overlay", syscalls.MS_RDONLY, os.fsencode(data))
        try:
            copy_tree(merged, below, lambda key: not is_private_xattr(key))
        finally:
            syscalls.umount(os.fsencode(merged))
        os.rmdir(empty)
    shift_tree(below, remap)
    copy_root(below, root)
