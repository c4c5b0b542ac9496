"""What an archive may be at most: the library's defaults, or as the storage options say.

``archive_bytes_max``, ``archive_entries_max``, ``archive_ratio_max`` and ``archive_name_bytes_max``, each a number (``k``, ``m``,
``g``, ``t`` for powers of 1024) or ``none``; also as ``storage.archive_…`` or ``<driver>.archive_…``.
"""

from __future__ import annotations

from layerlog.drivers.applying import Limits
from layerlog.drivers.storage_options import parse_options
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = ("bytes_max", "entries_max", "ratio_max", "name_bytes_max")
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}


def limits_of(driver: str, options: Sequence[str]) -> Limits:
    """The limits that *options* ask for. Raises InvalidRequest for what is no number."""
    found = parse_options(driver, options)
    return Limits(**{key: _number(f"archive_{key}", found[f"archive_{key}"]) for key in KEYS if f"archive_{key}" in found})


def _number(key: str, word: str) -> int | None:
    if word.lower() == "none":
        return None
    digits, shift = (word[:-1], _UNITS[word[-1].lower()]) if word[-1:].lower() in _UNITS else (word, 0)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise InvalidRequest(f"{key}: {word[:40]!r} is neither a number (1048576, 64k, 10m, 4g, 1t) nor none")
    return int(digits) << shift
