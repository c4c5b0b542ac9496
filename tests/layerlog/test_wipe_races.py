"""A wipe is one commit, and its effects come layer by layer: what somebody does in between is not undone by them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from layerlog import change
from layerlog.recovery import recover
from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from layerlog import Store
    from layerlog.core import Core
    from layerlog.eventstore.requests import Committed
    from tests.layerlog.conftest import OpenStore

OLD, NEW = tar({"file": b"old"}), tar({"file": b"new"})
MEANWHILE: dict[str, tuple[Callable[[Store], object], bytes]] = {
    "restored": (lambda store: store.restore("layer"), OLD),
    "made again, with a gc": (lambda store: (store.gc(), store.import_layer(io.BytesIO(NEW), id="layer")), NEW),
    "made again": (lambda store: store.import_layer(io.BytesIO(NEW), id="layer"), NEW),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_comes_back_before_the_wipe_has_come_to_it_stays(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    wiping, other = open_store(), open_store()
    wiping.import_layer(io.BytesIO(OLD), id="layer")
    meanwhile, holds = MEANWHILE[what]
    commit = change.commit
    wiped: list[Committed] = []

    def committing(core: Core, *asked: Any, **terms: Any) -> Committed:
        committed = commit(core, *asked, **terms)
        if not wiped:
            wiped.append(committed)
            meanwhile(other)
        return committed

    monkeypatch.setattr(change, "commit", committing)
    wiping.wipe()
    recover(other)
    assert b"".join(other.diff("layer")) == holds
    assert list(other.check()) == []
    if what != "restored":
        other.delete_layer("layer")
        other.undo(wiped[0].sequence)
        assert b"".join(other.diff("layer")) == OLD
    assert other.gc().lost == []
