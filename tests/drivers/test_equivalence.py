"""vfs really removes and copies, overlay marks and mounts: whatever the archives, both must show the same tree."""

from __future__ import annotations

import io
import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerlog.drivers.choose import open_driver
from layerlog.drivers.driver import MountOptions
from layerlog.eventstore.errors import InvalidArchive, StoreError
from tests.drivers import tars

if TYPE_CHECKING:
    from layerlog.drivers.driver import Driver

pytestmark = pytest.mark.root

NAMES = st.sampled_from([b"a", b"b", b"d", b"e", b"d/a", b"d/b", b"d/x", b"d/x/y", b"e/a", b"e/d/a", b"caf\xe9"])
CONTENTS = st.sampled_from([b"", b"1", b"22", b"333", b"4444"])
MODES = st.sampled_from([0o644, 0o755, 0o600])
MEMBERS = st.one_of(
    st.builds(lambda name, data, mode: tars.file(name, data, mode=mode), NAMES, CONTENTS, MODES),
    st.builds(tars.folder, NAMES, st.sampled_from([0o755, 0o700])),
    st.builds(tars.symlink, NAMES, st.sampled_from([b"nowhere", b"a"])),
    st.builds(tars.whiteout, NAMES),
    st.builds(tars.opaque, st.sampled_from([b"d", b"e", b"d/x", b"."])),
    st.builds(lambda name, other: tars.file(name, b"55555") + tars.hard_link(other, name), NAMES, NAMES),
)
LAYERS = st.lists(st.lists(MEMBERS, max_size=8), min_size=1, max_size=4)


def built(driver: Driver, layers: list[list[bytes]]) -> tuple[list[str], list[bool]]:
    """The chain, and which layers were accepted; refused ones are left out."""
    chain: list[str] = []
    accepted = []
    for number, members in enumerate(layers):
        try:
            driver.stage(f"l{number}", chain).apply(tars.stream(*members))
        except InvalidArchive:
            driver.discard(f"l{number}")
            accepted.append(False)
            continue
        accepted.append(True)
        driver.place(f"l{number}")
        chain.insert(0, f"l{number}")
    return chain, accepted


def shown(driver: Driver, chain: list[str]) -> dict[str, tuple[str, int, str]]:
    driver.create("look", chain)
    try:
        return tars.tree(driver.mount("look", chain, MountOptions()))
    finally:
        driver.unmount("look")
        driver.remove("look")


def through_a_symlink_or_file(layers: list[list[bytes]]) -> bool:
    """Whether a path of one layer leads through what an earlier layer has as a symlink or file.

    There the drivers differ on purpose, as those of the original do: an overlay layer is unpacked without a look at the
    layers below it, so the path becomes folders of its own, which hide what was below.
    """
    layers = [[head for member in layer for head in heads(member)] for layer in layers]
    folders = {name.rpartition(b"/")[0] for layer in layers for name in map(name_of, layer) if b"/" in name}
    parents = {b"/".join(folder.split(b"/")[: depth + 1]) for folder in folders for depth in range(folder.count(b"/") + 1)}
    return any(kind_of(member) in (b"0", b"1", b"2") and name_of(member) in parents for layer in layers for member in layer)


def heads(member: bytes) -> list[bytes]:
    """Its header; those of a file and of the hard link that comes with it."""
    return [member[:512], member[1024:]] if len(member) > 1024 else [member[:512]]


def name_of(member: bytes) -> bytes:
    return member[:100].rstrip(b"\0").rstrip(b"/")


def kind_of(member: bytes) -> bytes:
    return member[156:157]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(LAYERS)
def test_any_layers_look_alike_on_vfs_and_overlay(layers: list[list[bytes]]) -> None:
    if through_a_symlink_or_file(layers):
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp" if os.path.isdir("/var/tmp") else None) as root:
        looks = []
        for name in ("vfs", "overlay"):
            driver = open_driver(name, root)
            driver.setup()
            chain, accepted = built(driver, layers)
            looks.append((accepted, shown(driver, chain)))
        assert looks[0] == looks[1]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
@given(LAYERS, st.sampled_from(["vfs", "overlay"]))
def test_the_diff_of_any_layer_rebuilds_it(layers: list[list[bytes]], name: str) -> None:
    """Against the parent, and against every other layer of the chain. Sizes tell contents apart here, as naive diffs need."""
    with tempfile.TemporaryDirectory(dir="/var/tmp" if os.path.isdir("/var/tmp") else None) as root:
        driver = open_driver(name, root)
        driver.setup()
        chain, _ = built(driver, layers)
        for place in range(len(chain)):
            top = chain[place:]
            expected = shown(driver, top)
            for against in ([], *(chain[start:] for start in range(len(chain)))):
                made = b"".join(driver.diff(top[0], top[1:], against))
                assert made == b"".join(driver.diff(top[0], top[1:], against))
                try:
                    driver.stage("again", against).apply(io.BytesIO(made))
                    driver.place("again")
                    assert shown(driver, ["again", *against]) == expected
                finally:
                    driver.discard("again")
                    driver.remove("again")


def test_a_layer_that_cannot_be_unpacked_leaves_the_others_alone(tmp_path: object) -> None:
    driver = open_driver("vfs", str(tmp_path))
    driver.setup()
    driver.stage("good", []).apply(tars.stream(tars.file(b"f", b"x")))
    driver.place("good")
    before = tars.tree(driver.path("good"))
    with pytest.raises(StoreError):
        driver.stage("bad", ["good"]).apply(tars.stream(tars.file(b"f/g", b"x")))
    driver.discard("bad")
    assert tars.tree(driver.path("good")) == before
