"""Ctrl-C, or a signal's handler that raises, at any point of any operation: nothing stays held, and nothing is left or missing.

Samples by a printed seed; ``LAYERLOG_CRASH=long`` takes more of them.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from tests.eventstore.test_interruptions import AtPoint, Interrupted, within
from tests.layerlog.builders import BASE, TOP, tar
from tests.layerlog.litter import left_behind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOME = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
SAMPLES = 300 if os.environ.get("LAYERLOG_CRASH") == "long" else 16
SEED = int(os.environ.get("LAYERLOG_CRASH_SEED", "1"))
ONE, TWO = tar(BASE), tar(TOP)
NEVER = 1 << 40


def prepare(store: Store) -> None:
    base = store.import_layer(io.BytesIO(ONE), names=["base"])
    store.create_image(base.id, names=["image"], big_data={"manifest": b"{}"})
    store.create_container("image", names=["box"])
    store.create_layer(base.id, names=["layer"])
    store.import_layer(io.BytesIO(TWO), "base", names=["thrown"])
    store.delete_layer("thrown")


def mount(store: Store) -> None:
    store.mount("box")
    store.unmount("box")


def transaction(store: Store) -> None:
    with store.transaction() as tx:
        tx.create_layer(names=["new"])
        tx.delete_layer("layer")


def sandbox(store: Store) -> None:
    with store.sandbox("image"):
        pass


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "import a layer": lambda store: store.import_layer(io.BytesIO(TWO), "base", names=["new"]),
    "make an image": lambda store: store.create_image("base", names=["new"], big_data={"k": b"v"}),
    "make a container": lambda store: store.create_container("image", names=["new"]),
    "apply a diff": lambda store: store.apply_diff("layer", io.BytesIO(TWO)),
    "mount": mount,
    "delete a layer": lambda store: store.delete_layer("layer"),
    "delete a container": lambda store: store.delete_container("box"),
    "restore": lambda store: store.restore("thrown"),
    "transaction": transaction,
    "sandbox": sandbox,
    "empty the trash": lambda store: store.empty_trash(),
    "commit a container": lambda store: store.commit_container("box", name="new"),
}


def at_point(store: Store, operation: Callable[[Store], object], number: int) -> AtPoint:
    trace = AtPoint(number, HOME)
    sys.settrace(trace)
    try:
        operation(store)
    except Interrupted:
        pass
    finally:
        sys.settrace(None)
    return trace


def others_work(root: str) -> bool:
    with Store(root) as other:
        assert other.leases.holders() == {}
        other.create_layer(names=["of another"])
        for name in ("layer", "new"):
            if other.exists(name, "layer"):
                other.delete_layer(name)
    return True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what comes in a finalizer, Python itself drops
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_that_is_interrupted_anywhere_holds_up_nobody_and_leaves_a_clean_store(
    tmp_path: Path, operation: Callable[[Store], object]
) -> None:
    prepared = str(tmp_path / "prepared")
    with Store(prepared, driver="vfs") as store:
        prepare(store)
    shutil.copytree(prepared, tmp_path / "counted", symlinks=True)
    with Store(tmp_path / "counted") as store:
        points = NEVER - at_point(store, operation, NEVER).left
    dice = random.Random(SEED)
    for number in sorted(dice.sample(range(1, points + 1), SAMPLES)):
        root = str(tmp_path / "root")
        shutil.copytree(prepared, root, symlinks=True)
        store = Store(root)
        where = f"seed {SEED}, point {number}, {at_point(store, operation, number).where}"
        assert not store.lazy.held.__dict__, where
        assert within(lambda root=root: others_work(root)), where  # type: ignore[misc]
        store.create_layer(names=["mine"])
        store.close()
        with Store(root) as fresh:
            assert list(fresh.check()) == [], where
            assert left_behind(fresh) == [], where
            assert fresh.exists("mine"), where
            assert fresh.exists("of another"), where
        shutil.rmtree(root)
