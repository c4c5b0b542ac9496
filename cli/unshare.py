"""``unshare``: a command in a user namespace of its own."""

from __future__ import annotations

import os
import sys

from layerlog.cli.command import Command
from layerlog.cli.config import OUTSIDE, user
from layerlog.eventstore.errors import NotFound, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run


def unshare(run: Run) -> int:
    """Run the words given, or a shell, as root of a new user and mount namespace.

    By util-linux' unshare(1): a namespace must be entered by a freshly started program (DESIGN §5), and that one
    knows how to use newuidmap. The store is closed before. Who is inside already gets the command as it is.
    """
    run.close()
    words = run.arguments or [os.environ.get("SHELL") or "/bin/sh"]
    if not os.environ.get(CONFIGURED):
        return _inside(words)
    import subprocess

    sys.stdout.flush()
    try:
        return subprocess.run(words, check=False).returncode
    except OSError as error:
        raise NotFound(f"{words[0]}: {(error.strerror or str(error)).lower()}") from error


CONFIGURED = "_CONTAINERS_USERNS_CONFIGURED"
"""Set inside, as the original sets it: who sees it is there already."""


def again(run: Run) -> int | None:
    """``--unshare``: the same command line once more, inside a user namespace; None when we are in it already."""
    import layerlog

    if os.environ.get(CONFIGURED):
        return None
    folder = os.path.dirname(os.path.dirname(os.path.abspath(layerlog.__file__)))
    paths = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    door = ["compat"] if run.compat else []
    return _inside(["env", f"PYTHONPATH={paths}", sys.executable, "-m", "layerlog", *door, *run.values["argv"]])


def _inside(words: list[str]) -> int:
    import shutil
    import subprocess

    helper = shutil.which("unshare")
    if helper is None:
        raise NotSupported("unshare needs the program unshare of util-linux (apt install util-linux)")
    maps = ["--map-root-user", "--map-auto"] if shutil.which("newuidmap") and _has_ranges() else ["--map-root-user"]
    sys.stdout.flush()
    told = {CONFIGURED: "done", OUTSIDE: str(user()), "_CONTAINERS_ROOTLESS_GID": str(os.getegid())}
    status = subprocess.run([helper, "--user", "--mount", *maps, "--", *words], check=False, env={**os.environ, **told}).returncode
    if status == 1:  # unshare's own word for it is "No space left on device"
        from layerlog.cli.doctor import OK, user_namespaces
        from layerlog.cli.run import write

        found = user_namespaces()
        if found.state != OK:
            write(sys.stderr, f"layerlog: user namespaces are {found.text} here ({found.mend}); --unshare=false does without\n")
    return status


def _has_ranges(files: tuple[str, ...] = ("/etc/subuid", "/etc/subgid")) -> bool:
    """Whether this user has subordinate IDs of both kinds, without which ``--map-auto`` fails."""
    import pwd

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    for path in files:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                if not any(line.split(":")[0] in (name, str(os.geteuid())) for line in file):
                    return False
        except OSError:
            return False
    return True


COMMANDS = (
    Command(
        "unshare",
        unshare,
        "Run a command in a user namespace",
        "[command [...]]",
        about="""Runs a command (or $SHELL) as root of a user namespace of its own, as far as this host allows.
Put -- before a command with flags.""",
    ),
)
