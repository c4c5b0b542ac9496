"""Asking, undoing, proving and watching from the command line."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.cli.views.log_extras import lanes
from layerlog.cli.views.watch import Seen, Working, watch_view
from tests.cli.records import NOON_NS, commit, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Door

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def filled(ll: Door, archive: bytes) -> Door:
    """Commits: 2 layer base, 3 image app:1, 4 tag app:2 by ci, 5 container web, 6 web is gone."""
    ll("import-layer", "--name", "base", stdin=archive)
    ll("create-image", "base", "--name", "app:1")
    ll("--actor", "ci", "tag", "app:1", "app:2")
    ll("create-container", "app:1", "--name", "web")
    ll("rm", "web")
    return ll


def sequences(door: Door, *words: str) -> list[int]:
    return [json.loads(line)["sequence"] for line in door("log", "--json", *words).out.splitlines()]


def test_log_is_filtered_by_range_kind_actor_and_command(filled: Door) -> None:
    assert sequences(filled) == [6, 5, 4, 3, 2, 1]
    assert sequences(filled, "3..5") == [5, 4, 3]
    assert sequences(filled, "..2") == [2, 1]
    assert sequences(filled, "5..", "--reverse") == [5, 6]
    assert sequences(filled, "0s..") == []  # the last one before a time is not after it
    assert sequences(filled, "1970-01-01..") == [6, 5, 4, 3, 2, 1]
    assert sequences(filled, "@{1}..") == [6, 5]
    assert filled("log", "-n", "-1").code == 1
    assert sequences(filled, "--kind", "image") == [4, 3]
    assert sequences(filled, "--by", "ci") == [4]
    assert sequences(filled, "--command", "rm") == [6]
    assert sequences(filled, "web", "--kind", "container") == [6, 5]
    assert filled("log", "--kind", "planet").code == 1


def test_a_part_of_the_log_is_told_in_the_same_words_as_the_whole(filled: Door) -> None:
    whole = filled("log").out.splitlines()
    assert filled("log", "-n", "1").out.splitlines() == whole[:4]
    assert "− container web" in filled("log", "6..6").out


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background job, where tests may run, ignores Ctrl-C, and so would all its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_log_follow_goes_on_with_what_comes(filled: Door, where: list[str]) -> None:
    command = [sys.executable, "-m", "layerlog", *where, "log", "--follow", "--json", "-n", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["sequence"] == 6
        filled("tag", "app:1", "later")
        assert json.loads(follower.stdout.readline())["sequence"] == 7
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_compact_says_what_it_will_do_and_does_it(filled: Door) -> None:
    assert "nothing to fold" in filled("compact", "--before", "now", "--retention", "0").out
    for number in range(70):
        filled("set-metadata", "--metadata", "x" * 120_000 if number % 20 == 0 else str(number), "app:1")
    assert "can still come back" in filled("compact", "--before", "now", "--retention", "0").out
    filled("trash", "empty")
    plan = filled("compact", "--before", "now", "--retention", "0", "--plan").out
    assert "would be folded" in plan
    assert filled("compact", "--before", "now", "--plan").out.startswith("nothing to fold")
    done = filled("compact", "--before", "now", "--retention", "0").out
    assert "are folded into a base" in done
    assert "still read there" in done
    assert sequences(filled, "1..3", "--reverse") == [1, 2, 3]
    assert filled("verify").code == 0
    assert filled("compact").code == 1


def test_a_copied_journal_is_asked_by_its_folder(filled: Door, where: list[str], tmp_path: Path) -> None:
    graph = Path(where[where.index("--graph") + 1])
    alone = ["--journal", str(graph / "vfs-layerlog" / "journal")]
    assert "rm web" in filled("why-gone", "web", where=alone).out
    assert filled("log", "--json", where=alone).out == filled("log", "--json").out
    assert filled("verify", where=alone).code == 0
    assert filled("tag", "app:1", "x", where=alone).code == 1
    assert filled("log", where=["--journal", str(tmp_path)]).code == 1


def test_tree_is_drawn_as_a_picture_that_fetches_nothing(filled: Door, tmp_path: Path) -> None:
    assert filled("tree", "--svg", str(tmp_path / "tree.svg")).code == 0
    drawn = (tmp_path / "tree.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    assert "app:1" in drawn
    assert "url(http" not in drawn
    assert os.listdir(tmp_path).count("tree.svg") == 1


def test_lanes_draw_the_lives_of_images_and_containers() -> None:
    made = {"type": "ImageCreated", "id": "i"}
    box = {"type": "ContainerCreated", "id": "c", "layer": "l"}
    named = {"type": "NamesSet", "kind": "image", "id": "i", "names": ["n"]}
    gone = {"type": "ContainerDeleted", "id": "c", "kept": True}
    events: list[dict[str, Any]] = [made, box, named, gone, {"type": "StoreWiped", "kept": True}]
    shown: list[Any] = [(commit(place, event), []) for place, event in enumerate(events, 1)]
    found = lanes(shown[::-1], oldest_first=False)
    assert [found[number][0] for number in range(1, 6)] == ["○ ", "│○", "●│", "│×", "× "]


def test_diff_state_shows_what_came_and_went_as_a_list_and_in_the_tree(filled: Door) -> None:
    assert "+ image app:1" in filled("diff-state", "2", "3").out
    tree = filled("diff-state", "2", "5", "--tree").out
    assert "+◆ app:2, app:1" in tree
    assert "+■ web" in tree
    assert [one["what"] for one in json.loads(filled("diff-state", "0", "3", "--json").out)] == ["came", "came"]


def test_df_since_tells_what_grew_and_who_did_it(filled: Door) -> None:
    shown = filled("df", "--since", "0").out
    assert "import-layer" in shown
    assert "+10.2 kB in all" in shown
    found = json.loads(filled("df", "--since", "1", "--json").out)
    assert [(one["sequence"], one["added"], one["freed"]) for one in found] == [(2, 10240, 0)]
    filled("trash", "empty")
    filled("rmi", "--force", "app:2")
    filled("trash", "empty")
    assert json.loads(filled("df", "--since", "7", "--json").out)[-1]["freed"] == 10240


def test_the_plan_of_an_undo_names_conflicts_and_changes_nothing(filled: Door) -> None:
    filled("create-container", "app:1", "--name", "web")
    planned = filled("undo", "6")
    assert planned.code == 1
    assert "✗ commit 6: the container name" in planned.out
    assert "that name is already in use" in planned.out
    assert sequences(filled)[0] == 7


def test_an_undo_says_what_it_does_and_how_to_take_that_back(filled: Door) -> None:
    done = filled("undo", "--last", "1")
    assert "↺ container web" in done.out
    assert filled("exists", "web").code == 0
    back = done.out.splitlines()[-1]
    assert "undo 7 takes that back" in back
    assert filled("undo", "7").code == 0
    assert filled("exists", "web").code == 1


def test_undo_by_user_takes_back_all_of_theirs(filled: Door) -> None:
    assert filled("undo", "--by", "ci").code == 0
    assert filled("get-names", "app:1").out.split() == ["app:1"]


def test_commands_to_copy_are_never_broken_or_cut(filled: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert [
        line for line in filled("why-gone", "web").out.splitlines() if line.startswith("    layerlog ") and line.endswith("restore web")
    ]


def test_verify_names_a_head_and_what_is_missing_since(filled: Door) -> None:
    shown = filled("verify")
    assert shown.code == 0
    head = shown.out.split()[-1]
    assert filled("verify", "--last-known", head).code == 0
    later = filled("verify", "--last-known", "9")
    assert later.code == 1
    assert later.out.startswith("commits 7-9: cut off")
    assert json.loads(filled("verify", "--json").out) == {"head": head, "findings": []}


def test_a_bundle_is_replayed_elsewhere(filled: Door, tmp_path: Path) -> None:
    assert filled("bundle", str(tmp_path / "b.tar")).out.endswith("commits 1 to 6, 10.2 kB\n")
    elsewhere = ["--graph", str(tmp_path / "elsewhere")]
    assert filled("replay", str(tmp_path / "b.tar"), where=elsewhere).code == 0
    on_null = [*elsewhere, "-s", "null"]
    assert filled("log", "--json", where=on_null).out == filled("log", "--json").out
    assert filled("replay", str(tmp_path / "b.tar"), where=elsewhere).code == 1


@pytest.mark.usefixtures("interruptible")
def test_watch_through_a_pipe_is_a_line_for_each_change(filled: Door, where: list[str]) -> None:
    command = [sys.executable, "-m", "layerlog", *where, "watch"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as watcher:
        assert watcher.stdout is not None
        line = ""
        for number in range(20):  # it says nothing before it is ready: tag until it tells
            filled("tag", "app:1", f"t{number}")
            time.sleep(0.3)
            os.set_blocking(watcher.stdout.fileno(), False)
            if line := watcher.stdout.readline():
                break
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(10) == 0
    assert "tag app:1 t" in line
    assert ": + name t" in line


def test_watch_on_a_terminal_ends_with_q_and_leaves_the_terminal_as_it_was(filled: Door, where: list[str]) -> None:
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "layerlog", *where, "watch"]
    environment = {**os.environ, "TERM": "xterm", "LINES": "24", "COLUMNS": "80"}
    with subprocess.Popen(command, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as watcher:
        shown = b""
        while b"q quits" not in shown and select.select([main], [], [], 20)[0]:
            shown += os.read(main, 65536)
        os.write(main, b"q")
        assert watcher.wait(10) == 0
    os.close(terminal)
    try:
        while data := os.read(main, 65536):
            shown += data
    except OSError:  # EIO: nobody has the other side open any more
        pass
    os.close(main)
    assert b"\x1b[?1049l" in shown  # back from the alternate screen


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (40, 10)])
def test_the_live_view_fits_any_terminal(width: int, height: int) -> None:
    working = [Working(f"{number:064x}", {"program": "layerlog", "pid": 7, "doing": "load"}, 5_000_000, 1_000_000.0) for number in range(3)]
    told = [(commit(number), [("+", "image app:1.4 (6 layers, 203 MB)")] * 2) for number in range(40)]
    shown = text(watch_view(Seen("store · vfs · commit 40", [], told, working, (10**12, 4 * 10**11), 10**9, NOON_NS), width, height), width)
    lines = shown.split("\n")
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "000000000000  load  layerlog" in shown
    assert "free" in lines[-1] or width == 40
    assert "+ image a" in shown
    assert "q quits" in shown


def test_undo_of_fewer_than_no_changes_is_refused(filled: Door) -> None:
    before = filled("layers", "-j").out
    assert filled("undo", "--last", "-1").code == 1
    assert filled("layers", "-j").out == before
    assert sequences(filled) == [6, 5, 4, 3, 2, 1]


def test_what_went_and_came_back_as_it_was_is_no_difference_to_people(filled: Door) -> None:
    at = sequences(filled)[0]
    filled("delete-image", "app:1")
    filled("restore", "app:1")
    assert filled("diff-state", str(at)).out == "0 differences, +0 B\n"


@pytest.mark.parametrize("command", ["metadata", "layer", "image", "container", "inspect", "exists", "get-names", "images", "tree", "ls"])
def test_a_point_in_time_that_is_none_is_told_as_such(filled: Door, command: str) -> None:
    words = [command] if command in ("images", "tree", "ls") else [command, "app:1"]
    for when, why in (("999", "no commit at 999"), ("soonish", "cannot read 'soonish' as a point in time")):
        shown = filled(*words, "--at", when)
        assert shown.code
        assert shown.out == ""
        assert shown.err.startswith(f"layerlog: {why}")


def test_names_of_no_kind_are_not_said_to_be_nobodys(filled: Door) -> None:
    assert filled("blame", "app:1", "--kind", "picture").err.startswith("layerlog: no kind 'picture'")
