"""``create_container(userns="auto")``: IDs that no other container has."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.auto_userns import AutoUserNS
from layerlog.decide.auto_userns import first_free, size_for
from layerlog.eventstore.errors import InvalidMappings
from tests.layerlog.builders import tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from layerlog.records import Container

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as made:
        accounts = b"root:x:0:0::/:\nbig:x:2000:3000::/:\nnobody:x:65534:65534::/:\n"
        made.import_layer(io.BytesIO(tar({"etc/": None, "etc/passwd": accounts})), id="base")
        made.create_image("base", names=["img"])
        yield made


@pytest.fixture
def wish(tmp_path: Path) -> Callable[..., AutoUserNS]:
    """Wishes that read files of the test's own."""
    (tmp_path / "subuid").write_text("someone:1:5\ncontainers:100000:5000\ncontainers:200000:5000\n")
    (tmp_path / "subgid").write_text("containers:300000:65536\n")

    def make(size: int = 0, **options: object) -> AutoUserNS:
        return AutoUserNS(size, subuid=str(tmp_path / "subuid"), subgid=str(tmp_path / "subgid"), **options)  # type: ignore[arg-type]

    return make


def spans(container: Container) -> list[tuple[int, int, int]]:
    return [(one["container_id"], one["host_id"], one["size"]) for one in container.uid_map]


def test_the_size_fits_the_image_and_the_first_free_ids_are_taken(store: Store, wish: Callable[..., AutoUserNS]) -> None:
    first = store.create_container("img", userns=wish())
    assert (spans(first), first.gid_map[0]["size"]) == ([(0, 100000, 3001)], 3001)
    second = store.create_container("img", userns=wish())
    assert spans(second) == [(0, 103001, 1999), (1999, 200000, 1002)]
    store.delete_container(first.id)
    assert spans(store.create_container("img", userns=wish(10))) == [(0, 100000, 10)]


def test_too_few_and_too_many_are_refused(store: Store, wish: Callable[..., AutoUserNS]) -> None:
    with pytest.raises(InvalidMappings, match="not enough available IDs: 10000 < 20000"):
        store.create_container("img", userns=wish(20000))
    with pytest.raises(InvalidMappings, match="bigger than the maximum"):
        store.create_container("img", userns=wish(100, most=99))
    with pytest.raises(InvalidMappings, match="cannot find mappings"):
        store.create_container("img", userns=wish(user="nobody-has-this-name"))
    with pytest.raises(InvalidMappings):
        store.create_container("img", userns="host")
    assert store.containers() == []


def test_extra_maps_are_kept_and_stepped_around(store: Store, wish: Callable[..., AutoUserNS]) -> None:
    extra = [{"container_id": 5, "host_id": 100000, "size": 1}]
    made = store.create_container("", userns=wish(10, extra_uids=extra))
    assert spans(made) == [(0, 100001, 5), (6, 100006, 5), (5, 100000, 1)]


def test_pieces_of_several_ranges_make_up_a_map() -> None:
    found = first_free(6, [(50, 4), (10, 4)], [(11, 1)])
    assert [(one["container_id"], one["host_id"], one["size"]) for one in found] == [(0, 10, 1), (1, 12, 2), (3, 50, 3)]
    assert size_for(0, 1024, 65536, [5, 65534], [4000]) == 4001
