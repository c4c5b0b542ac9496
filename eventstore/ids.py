"""IDs, names and keys: how they are made, and what is refused.

Whatever a user gives is hostile until it passed one of the ``check_*`` functions here: an ID
becomes a path component and a name becomes an index key, so neither may carry what a path or a
key reads as structure. Source: contract/cli.md §3; the original checks nothing (its defect 4).
"""

from __future__ import annotations

import os

from layerlog.eventstore.errors import InvalidBigDataName, InvalidDigest, InvalidID, InvalidName

ID_BYTES_MAX = 255  # one path component (NAME_MAX)
NAME_BYTES_MAX = 4096
KEY_BYTES_MAX = 4096
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+@=")
_RESERVED_IDS = frozenset((".", ".."))


def new_id() -> str:
    """64 lower-case hexadecimal characters; redrawn while the first 12 are all decimal digits."""
    while True:
        drawn = os.urandom(32).hex()
        if not drawn[:12].isdigit():
            return drawn


def chain_id(parent: str, diff_digest: str) -> str:
    """ID of a layer as skopeo, podman and buildah derive it, so that equal layers are stored once.

    The first layer's is its diffID; each further is SHA-256 of ``PARENT+DIFFID``
    (containers/image ``storage_dest.go``).
    """
    hexadecimal = diff_digest.partition(":")[2]
    if not parent:
        return hexadecimal
    from hashlib import sha256

    return sha256(f"{parent}+{hexadecimal}".encode()).hexdigest()


def check_id(asked: str) -> str:
    """Return *asked* if it can be an ID and a path component, else raise InvalidID.

    Letters, digits and ``_.-+@=``, 1 to ~200 bytes, not starting with ``.`` or ``-``: the room left
    over is for the suffixes that staging and trash add to it.
    """
    if not asked:
        raise InvalidID(asked='""', why="it is empty")
    if len(asked) > ID_BYTES_MAX - 55:
        raise InvalidID(asked=shorten(asked), why=f"it is longer than {ID_BYTES_MAX - 55} characters")
    if asked[0] in ".-" or asked in _RESERVED_IDS:
        raise InvalidID(asked=shorten(asked), why="it starts with a dot or a dash")
    if not _ID_LETTERS.issuperset(asked):
        raise InvalidID(asked=shorten(asked), why="only letters, digits and _.-+@= can be in it")
    return asked


def check_name(asked: str) -> str:
    """Return *asked* if it can be a name, else raise InvalidName. The empty name is legal."""
    if "\0" in asked or "\n" in asked:
        raise InvalidName(asked=shorten(asked), why="a NUL or a line break cannot be in it")
    if len(asked) > NAME_BYTES_MAX or len(encode(asked)) > NAME_BYTES_MAX:
        raise InvalidName(asked=shorten(asked), why=f"it is longer than {NAME_BYTES_MAX} bytes")
    return asked


def check_names(asked: list[str] | tuple[str, ...]) -> list[str]:
    """Checked names without duplicates, the first of each kept."""
    return list(dict.fromkeys(check_name(name) for name in asked))


def check_key(asked: str, kind: str) -> str:
    """Return *asked* if it can name a big-data item of a *kind* of thing."""
    if not asked:
        raise InvalidBigDataName(kind=kind)
    if "\0" in asked or len(encode(asked)) > KEY_BYTES_MAX:
        raise InvalidName(asked=shorten(asked), why=f"a key has no NUL and at most {KEY_BYTES_MAX} bytes")
    return asked


def check_digest(asked: str) -> str:
    """Return *asked* if it reads as ``sha256:<64 hex>`` (or sha384/sha512), else raise InvalidDigest."""
    algorithm, _, digits = asked.partition(":")
    length = {"sha256": 64, "sha384": 96, "sha512": 128}.get(algorithm)
    if length != len(digits) or not frozenset("0123456789abcdef").issuperset(digits):
        raise InvalidDigest(asked=shorten(asked))
    return asked


def encode(text: str) -> bytes:
    """Bytes of *text*; what came in as non-UTF-8 bytes goes out as the same bytes."""
    return text.encode("utf-8", "surrogateescape")


def shorten(text: str, most: int = 40) -> str:
    """*text* quoted for an error message, at most *most* characters of it."""
    return repr(text if len(text) <= most else text[:most] + "…")
