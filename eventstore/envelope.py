"""The envelope: who made a change, with which program, by which command. Written by the library itself.

No environment and no arguments of a library caller, since what is appended stays for ever; the command line
gives its own arguments through ``mask_arguments``.
"""

from __future__ import annotations

import os
import sys

from layerlog.eventstore.position import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NO_LOGIN = 0xFFFFFFFF
_SECRET_WORDS = ("pass", "secret", "token", "credential", "creds", "key", "auth")
_NOT_SECRET = ("--key-only",)
MASK = "***"
_process: dict[str, Any] = {}
_process_pid = 0


def process_facts() -> dict[str, Any]:
    """What holds for this process as long as it lives: read once, again after a fork."""
    global _process, _process_pid
    if _process_pid != os.getpid():
        _process_pid = os.getpid()
        _process = {
            "uid": os.getuid(),
            "pid": _process_pid,
            "program": program_name(),
            "host": os.uname().nodename,
            "boot": boot_id().hex(),
        }
        login = login_uid()
        if login is not None:
            _process["login_uid"] = login
    return _process


def envelope(
    *, actor: str = "", command: str = "", reason: str = "", arguments: Sequence[str] = (), key: str | None = None
) -> dict[str, Any]:
    """The envelope of a commit; *arguments* are masked here, empty fields left out.

    A client *key* stands beside the envelope, where the ledger writes it.
    """
    made = dict(process_facts())
    if actor:
        made["actor"] = actor
    if command:
        made["command"] = command
    if arguments:
        made["arguments"] = mask_arguments(arguments)
    if reason:
        made["reason"] = reason
    return made


def login_uid() -> int | None:
    """Who logged in, however often they changed user since (credentials(7)); None when nobody did."""
    try:
        with open("/proc/self/loginuid", "rb", buffering=0) as file:
            found = int(file.read(32))
    except (OSError, ValueError):
        return None
    return None if found == NO_LOGIN else found


def program_name() -> str:
    """The script or program that runs, without its folder."""
    first = sys.argv[0] if sys.argv else ""
    if first in ("", "-", "-c"):
        return "python"
    name = os.path.basename(first)
    if name == "__main__.py":
        name = os.path.basename(os.path.dirname(first))
    return name


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments with what may be a secret replaced by ``***``.

    A flag whose name hints at a secret loses its value; URLs lose their user information; names stay.
    """
    masked = []
    hide_next = False
    for argument in arguments:
        if hide_next and not argument.startswith("-"):
            masked.append(MASK)
            hide_next = False
            continue
        hide_next = False
        name, equals, _ = argument.partition("=")
        if name.startswith("-") and _hints_at_secret(name):
            masked.append(name + equals + (MASK if equals else ""))
            hide_next = not equals
        elif not argument.startswith("-") and equals and _hints_at_secret(name):
            masked.append(name + "=" + MASK)
        else:
            masked.append(_without_user_information(argument))
    return masked


def _hints_at_secret(name: str) -> bool:
    lower = name.lower()
    return name not in _NOT_SECRET and any(word in lower for word in _SECRET_WORDS)


def _without_user_information(argument: str) -> str:
    scheme, separator, rest = argument.partition("://")
    authority, slash, path = rest.partition("/")
    if separator and "@" in authority:
        return f"{scheme}://{MASK}@{authority.rpartition('@')[2]}{slash}{path}"
    return argument
