"""``check`` finds what is wrong and nothing else. Law: a healthy store, however it was used, has no findings."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from layerlog import Store
    from layerlog.findings import Finding
    from tests.layerlog.conftest import OpenStore

TWO = {"one": b"first\n", "two": b"second\n"}


def found(store: Store, **options: bool) -> list[Finding]:
    return list(store.check(**options))


def made_and_filled(store: Store, layer_id: str = "L", parent: str = "", members: dict[str, bytes | str | None] | None = None) -> Path:
    """A layer that was made empty and filled later, as scripts do; its folder."""
    store.create_layer(parent, id=layer_id)
    store.apply_diff(layer_id, io.BytesIO(tar(members if members is not None else TWO)))
    return Path(store.driver.path(layer_id))


def test_a_layer_that_was_mounted_for_writing_and_left_as_it_was_is_healthy(store: Store) -> None:
    made_and_filled(store)
    store.import_layer(io.BytesIO(tar({"three": b"x"})), "L", id="M")
    for layer_id in ("L", "M"):
        store.mount(layer_id)
    assert found(store) == []
    for layer_id in ("L", "M"):
        store.unmount(layer_id)
    assert found(store) == []


def test_a_file_rewritten_in_a_filled_layer_is_found_and_the_proof_says_when_it_was_opened(store: Store) -> None:
    made_and_filled(store)
    root = store.mount("L")
    Path(root, "one").write_bytes(b"other\n")
    store.unmount("L")
    (finding,) = found(store)
    assert str(finding) == "layer L: file integrity checksum failed"
    assert (finding.grade, finding.kind, finding.id) == ("content", "layer", "L")
    assert f"opened for writing in commit {store.layer('L').row['opened']}" in finding.proof


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "three").write_bytes(b"new"), "+/three"),
        (lambda root: (root / "one").chmod(0o600), "/one(mode:0644￫0600)"),
        (lambda root: os.utime(root / "one", (5, 5)), "/one(mtime:1700000000￫5)"),
    ],
)
def test_what_the_tar_alone_would_not_show_is_found_in_the_tree(store: Store, change: object, said: str) -> None:
    made_and_filled(store)
    change(Path(store.mount("L")))  # type: ignore[operator]
    store.unmount("L")
    (finding,) = found(store)
    assert str(finding) == f"layer L: {said}, layer content modified"
    assert found(store, quick=True) == []


def test_a_layer_that_is_filled_after_one_that_stands_on_it_makes_neither_look_damaged(store: Store) -> None:
    store.create_layer(id="P")
    folder = made_and_filled(store, "C", "P", {"own": b"c"})
    store.apply_diff("P", io.BytesIO(tar(TWO)))
    store.import_layer(io.BytesIO(tar({"three": b"x"})), "C", id="D")
    assert found(store) == []
    (folder / "own").unlink()
    assert [one.id for one in found(store)] == ["C"]


def test_layers_above_a_modified_one_are_not_told_the_same_again(store: Store) -> None:
    made_and_filled(store)
    made_and_filled(store, "M", "L", {"three": b"x"})
    (Path(store.mount("L")) / "new").write_bytes(b"x")
    store.unmount("L")
    assert [one.id for one in found(store)] == ["L"]


def test_a_second_diff_over_the_first_is_healthy(store: Store) -> None:
    made_and_filled(store)
    store.apply_diff("L", io.BytesIO(tar({"three": b"x"})))
    store.import_layer(io.BytesIO(tar({"four": b"x"})), id="M")
    store.apply_diff("M", io.BytesIO(tar({"five": b"x"})))
    made_and_filled(store, "N", "M", {"six": b"x"})
    assert found(store) == []


def test_a_diff_over_files_that_were_written_before_is_healthy(store: Store) -> None:
    store.create_layer(id="L")
    (Path(store.mount("L")) / "early").write_bytes(b"x")
    store.unmount("L")
    store.apply_diff("L", io.BytesIO(tar(TWO)))
    assert found(store) == []


def test_an_id_that_is_used_again_is_judged_by_its_present_layer(store: Store) -> None:
    made_and_filled(store)
    store.delete_layer("L")
    store.create_layer(id="L")
    (Path(store.mount("L")) / "early").write_bytes(b"x")
    store.unmount("L")
    store.apply_diff("L", io.BytesIO(tar(TWO)))
    assert found(store) == []


def test_check_deletes_nothing_and_leaves_mounts_alone(store: Store) -> None:
    made_and_filled(store)
    root = store.mount("L")
    Path(root, "one").write_bytes(b"other\n")
    before = (store.sequence, store.mounts(), sorted(os.listdir(root)))
    assert len(found(store)) == 1
    assert (store.sequence, store.mounts(), sorted(os.listdir(root))) == before
    store.unmount("L")


def test_an_image_of_another_store_that_lost_its_layer_is_told_as_read_only(open_store: OpenStore) -> None:
    lender = open_store("lender")
    lender.create_layer(id="L")
    lender.create_image("L", id="I")
    lender.delete("L")
    borrower = open_store("borrower", image_stores=[lender.root])
    (finding,) = found(borrower)
    assert (str(finding), finding.read_only) == ("image I: layer L: image layer is missing", True)
    assert [one.read_only for one in found(lender)] == [False]
