"""How does a mounted overlay layer get its next generation? Its upper folder must stay; what lies in it changes place.

As the original, which unpacks into the upper folder of a live mount: who looks meanwhile may see either, and files that
are open stay what they were; what a program makes between the two moves, and under a name that arrives, gives way. Each step can be
repeated after a crash, because the staged folder tells which is next: while ``diff`` is there, old entries leave; when it is
called ``diff.coming``, new ones arrive; then staging goes.
"""

from __future__ import annotations

import errno
import os
import stat

from layerlog.drivers import durable

_COMING, _LEAVING = "diff.coming", "diff.leaving"
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_TRIES = 20


def begun(staging: str) -> bool:
    """Whether a ``swap_contents`` was cut short here: it alone can go on, mounted or not.

    What is staged without a ``diff`` has given away its contents, and only its removal is missing.
    """
    if any(os.path.isdir(os.path.join(staging, name)) for name in (_COMING, _LEAVING)):
        return True
    return os.path.isdir(staging) and not os.path.isdir(os.path.join(staging, "diff"))


def swap_contents(staging: str, layer: str) -> None:
    """Replace what lies in ``LAYER/diff`` by what lies in ``STAGING/diff``; nothing staged, nothing done. Durable on return."""
    staged, coming, leaving = (os.path.join(staging, name) for name in ("diff", _COMING, _LEAVING))
    upper = os.path.join(layer, "diff")
    if os.path.isdir(staged):
        durable.make_folder(leaving, 0o700)
        _move_all(upper, leaving)
        durable.rename(staged, coming)
        try:
            durable.sync_folder(staging)
        except OSError:  # the rename may be dropped: the next one must have one to flush, or a power cut shows the old entries' turn again
            durable.rename(coming, staged)
            raise
    if os.path.isdir(coming):
        found = os.stat(coming)
        _move_all(coming, upper)
        os.chown(upper, found.st_uid, found.st_gid)
        _give_xattrs(coming, upper)
        os.chmod(upper, stat.S_IMODE(found.st_mode))
        os.utime(upper, ns=(found.st_atime_ns, found.st_mtime_ns))
        durable.sync_folder(upper)  # before what tells to do this again is gone
    durable.remove_tree(staging)


def _give_xattrs(source: str, target: str) -> None:
    """All but overlay's own, which tell the kernel of the folder that stays."""
    from layerlog.drivers.changes import open_xattrs

    fds = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for folder in (source, target)]
    try:
        wanted, there = map(open_xattrs, fds)
        for key in there.keys() - wanted.keys():
            os.removexattr(fds[1], key)
        for key, value in wanted.items():
            if there.get(key) != value:
                os.setxattr(fds[1], key, value)
    finally:
        for fd in fds:
            os.close(fd)


def _move_all(source: str, target: str) -> None:
    for name in os.listdir(source):
        _move(os.path.join(source, name), os.path.join(target, name))
    for folder in (source, target):
        durable.sync_folder(folder)


def _move(path: str, place: str) -> None:
    """Rename; what somebody made meanwhile under that name gives way."""
    for _ in range(_TRIES):
        try:
            durable.rename(path, place)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            durable.remove_tree(place)
        else:
            return
    durable.rename(path, place)
