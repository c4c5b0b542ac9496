"""Chains of 300 layers and more: made, mounted, written to, compared, checked and deleted like short ones."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.drivers.choose import probe
from layerlog.eventstore.errors import StoreError
from tests.drivers import tars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYERS = 301
pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    if why := probe("overlay", str(tmp_path)):
        pytest.skip(f"the kernel refuses overlay: {why}")
    with Store(str(tmp_path / "root"), str(tmp_path / "run"), driver="overlay", options=["sync=none"], retention=0) as made:
        yield made
        for layer in made.layers():
            made.driver.unmount(layer.id)


def test_a_chain_of_301_filled_layers(store: Store) -> None:
    parent = ""
    for number in range(LAYERS):
        members = [tars.file(b"f%d" % number, b"x"), tars.file(b"top", b"%d" % number)]
        if number % 2:
            members.append(tars.whiteout(b"f%d" % (number - 1)))
        parent = store.import_layer(tars.stream(*members), parent, id=f"l{number}").id
    expected = {f"f{number}": "x" for number in range(LAYERS) if number % 2 or number == LAYERS - 1}
    store.create_image(parent, id="image")
    layer = store.create_container("image", id="box").layer
    merged = store.mount("box")
    assert tars.contents(merged) == {**expected, "top": "300"}
    with open(merged + "/new", "w") as file:
        file.write("new")
    os.unlink(merged + "/f1")
    assert [(change.kind, change.path) for change in store.changes(layer)] == [(2, b"/f1"), (1, b"/new")]
    store.unmount("box")
    # What leads from the lowest layer to the topmost, in one step, shows the same.
    step = b"".join(store.diff(layer, "l0", compression=0))
    store.import_layer(io.BytesIO(step), "l0", id="at-once")
    assert tars.contents(store.mount("at-once")) == {**{k: v for k, v in expected.items() if k != "f1"}, "top": "300", "new": "new"}
    store.unmount("at-once")
    assert not list(store.check(quick=True))
    store.delete_container("box")
    store.delete_image("image")
    assert [one.id for one in store.layers()] == ["l0", "at-once"]


def test_a_chain_of_301_layers_without_contents_is_made_when_it_is_mounted(store: Store) -> None:
    parent = ""
    for number in range(LAYERS):
        parent = store.create_layer(parent, id=f"e{number}").id
    assert store.driver.list() == []
    merged = store.mount(parent)
    os.mkdir(merged + "/made")
    store.unmount(parent)
    assert len(store.driver.list()) == LAYERS
    assert [(change.kind, change.path) for change in store.changes(parent)] == [(1, b"/made")]


def test_more_layers_than_the_kernel_takes_are_an_error_and_the_store_goes_on(store: Store) -> None:
    parent = ""
    for number in range(501):
        parent = store.create_layer(parent, id=f"e{number}").id
    with pytest.raises(StoreError, match="500"):
        store.mount(parent)
    store.delete_layer(parent)
    assert store.mount("e400")
    store.unmount("e400")
