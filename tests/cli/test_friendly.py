"""The friendly door: flags anywhere, help on stdout, errors as one line and a hint, words of podman and docker."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog.cli.main import main

if TYPE_CHECKING:
    from tests.cli.conftest import Door


@pytest.fixture
def filled(ll: Door, archive: bytes) -> Door:
    """Image ``app:1`` of two layers, container ``web`` on it."""
    ll("create-layer", "--id", "base")
    ll("applydiff", "base", stdin=archive)
    ll("create-layer", "base", "--id", "top")
    ll("create-image", "top", "-i", "iid", "-n", "app:1")
    ll("create-container", "app:1", "-n", "web", "-i", "cid")
    return ll


def test_flags_stand_anywhere(ll: Door) -> None:
    assert ll("create-layer", "-i", "a").out == "a\n"
    assert ll("create-layer", "a", "-n", "name", "--id", "b").out == "b\n\tname\n"
    assert json.loads(ll("exists", "a", "-j", "b", "--layer").out) == {"a": True, "b": True}


def test_errors_are_one_line_and_a_hint_on_stderr(ll: Door) -> None:
    shown = ll("create-layer", "nope")
    assert shown.code == 1
    assert shown.out == ""
    first, second = shown.err.splitlines()
    assert first == "layerlog: layer not known"
    assert second.startswith("  hint: ")
    assert "why-gone nope" in second


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["brew"], "'brew' is not a command", "layerlog --help lists them"),
        (["tre"], "'tre' is not a command", "did you mean tree?"),
        (["tree", "--wat"], "tree: flag provided but not defined: --wat", "layerlog tree --help lists its flags"),
        (["tag", "x"], "tag: more arguments required", "usage: layerlog tag IMAGE NAME..."),
        (["tree", "x"], "tree: too many arguments", "usage: layerlog tree "),
        (["--wat"], "flag provided but not defined: --wat", "layerlog --help lists commands and flags"),
    ],
)
def test_usage_errors_end_with_125_and_a_hint(ll: Door, words: list[str], message: str, hint: str) -> None:
    shown = ll(*words)
    assert shown.code == 125
    assert shown.out == ""
    assert shown.err == f"layerlog: {message}\n  hint: {hint}\n"


def test_help_is_asked_for_in_many_ways(ll: Door) -> None:
    for words in (["--help"], ["-h"], ["help"]):
        shown = ll(*words, where=[])
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.startswith("layerlog stores layers")
    assert ll(where=[]).code == 125
    assert ll("--version", where=[]).out.startswith("layerlog 0.")


def test_a_load_tells_what_it_did_on_stderr_and_the_result_on_stdout(ll: Door, real_images: Path) -> None:
    shown = ll("load", str(real_images / "tiny/oci"), "--name", "tiny:1")
    assert shown.code == 0
    assert shown.out.splitlines()[1] == "\ttiny:1"
    assert "1 new layer" in shown.err
    assert "1 layer already here" in ll("load", str(real_images / "tiny/oci-archive.tar"), "-n", "tiny:2").err
    assert ll("load", "/nonexistent").code == 1


def test_tables_and_tree_off_a_terminal_are_plain(filled: Door) -> None:
    for words in (["tree"], ["ls"], ["ps"], ["df"], ["log"], ["trash"], ["who"], ["blame", "app:1"]):
        shown = filled(*words)
        assert shown.code == 0, words
        assert "\x1b" not in shown.out
        assert all(line == line.rstrip() for line in shown.out.splitlines())
    assert filled("ls").out.splitlines()[1].split()[:4] == ["app:1", "iid", "2", "10.2"]
    assert filled("ls", "-q").out == "iid\n"
    assert filled("ps", "-q").out == "cid\n"


@pytest.mark.parametrize(
    "name", ["tree", "ls", "ps", "df", "trash", "who", "layers", "images", "containers", "storage-layers", "status", "check", "doctor"]
)
def test_every_listing_has_json(filled: Door, name: str) -> None:
    json.loads(filled(name, "--json").out)


def test_who_over_time_has_its_periods_in_text_and_json_and_names_those_it_knows(filled: Door) -> None:
    assert {one["period"] for one in json.loads(filled("who", "--json", "--per", "month").out)} == {time.strftime("%Y-%m")}
    title, first, *_ = filled("who", "--per", "week").out.splitlines()
    assert title.split() == ["WHEN", "WHO", "CHANGES", "NEW", "BYTES"]
    assert first.startswith(time.strftime("%G-W%V"))
    assert filled("who", "--per", "moon").err == "layerlog: --per takes hour, day, week, month, not 'moon'\n"


def test_log_as_json_is_a_commit_a_line(filled: Door) -> None:
    commits = [json.loads(line) for line in filled("log", "--json").out.splitlines()]
    assert [commit["sequence"] for commit in commits] == list(range(6, 0, -1))
    assert commits[0]["events"][-1]["type"] == "ContainerCreated"
    assert commits[0]["envelope"]["arguments"] == ["app:1", "-n", "web", "-i", "cid"]


def test_the_log_can_be_narrowed(filled: Door) -> None:
    filled("tag", "app:1", "app:2", "--actor", "ci/7")

    def seen(*words: str) -> list[int]:
        return [json.loads(line)["sequence"] for line in filled("log", "--json", *words).out.splitlines()]

    assert seen("app:1") == [7, 5]
    assert seen("cid") == [6]
    assert seen("--by", "ci/7") == [7]
    assert seen("--command", "create-layer", "--reverse") == [2, 4]
    assert seen("--since", "5") == [7, 6]
    assert seen("-n", "1") == [7]
    assert seen("--until", "2") == [2, 1]


def test_a_secret_given_as_a_flag_does_not_stay_in_the_history(ll: Door) -> None:
    ll("create-layer", "-i", "a", "--label", "x" * 5000, "--key", "retry-1")
    shown = ll("log", "--json").out
    assert "retry-1" not in shown.partition('"arguments"')[2].partition("]")[0]
    assert "x" * 300 not in shown.partition('"arguments"')[2].partition("]")[0]


def test_delete_ask_why_restore(filled: Door) -> None:
    filled("rm", "web")
    shown = filled("rmi", "app:1", "--reason", "superseded")
    assert (shown.code, shown.out) == (0, "app:1\n")
    told = filled("why-gone", "app:1").out
    assert "Image app:1 (iid) was deleted today at" in told
    assert "“superseded”" in told
    command = told.strip().splitlines()[-1].split()
    assert command[0] == "layerlog"
    assert command[-2:] == ["restore", "app:1"]
    assert filled(*command[1:], where=[]).out == "iid\n\tapp:1\n"
    assert "is not gone" in filled("why-gone", "app:1").out
    assert json.loads(filled("why-gone", "web", "--json").out)["can_return"] is True
    assert filled("exists", "base", "top", "app:1").code == 0


def test_without_retention_nothing_comes_back_and_why_gone_says_so(filled: Door) -> None:
    filled("rm", "web", "--retention", "0")
    assert "It cannot come back" in filled("why-gone", "web").out
    assert filled("restore", "web").code == 1


def test_at_shows_the_store_as_it_was(filled: Door) -> None:
    filled("rename", "app:1", "app:2")
    assert filled("exists", "app:1", "--at", "5").out == "app:1: true\n"
    assert filled("exists", "app:1").code == 1
    assert filled("images", "--at", "5").out == "iid\n\tname: app:1\n"
    assert filled("layers", "--at", "1").out == ""
    assert "as it was" in filled("tree", "--at", "5").out
    assert json.loads(filled("inspect", "iid", "--at", "5").out)["names"] == ["app:1"]
    for words in (["ls"], ["ps"], ["df"], ["image", "iid"], ["get-names", "iid"], ["metadata", "iid"], ["containers"], ["log"]):
        assert filled(*words, "--at", "6").code == 0, words
    bad = filled("layers", "--at", "soon")
    assert bad.code == 1
    assert "cannot read 'soon' as a point in time" in bad.err


def test_tag_untag_rename(filled: Door) -> None:
    filled("tag", "app:1", "a", "b")
    assert filled("get-names", "iid").out == "a\nb\napp:1\n"
    filled("untag", "a", "b")
    assert filled("rename", "app:1", "app:2").code == 0
    assert filled("get-names", "iid").out == "app:2\n"
    filled("create-image", "-n", "taken")
    refused = filled("rename", "app:2", "taken")
    assert refused.code == 1
    assert "is taken by image" in refused.err
    assert filled("rename", "app:2", "taken", "--force").code == 0


def test_commit_makes_an_image_of_a_container(filled: Door) -> None:
    mount = filled("mount", "web").out.strip()
    with open(f"{mount}/new", "w") as file:
        file.write("x")
    shown = filled("commit", "web", "app:2", "--message", "new file")
    assert shown.out.splitlines()[1] == "\tapp:2"
    top = json.loads(filled("inspect", "app:2").out)["layer"]
    assert 'Add "/new"' in filled("changes", top).out


def test_rmi_with_force_takes_the_containers_along(filled: Door) -> None:
    assert filled("rmi", "app:1").code == 1
    shown = filled("rmi", "--force", "app:1")
    assert shown.code == 0
    assert "container web" in shown.err
    assert filled("layers").out == ""


def test_undo_says_its_plan_first(filled: Door) -> None:
    filled("rm", "web")
    assert "↺ container web" in filled("undo", "--last", "1", "--plan").out
    assert filled("exists", "web").code == 1
    assert filled("undo", "7").code == 0
    assert filled("exists", "web").code == 0
    assert filled("undo").err.startswith("layerlog: give one of")


def test_pins_keep_from_deletion(filled: Door) -> None:
    filled("pin", "web")
    assert filled("rm", "web").code == 1
    filled("unpin", "web")
    assert filled("rm", "web").code == 0


def test_trash_is_listed_and_emptied(filled: Door) -> None:
    filled("rm", "web")
    assert [one["kind"] for one in json.loads(filled("trash", "--json").out)] == ["container", "layer"]
    assert filled("trash", "empty", "--older", "1h").out == "freed 0 deleted things, 0 B\n"
    assert filled("trash", "empty").out.startswith("freed 2 deleted things")
    assert filled("trash", "burn").code == 1


def test_status_and_version_go_to_stdout_for_people(ll: Door) -> None:
    assert ll("status").out.startswith("Root: ")
    assert ll("version").out.startswith("Version: ")


def test_without_any_root_layerlog_keeps_to_its_own_place(ll: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAYERLOG_ROOT", str(tmp_path / "own"))
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    assert ll("create-layer", "-i", "a", where=[]).out == "a\n"
    assert (tmp_path / "own/vfs-layerlog").is_dir()


def test_a_foreign_store_is_told_in_one_line_and_left_alone(ll: Door, cs: Door, where: list[str], tmp_path: Path) -> None:
    (tmp_path / "graph/overlay-layers").mkdir(parents=True)
    (tmp_path / "graph/overlay-layers/layers.json").write_text("[]")
    before = sorted(tmp_path.rglob("*"))
    shown = ll("layers")
    assert (shown.code, shown.out) == (1, "")
    assert "was not made by layerlog" in shown.err.splitlines()[0]
    assert cs("layers").out.startswith("error initializing: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_link_is_made_and_nothing_else_is_overwritten(ll: Door, tmp_path: Path) -> None:
    shown = ll("compat", "--link", str(tmp_path / "bin"), where=[])
    assert shown.code == 0
    link = tmp_path / "bin/containers-storage"
    assert shown.out == f"{link}\n"
    assert ll("compat", "--link", str(tmp_path / "bin"), where=[]).code == 0
    link.unlink()
    link.write_text("somebody's")
    assert ll("compat", "--link", str(tmp_path / "bin"), where=[]).code == 1
    assert link.read_text() == "somebody's"


def test_the_link_is_a_containers_storage(ll: Door, where: list[str], tmp_path: Path) -> None:
    import subprocess

    link = ll("compat", "--link", str(tmp_path / "bin"), where=[]).out.strip()
    made = subprocess.run([link, *where, "create-layer", "-i", "x"], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout, made.stderr) == (0, "x\n", "")
    assert subprocess.run([link, "bogus"], capture_output=True, text=True, check=False).stdout == "bogus: unrecognized command.\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_the_shell_accepts(ll: Door, shell: str, tmp_path: Path) -> None:
    import shutil
    import subprocess

    script = ll("completion", shell, where=[]).out
    assert "why-gone" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_doctor_needs_no_store(ll: Door, tmp_path: Path) -> None:
    shown = ll("doctor")
    assert shown.code == 0
    assert "user namespaces" in shown.out
    assert not (tmp_path / "graph").exists()


def test_doctor_says_what_is_wrong_with_the_place_of_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def root_line(folder: Path) -> str:
        main(["layerlog", "--graph", str(folder), "doctor", "--json"])
        return next(str(one["text"]) for one in json.loads(capsys.readouterr().out) if one["what"] == "root")

    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "anybody may rename it" in root_line(tmp_path / "open" / "root")
    assert "anybody may write to it" in root_line(tmp_path / "open")
    assert "nothing of it outlives a boot" in root_line(Path("/dev/shm/layerlog-not-made"))


def test_batch_runs_each_line_on_one_store(ll: Door) -> None:
    lines = b"# a comment\n\ncreate-layer -i a --reason one\ncreate-layer -i 'b' a\nexists a b -q\nnonsense\ncreate-layer nope\nlayers -q\n"
    shown = ll("batch", stdin=lines)
    assert shown.code == 1
    assert shown.out == "a\nb\na\nb\n"
    assert shown.err.startswith("layerlog: line 6: 'nonsense' is not a command of batch\n")
    commits = [json.loads(line) for line in ll("log", "--json", "--reverse").out.splitlines()]
    assert [commit["envelope"].get("command") for commit in commits[1:]] == ["create-layer", "create-layer"]
    assert commits[1]["envelope"]["reason"] == "one"
    assert "reason" not in commits[2]["envelope"]
    assert ll("batch", "--stop", stdin=b"nonsense\ncreate-layer -i c\n").code == 1
    assert ll("exists", "c").code == 1


def test_batch_answers_2000_look_ups_in_a_second(ll: Door) -> None:
    import time

    ll("create-layer", "-i", "a")
    began = time.process_time()
    shown = ll("batch", stdin=b"exists a\n" * 2000)
    assert shown.out == "a: true\n" * 2000
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("door", ["layerlog", "compat"])
def test_unshare_runs_the_same_command_line_as_root_of_a_user_namespace(where: list[str], tmp_path: Path, door: str) -> None:
    import shutil
    import subprocess
    import sys

    if shutil.which("unshare") is None or subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False).returncode:
        pytest.skip("the kernel refuses user namespaces here")
    program = [sys.executable, "-m", "layerlog", *(["compat"] if door == "compat" else [])]
    words = ["--unshare", *where, "create-layer", "-i", "inside"]
    made = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout, made.stderr) == (0, "inside\n", "")
    seen = subprocess.run([*program, *where, "unshare", "--", "cat", "/proc/self/uid_map"], capture_output=True, text=True, check=True)
    assert seen.stdout.split()[0] == "0"
    assert seen.stdout.split()[2] != "4294967295"
