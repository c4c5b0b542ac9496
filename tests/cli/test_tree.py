from __future__ import annotations

import pytest

from layerlog.cli.views.tree import tree_view
from layerlog.cli.views.tree_rows import Totals, tree_rows
from tests.cli.records import NOON_NS, container, image, layer, text

BASE, PYTHON, APP = "a" * 64, "b" * 64, "c" * 64


def drawn(
    *layers: object, width: int = 80, images: tuple[object, ...] = (), containers: tuple[object, ...] = (), mounts: object = ()
) -> str:
    rows = tree_rows(layers, images, containers, mounts)  # type: ignore[arg-type]
    return text(tree_view(rows, [], "/graph · vfs · commit 7", width, NOON_NS), width)


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_store_with_a_fork_at_80_columns() -> None:
    seen = drawn(
        layer(BASE, size=127_000_000),
        layer(PYTHON, BASE, 24_300_000),
        layer(APP, PYTHON, 3_100),
        layer("d" * 64, APP),
        layer("e" * 64, BASE),
        layer("f" * 64),
        images=(image("1" * 64, BASE, "debian:12"), image("2" * 64, APP, "app:1.4", "app:latest")),
        containers=(container("3" * 64, "d" * 64, "2" * 64, "web"), container("4" * 64, "e" * 64)),
        mounts=[("d" * 64, "/graph/vfs/dir/d", 2)],
    )
    assert seen == (
        "/graph · vfs · commit 7\n"
        "\n"
        "LAYER                 SIZE  USED  WHAT SITS ON IT\n"
        "┌ aaaaaaaaaaaa      127 MB    ×4  ◆ debian:12\n"
        "├─┬ bbbbbbbbbbbb   24.3 MB    ×2\n"
        "│ ├ cccccccccccc    3.1 kB    ×2  ◆ app:1.4, app:latest\n"
        "│ └ dddddddddddd         –        ■ web  ▸ mounted ×2\n"
        "└── eeeeeeeeeeee         –        ■ 444444444444\n"
        "\n"
        "─ ffffffffffff           –  none\n"
        "\n"
        "6 layers · 151 MB · 2 images · 2 containers · 1 mounted\n"
        "shared 151 MB in 3 layers · unique 0 B in 2 layers · unused 0 B in 1 layer"
    )


def test_wide_terminals_see_age_digest_and_mount_path() -> None:
    seen = drawn(layer(BASE, size=1000), mounts=[(BASE, "/graph/vfs/dir/a", 1)], width=160)
    assert "just now       sha256:abababababab" in seen
    assert seen.splitlines()[3].endswith("▸ /graph/vfs/dir/a")


def test_a_chain_of_300_layers_stays_in_one_column() -> None:
    chain = [layer(f"{n:064x}", f"{n - 1:064x}" if n else "") for n in range(300)]
    lines = drawn(*chain).splitlines()[3:303]
    assert lines[0].startswith("┌ ")
    assert all(line.startswith("├ ") for line in lines[1:-1])
    assert lines[-1].startswith("└ ")


def test_what_does_not_fit_goes_on_the_next_line_and_the_drawing_goes_on() -> None:
    many = image("1" * 64, BASE, *[f"registry.example/some/repository:{n}" for n in range(2)])
    seen = drawn(layer(BASE), layer(PYTHON, BASE), images=(many, image("2" * 64, BASE, "short")))
    line, further, last = seen.splitlines()[3:6]
    assert line.endswith("…")
    assert len(line) == 80
    assert further == "│" + " " * 31 + "◆ short"
    assert last.startswith("└ ")


def test_a_layer_whose_parent_is_missing_stands_as_a_root() -> None:
    assert drawn(layer(PYTHON, "gone")).splitlines()[3].startswith("─ bbbbbbbbbbbb")


def test_a_loop_of_parents_ends() -> None:
    rows = tree_rows([layer("x", "y"), layer("y", "x"), layer("z")], [image("i", "x")], [])
    assert [row.layer.id for row in rows] == ["z"]


def test_an_image_without_layers_is_told_below() -> None:
    seen = text(tree_view([], [image("1" * 64, "", "empty")], "head", 80, NOON_NS))
    assert "images without layers\n  ◆ empty" in seen


def test_totals_tell_shared_from_unique() -> None:
    layers = [layer("a", size=10), layer("b", "a", 20), layer("c", "a", 30), layer("d", size=40)]
    totals = Totals(tree_rows(layers, [image("i", "b"), image("j", "c")], []))
    assert (totals.shared, totals.unique, totals.unused) == (10, 50, 40)


def test_a_mapped_copy_of_a_top_layer_belongs_to_its_image_once() -> None:
    rows = tree_rows([layer("a"), layer("b", "a"), layer("m", "a")], [image("i", "b", mapped_layers=["m"])], [])
    assert {row.layer.id: row.users for row in rows} == {"a": 1, "b": 1, "m": 1}
