"""Keys in order, added one by one, beside a plain sorted list."""

from __future__ import annotations

import random

import pytest

from layerlog.eventstore import sorted_keys
from layerlog.eventstore.rows import after_prefix
from layerlog.eventstore.sorted_keys import SortedKeys


@pytest.mark.parametrize("seed", range(20))
def test_any_range_after_any_additions_is_that_of_a_sorted_list(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(sorted_keys, "BUCKET", chance.choice((1, 2, 5)))
    words = [bytes(chance.choices(b"\0a\xfe\xff", k=chance.randrange(1, 5))) for _ in range(150)]
    kept = set(words[: chance.choice((0, 1, 60))])
    keys = SortedKeys(kept)
    for word in words:
        if word not in kept:
            kept.add(word)
            keys.add(word)
        prefix = bytes(chance.choices(b"\0a\xfe\xff", k=chance.randrange(0, 3)))
        end = after_prefix(prefix)
        assert keys.between(prefix, end) == sorted(key for key in kept if key.startswith(prefix))


def test_adding_moves_a_bucket_and_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = SortedKeys(())
    for number in random.Random(1).sample(range(10**6), 20_000):
        keys.add(number.to_bytes(4, "big"))
    assert max(map(len, keys._buckets)) <= 2 * sorted_keys.BUCKET
    assert [len(keys.between(b"", None)), keys.between(b"", None)] == [20_000, sorted(keys.between(b"", None))]
