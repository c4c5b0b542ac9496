"""Where the store is: flags over storage.conf and environment over defaults (contract/cli.md §2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.cli import config
from layerlog.cli.opening import cut, retention, shown
from layerlog.eventstore.errors import IncompleteOptions, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONF = """
[storage]
driver = "vfs"
graphroot = "/conf/root"
runroot = "/conf/run"
transient_store = "true"
driver_priority = ["overlay", "vfs"]
[storage.options]
additionalimagestores = ["/a", "/b"]
mount_program = "/usr/bin/fuse-overlayfs"
[storage.options.vfs]
ignore_chown_errors = "true"
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a storage.conf and let it be the one."""

    def write(text: str) -> Path:
        path = tmp_path / "storage.conf"
        path.write_text(text)
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(path))
        return path

    return write


def settle(compat: bool = True, **values: Any) -> config.Settings:
    return config.settle(values, compat)


def test_without_flags_everything_comes_from_the_file(conf: Callable[[str], Path]) -> None:
    conf(CONF)
    found = settle()
    assert (found.root, found.run_root, found.driver, found.transient) == ("/conf/root", "/conf/run", "vfs", True)
    assert found.options == ["vfs.imagestore=/a", "vfs.imagestore=/b", "vfs.ignore_chown_errors=true"]
    assert found.priority == ["overlay", "vfs"]


def test_limits_of_archives_come_from_the_file(conf: Callable[[str], Path]) -> None:
    conf(CONF.replace("[storage.options.vfs]", 'archive_ratio_max = "none"\n[storage.options.vfs]\narchive_bytes_max = 1048576'))
    assert settle().options[-2:] == ["vfs.archive_bytes_max=1048576", "vfs.archive_ratio_max=none"]


def test_with_any_flag_the_file_only_fills_in_a_missing_root(conf: Callable[[str], Path]) -> None:
    conf(CONF)
    found = settle(graph="/flag/root")
    assert (found.root, found.run_root, found.driver, found.options) == ("/flag/root", "/conf/run", "", [])
    found = settle(run="/flag/run", storage_driver="overlay")
    assert (found.root, found.run_root, found.driver) == ("/conf/root", "/flag/run", "overlay")


def test_a_driver_alone_is_not_enough(conf: Callable[[str], Path]) -> None:
    conf(CONF)
    with pytest.raises(IncompleteOptions):
        settle(storage_driver="vfs")


def test_relative_roots_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert settle(graph="g", run="r").root == str(tmp_path / "g")


def test_the_environment_is_read_together_with_the_file(conf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    conf(CONF)
    monkeypatch.setenv("STORAGE_DRIVER", "overlay")
    monkeypatch.setenv("STORAGE_OPTS", "overlay.mountopt=nodev,overlay.size=1G")
    found = settle()
    assert found.driver == "overlay"
    assert found.options == ["overlay.mountopt=nodev", "overlay.size=1G"]
    assert settle(graph="/g", run="/r").driver == ""  # flags: neither file nor environment choose the driver


@pytest.mark.parametrize("text", ["[storage", "storage = 1", "x = '\x01'", "[storage]\noptions = 3"])
def test_a_broken_file_stops_every_command_with_one_line(conf: Callable[[str], Path], text: str) -> None:
    path = conf(text)
    given: list[dict[str, Any]] = [{}, {"graph": "/g", "run": "/r"}]
    for values in given:
        with pytest.raises(InvalidRequest) as error:
            settle(**values)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)


def test_a_file_named_by_the_environment_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", "/nonexistent/storage.conf")
    with pytest.raises(InvalidRequest, match="no such file or directory"):
        settle()


def test_files_are_looked_for_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "SYSTEM_FILES", (str(tmp_path / "etc.conf"), str(tmp_path / "usr.conf")))
    (tmp_path / "usr.conf").write_text('[storage]\ndriver = "usr"\n')
    assert settle().driver == "usr"
    (tmp_path / "etc.conf").write_text('[storage]\ndriver = "etc"\n')
    assert settle().driver == "etc"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/storage.conf").write_text('[storage]\ndriver = "own"\n')
    assert settle().driver == "own"


def test_without_a_file_the_originals_roots_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "SYSTEM_FILES", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (settle().root, settle().run_root) == ("/var/lib/containers/storage", "/run/containers/storage")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert settle().root == os.path.join(os.environ["HOME"], ".local/share/containers/storage")
    assert settle().run_root == str(tmp_path / "containers")


def test_layerlog_has_roots_and_files_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = tmp_path / "podman.conf"
    system.write_text(CONF)
    monkeypatch.setattr(config, "SYSTEM_FILES", (str(system),))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = settle(compat=False)
    assert (found.root, found.run_root, found.driver) == ("/var/lib/layerlog", "/run/layerlog", "")
    monkeypatch.setattr(config, "OWN_SYSTEM_FILE", str(system))
    assert settle(compat=False).root == "/conf/root"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(config, "OWN_SYSTEM_FILE", "/nonexistent")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert settle(compat=False).root == "/data/layerlog"


def test_layerlog_with_a_root_keeps_its_run_time_state_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(compat=False, graph="/g").run_root == ""


@pytest.mark.parametrize(
    ("word", "seconds"), [("0", 0), ("", 0), ("24h", 86400), ("7d", 604800), ("1h30m", 5400), ("90s", 90), ("1w", 604800)]
)
def test_retention_is_a_length_of_time(word: str, seconds: float) -> None:
    assert retention(word) == seconds


@pytest.mark.parametrize("word", ["soon", "12", "h", "1x", "-1h", "1h-"])
def test_what_is_no_length_of_time_is_refused(word: str) -> None:
    with pytest.raises(InvalidRequest):
        retention(word)


def test_the_history_shows_what_was_asked_and_not_where_the_store_is() -> None:
    assert shown(["img", "--graph", "/g", "-n", "x", "--reason=because", "-s", "vfs", "--debug", "-j"]) == ["img", "-n", "x", "-j"]
    assert len(cut("x" * 5000)) < 300


def test_drop_ins_of_all_places_are_read_by_name_over_the_main_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "containers"
    (folder / "storage.conf.d").mkdir(parents=True)
    (folder / "storage.conf").write_text(CONF)
    (folder / "storage.conf.d" / "20.conf").write_text('[storage]\ngraphroot = "/second"\n')
    (folder / "storage.conf.d" / "10.conf").write_text('[storage]\ngraphroot = "/first"\nrunroot = "/first-run"\n')
    (folder / "storage.conf.d" / "30.txt").write_text("not read")
    (folder / "storage.conf.d" / "40.conf").write_text('[storage.options]\nadditionalimagestores = ["/c"]\n')
    found = settle()
    assert (found.root, found.run_root, found.driver) == ("/second", "/first-run", "vfs")
    assert found.options == ["vfs.imagestore=/c", "vfs.ignore_chown_errors=true"]


def test_drop_ins_count_without_a_main_file_and_not_beside_a_file_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conf: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "layerlog" / "storage.conf.d").mkdir(parents=True)
    (tmp_path / "layerlog" / "storage.conf.d" / "a.conf").write_text('[storage]\ngraphroot = "/dropped"\n')
    assert settle(compat=False).root == "/dropped"
    conf('[storage]\ndriver = "vfs"\n')
    assert settle(compat=False).root != "/dropped"
    (tmp_path / "last.conf").write_text('[storage]\ngraphroot = "/last"\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF_OVERRIDE", str(tmp_path / "last.conf"))
    assert (settle(compat=False).root, settle(compat=False).driver) == ("/last", "vfs")


def test_a_drop_in_that_does_not_parse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "containers" / "storage.conf.d").mkdir(parents=True)
    (tmp_path / "containers" / "storage.conf.d" / "bad.conf").write_text("= nonsense")
    with pytest.raises(InvalidRequest, match=r"storage\.conf\.d/bad\.conf: "):
        settle()


def test_what_the_original_would_act_on_and_we_do_not_is_named(conf: Callable[[str], Path]) -> None:
    conf(CONF + '[storage.options.overlay]\nsize = "1G"\n')
    assert settle().unhonoured == ["vfs.ignore_chown_errors"]
    conf('[storage]\ndriver = "overlay"\n[storage.options.overlay]\nsize = "1G"\nmountopt = "nodev"\nignore_chown_errors = "false"\n')
    assert settle().unhonoured == ["overlay.size"]
    assert settle(graph="/g", run="/r").unhonoured == []
    conf('[storage]\ndriver = "vfs"\n[storage.options]\nremap-uids = "0:1000:10"\nremap-user = ""\ndisable-volatile = true\n')
    assert settle().unhonoured == ["remap-uids", "disable-volatile"]


@pytest.mark.parametrize(
    "text",
    [
        'auto-userns-min-size = "many"',
        "auto-userns-max-size = -1",
        "auto-userns-max-size = true",
        "root-auto-userns-user = 5",
        "pull_options = 5",
        "overlay = 5",
        "vfs = ['x']",
        "mountopt = ['nodev']",
        "mountopt = {a = 1}",
    ],
)
def test_a_key_of_a_wrong_type_is_named_by_every_command(conf: Callable[[str], Path], text: str) -> None:
    conf(f"[storage.options]\n{text}\n")
    with pytest.raises(InvalidRequest, match=text.split(" ")[0]):
        config.defaults(compat=True)


def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(conf: Callable[[str], Path]) -> None:
    conf("\ufeff[storage]\r\ndriver = 'vfs'\r\ngraphroot = '/g'\r\n")
    found = config.defaults(compat=True)
    assert (found.driver, found.root) == ("vfs", "/g")


def test_inside_a_user_namespace_the_store_is_the_users(conf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "4711")
    conf("[storage]\nrootless_storage_path = '/stores/$UID'\n")
    assert config.defaults(compat=True).root == "/stores/4711"
    for nonsense in ("", "x", "-1", "9" * 30):
        monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", nonsense)
        assert config.user() == os.geteuid()


def test_the_roots_in_a_file_of_the_system_are_root_s_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else an ordinary user, whose system has a storage.conf, is sent to /var/lib/containers."""
    monkeypatch.setattr(config, "SYSTEM_FILES", (str(tmp_path / "storage.conf"),))
    monkeypatch.setattr(config, "SYSTEM_FOLDERS", (str(tmp_path),))
    (tmp_path / "storage.conf").write_text('[storage]\ndriver = "vfs"\ngraphroot = "/roots"\nrunroot = "/roots-run"\n')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (settle().root, settle().run_root) == ("/roots", "/roots-run")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = settle()
    assert (found.root, found.run_root) == (
        os.path.join(os.environ["HOME"], ".local/share/containers/storage"),
        str(tmp_path / "containers"),
    )
    assert found.driver == "vfs"
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    assert settle().root == "/roots", "named, it counts"


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("true", True), ("'true'", True), ("'0'", False), ("false", False), ("5", None), ("'maybe'", None), ("[]", None)],
)
def test_what_is_neither_true_nor_false_is_no_boolean(conf: Callable[[str], Path], word: str, wanted: bool | None) -> None:
    conf(f"[storage]\ntransient_store = {word}\n")
    if wanted is not None:
        assert config.defaults(compat=True).transient is wanted
        return
    with pytest.raises(InvalidRequest, match="transient_store"):
        config.defaults(compat=True)


@pytest.mark.parametrize(
    ("said", "meant"), [("$SET/s", "/set/s"), ("${SET}/$UID/s", "/set/{}/s"), ("/a/$GONE/s", "/a//s"), ("/a/$/s", "/a/$/s")]
)
def test_variables_in_paths_are_filled_in_as_by_the_original(
    conf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, said: str, meant: str
) -> None:
    monkeypatch.setenv("SET", "/set")
    monkeypatch.delenv("GONE", raising=False)
    conf(f"[storage]\ndriver = 'vfs'\ngraphroot = '{said}'\n")
    assert config.defaults(compat=True).root == meant.format(os.geteuid())


@pytest.mark.parametrize("key", ["graphroot", "runroot"])
def test_a_path_that_is_none_without_its_variable_is_refused(
    conf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Else the store would be another one in each folder that one happens to be in."""
    monkeypatch.delenv("GONE", raising=False)
    conf(f"[storage]\ndriver = 'vfs'\n{key} = '$GONE/s'\nrootless_storage_path = ''\n".replace("$GONE/s", "${GONE}s"))
    with pytest.raises(InvalidRequest, match="not set"):
        config.defaults(compat=True)
