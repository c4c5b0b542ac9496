"""``prune`` and ``apply`` at the friendly door, and lists in podman's habits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Door


@pytest.fixture
def full(ll: Door, archive: bytes) -> Door:
    """Image app:1 = app:latest with a container, an image without a name, a layer of nobody."""
    ll("import-layer", "-i", "base", stdin=archive)
    ll("create-image", "-i", "aaa", "-n", "app:1", "-n", "app:latest", "base")
    ll("create-layer", "-i", "loose", "base")
    ll("create-image", "-i", "bbb", "loose")
    ll("create-container", "-i", "ccc", "-n", "web", "app:1")
    ll("create-layer", "-i", "left")
    return ll


def test_a_prune_prints_what_went_and_how_it_comes_back(full: Door) -> None:
    shown = full("prune")
    assert shown.out.splitlines() == ["container ccc", "image bbb", "layer loose", "layer left"]
    assert "layerlog undo" in shown.err
    assert full("prune").err == "nothing to delete\n"
    assert json.loads(full("prune", "--json").out) == {"deleted": [], "size": 0}


def test_a_plan_goes_through_a_file_or_a_pipe(full: Door, tmp_path: Path) -> None:
    plan = full("prune", "images", "--plan").out
    assert [one["id"] for one in json.loads(plan)["delete"]] == ["bbb", "loose"]
    assert full("prune", "images", "--output", str(tmp_path / "plan")).out == ""
    assert (tmp_path / "plan").read_text() == plan
    assert full("apply", str(tmp_path / "plan")).out == "image bbb\nlayer loose\n"
    assert full("undo", "--last", "1").code == 0
    shown = full("apply", "-", stdin=plan.encode())
    assert (shown.code, shown.out) == (1, "")
    assert "since commit" in shown.err


def test_a_plan_is_refused_when_the_store_moved_on(full: Door, tmp_path: Path) -> None:
    full("prune", "--output", str(tmp_path / "plan"))
    full("tag", "bbb", "app:2")
    before = full("images").out
    shown = full("apply", str(tmp_path / "plan"))
    assert shown.code == 1
    assert shown.err.startswith("layerlog: image bbb has changed since commit ")
    assert full("images").out == before


@pytest.mark.parametrize("words", [["volumes"], ["--filter", "label=x"], ["--filter", "until=soon"], ["--filter", "until=4711"]])
def test_what_cannot_be_pruned_is_said(full: Door, words: list[str]) -> None:
    shown = full("prune", *words)
    assert shown.code == 1
    assert shown.err.startswith("layerlog: ")
    assert full("exists", "left").code == 0


def test_nothing_is_older_than_a_week(full: Door) -> None:
    assert full("prune", "--all", "--filter", "until=168h").err == "nothing to delete\n"


def test_one_name_of_several_goes_alone_and_the_last_takes_the_image(full: Door) -> None:
    full("rm", "web")
    assert full("rmi", "app:1").err == "  with that name only; the image has others\n"
    assert full("get-names", "aaa").out == "app:latest\n"
    full("tag", "aaa", "app:2")
    shown = full("rmi", "aaa")
    assert shown.code == 1
    assert "has 2 names" in shown.err
    full("untag", "app:2")
    assert full("rmi", "app:latest").code == 0
    assert full("exists", "-i", "aaa").code == 1


def test_a_mounted_container_is_deleted_with_force_only(full: Door) -> None:
    full("mount", "web")
    assert "is mounted at" in full("rm", "web").err
    assert full("rm", "--force", "web").code == 0
    assert full("rm").code == 1
    assert full("rm", "--all").code == 0
    assert full("rmi", "--all").code == 0
    assert full("ls", "-q").out == ""


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["ls", "-q", "--filter", "dangling=true"], "bbb\n"),
        (["ls", "-aq", "app"], "aaa\n"),
        (["ls", "-q", "app:*"], "aaa\n"),
        (["ls", "-q", "--filter", "containers=false"], "bbb\n"),
        (["ls", "-q", "--filter", "since=aaa"], "bbb\n"),
        (["ls", "-q", "--filter", "before=bbb"], "aaa\n"),
        (["ls", "-q", "--filter", "until=1h"], ""),
        (["ls", "app", "--format", "{{.Repository}} {{.Tag}} {{len .Names}}"], "app 1 2\n"),
        (["ls", "app", "--format", "{{.ID}}\\t{{json .Names}}"], 'aaa\t["app:1", "app:latest"]\n'),
        (["ps", "-aq"], "ccc\n"),
        (["ps", "--filter", "status=mounted", "-q"], ""),
        (["ps", "--filter", "name=we", "--format", "{{.Names}}: {{.Image}} {{.Status}}"], "[web]: app:1 unmounted\n"),
        (["ps", "--filter", "ancestor=app:1", "-q"], "ccc\n"),
        (["inspect", "web", "-f", '{{.Image}} {{join .names ","}} {{upper .Kind}}'], "aaa web CONTAINER\n"),
        (["inspect", "--type", "layer", "base", "--format", "{{.DiffSize}}"], "10240\n"),
    ],
)
def test_lists_take_filters_and_formats_as_podman_has_them(full: Door, words: list[str], out: str) -> None:
    shown = full(*words)
    assert (shown.out, shown.err, shown.code) == (out, "", 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ls", "--filter", "color=red"], "no filter 'color=red'"),
        (["ls", "--filter", "dangling=perhaps"], "dangling=perhaps: true or false"),
        (["ps", "--filter", "status=flying"], "status=flying"),
        (["ls", "--format", "{{.Colour}}"], "there is no field 'Colour'"),
        (["ls", "--format", "{{.ID"], "an action begins with {{"),
        (["ls", "--format", "{{range .Names}}"], "cannot read 'range .Names'"),
        (["inspect", "--type", "volume", "base"], "no type 'volume'"),
    ],
)
def test_filters_and_formats_that_are_none_are_told(full: Door, words: list[str], said: str) -> None:
    shown = full(*words)
    assert (shown.code, shown.out) == (1, "")
    assert said in shown.err
