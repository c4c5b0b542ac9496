"""The command-line tools of btrfs and zfs: started with arguments, never through a shell; what they say is the error.

A driver takes the function that runs them as an argument, so that its arguments can be tested where there is no such file system.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Tool = Callable[..., str]
    """``tool("subvolume", "create", path)``: what it wrote on stdout. Raises OSError."""

_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# What the tools say, in the words of strerror(3) or their own, that callers tell apart.
_SAID = (
    ("No space left", errno.ENOSPC),
    ("out of space", errno.ENOSPC),
    ("Disk quota exceeded", errno.EDQUOT),
    ("Directory not empty", errno.ENOTEMPTY),
    ("already exists", errno.EEXIST),
    ("File exists", errno.EEXIST),
    ("does not exist", errno.ENOENT),
    ("No such file", errno.ENOENT),
    ("not permitted", errno.EPERM),
    ("ermission denied", errno.EACCES),
    ("dependent clones", errno.EBUSY),
    ("busy", errno.EBUSY),
    ("Read-only file system", errno.EROFS),
)


def tool(name: str) -> Tool:
    """The program *name* as a function."""

    def run(*arguments: str) -> str:
        import subprocess

        environment = {"PATH": f"{os.environ.get('PATH', '')}:{_PATH}", "LC_ALL": "C"}
        try:
            done = subprocess.run([name, *arguments], capture_output=True, env=environment, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise OSError(errno.ENOPKG, f"the program {name} is not installed") from None  # not ENOENT: that is an answer
        if done.returncode:
            raise said(done.stderr.decode("utf-8", "replace") or f"{name} ended with status {done.returncode}", arguments)
        return done.stdout.decode("utf-8", "surrogateescape")

    return run


def said(text: str, arguments: tuple[str, ...] = ()) -> OSError:
    """What a tool wrote on stderr as an OSError; EIO where its words are not known."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), text)
    number = next((number for words, number in _SAID if words in text), errno.EIO)
    return OSError(number, line.removeprefix("ERROR: "), arguments[-1] if arguments else None)
