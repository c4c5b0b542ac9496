from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from layerlog.drivers import crc64

POLYNOMIAL = 0xD800000000000000


def by_bits(data: bytes) -> int:
    """The definition, a bit at a time (Go: hash/crc64, ISO)."""
    crc = (1 << 64) - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ POLYNOMIAL if crc & 1 else crc >> 1
    return crc ^ ((1 << 64) - 1)


def test_the_check_value_of_the_catalogue() -> None:
    assert crc64.update(b"123456789", 0) == crc64._folded(b"123456789") == 0xB90956C775A41001


@given(st.binary(max_size=300))
def test_folding_is_the_definition(data: bytes) -> None:
    assert crc64._folded(data) == by_bits(data)


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_a_checksum_goes_on_where_it_stopped(head: bytes, tail: bytes) -> None:
    assert crc64._folded(tail, crc64._folded(head)) == crc64._folded(head + tail) == crc64.update(tail, crc64.update(head, 0))
