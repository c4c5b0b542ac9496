"""CRC-64 ISO as Go's hash/crc64 computes it: the checksum of a file in tar-split data.

fastcrc does it in C. Without it the polynomial helps: x^64 + x^4 + x^3 + x + 1 has so few terms
that its square, fourth power and so on have equally few, so a message is folded in halves by five shifts of
one big integer, which runs at hundreds of MB/s in plain Python instead of five.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ONES = (1 << 64) - 1


def _folded(data: bytes | memoryview, crc: int = 0) -> int:
    """CRC of *data* after bytes whose CRC is *crc* (0: none). Bit 0 of the integer is the highest power of x."""
    window = 8 * len(data) + 64
    value = int.from_bytes(data, "little") ^ (crc ^ _ONES)
    while window > 64:
        power = max(0, ((window - 1) // 128).bit_length() - 1)  # fold what lies above x^(64 * 2^power)
        kept = 64 << power
        high = window - kept
        top = value & ((1 << high) - 1)
        step = 1 << power
        value ^= top ^ (top << kept) ^ (top << (kept - step)) ^ (top << (kept - 3 * step)) ^ (top << (kept - 4 * step))
        cleared = min(high, kept - 4 * step)
        value >>= cleared
        window -= cleared
    return value ^ _ONES


update: Callable[[bytes | memoryview, int], int] = _folded
try:
    from fastcrc.crc64 import go_iso
except ImportError:
    pass
else:
    update = go_iso
