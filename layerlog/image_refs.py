"""What a person names when they name an image archive: ``[TRANSPORT:]PATH[:IMAGE]``, as skopeo and podman write it.

IMAGE is a name that the archive gives an image, or ``@N``, its place in it, counted from 0.
"""

from __future__ import annotations

import os

from attrs import frozen

TRANSPORTS = ("oci:", "oci-archive:", "docker-archive:")


@frozen
class Asked:
    """An archive or layout, and which image of it; "" for the only one."""

    path: str
    image: str


def parse(text: str) -> Asked:
    """Split *text*. What is there under its whole name is a path; else the longest part before a colon that is there."""
    if not os.path.lexists(text):
        text = next((text.removeprefix(one) for one in TRANSPORTS if text.startswith(one)), text)
    at = len(text)
    while at > 0:
        if os.path.lexists(text[:at]):
            return Asked(text[:at], text[at + 1 :])
        at = text.rfind(":", 0, at)
    return Asked(text, "")


def means(asked: str, name: str) -> bool:
    """Whether *asked* is *name*, or a shorter way to write it: ``app`` for ``docker.io/library/app:latest``, ``localhost/app:latest``."""
    return asked == name or _short(asked) == _short(name)


def _short(name: str) -> str:
    """*name* without what docker and podman leave out, with the tag that they add."""
    for prefix in ("docker.io/library/", "docker.io/", "localhost/"):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return name if "@" in name or ":" in name.rpartition("/")[2] else name + ":latest"
