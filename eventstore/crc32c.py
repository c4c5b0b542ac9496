"""CRC-32C (Castagnoli, RFC 3720 B.4): guards the headers of frames and segments.

In plain Python 5 us a header, which a short-lived command pays once or twice; a process that goes on
takes google-crc32c when it is installed, whose import costs more than that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_POLYNOMIAL = 0x82F63B78
_PATIENCE = 64  # headers until the faster implementation is worth its import
_table: list[int] = []
_calls = 0


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c_plain(data: bytes) -> int:
    """CRC-32C of *data*, in Python only."""
    if not _table:
        _table.extend(_make_table())
    table = _table
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _faster() -> Callable[[bytes], int]:
    try:
        import google_crc32c
    except ImportError:
        return crc32c_plain
    if google_crc32c.implementation != "c":
        return crc32c_plain
    value: Callable[[bytes], int] = google_crc32c.value
    return value


def crc32c(data: bytes) -> int:
    """CRC-32C of *data*."""
    global _calls, _chosen
    if _chosen is None:
        _calls += 1
        if _calls < _PATIENCE:
            return crc32c_plain(data)
        _chosen = _faster()
    return _chosen(data)


_chosen: Callable[[bytes], int] | None = None
