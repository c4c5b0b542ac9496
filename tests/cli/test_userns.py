"""User namespaces at the command line: containers of one's own IDs, and the compat door of an ordinary user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Door

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.root
def test_userns_auto_takes_ids_that_no_other_container_has(ll: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose subordinate IDs, and how many at least, says storage.conf."""
    import layerlog.auto_userns as module

    (tmp_path / "storage.conf").write_text(
        '[storage.options]\nroot-auto-userns-user = "someone"\nauto-userns-min-size = 100\nauto-userns-max-size = 1000\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setattr(module, "ranges_of", lambda name, path: [(500000, 2000)] if name == "someone" else [])
    ll("create-image", "-n", "img", "")
    for at, wanted in enumerate(["auto", "auto:size=50", "auto"]):
        assert ll("create-container", "--userns", wanted, "-i", f"c{at}", "img").code == 0
    maps = [json.loads(ll("container", "-j", f"c{at}").out)[0]["uidmap"] for at in range(3)]
    assert [(one[0]["host_id"], one[0]["size"]) for one in maps] == [(500000, 100), (500100, 50), (500150, 100)]
    before = ll("containers").out
    for wrong in ("auto:", "auto:size=", "auto:size=x", "auto:size=1001", "host", "auto:5", "auto:size=99999999999"):
        refused = ll("create-container", "--userns", wrong, "img")
        assert (refused.code, refused.out) == (1, ""), wrong
        assert refused.err.count("\n") <= 2
    assert ll("create-container", "--userns", "auto", "--uidmap", "0:1:5", "img").code == 1
    assert ll("containers").out == before


def unprivileged(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The compat door in a process of user 12345, who has no name and no subordinate IDs."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PYTHONPATH": PACKAGES}
    program = [interpreter(), "-B", "-c", START, *words]
    return subprocess.run([*WHO, *program], env={**kept, **variables}, cwd="/", capture_output=True, text=True, check=False)


WHO = ["/usr/bin/setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--"]
PACKAGES = os.pathsep.join([str(ROOT), *[one for one in sys.path if one.endswith("site-packages")]])
START = "import sys; from layerlog.cli.main import main; sys.exit(main(['containers-storage', *sys.argv[1:]]))"


@lru_cache
def interpreter() -> str:
    """A Python of this version that other users can run, in a namespace too, with the packages of this one; empty without."""
    for one in (f"/usr/bin/python3.{sys.version_info.minor}", sys.executable):
        reach = [*WHO, "unshare", "--user", "--map-root-user", "--", one, "-c", "import layerlog.store"]
        if not Path(one).exists():
            continue
        if subprocess.run(reach, env={"PYTHONPATH": PACKAGES}, cwd="/", capture_output=True, check=False).returncode == 0:
            return one
    return ""


@pytest.fixture
def other_home() -> Iterator[Path]:
    """A folder of user 12345, who can reach it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chown(name, 12345, 12345)
        if not Path("/usr/bin/setpriv").exists() or not interpreter():
            pytest.skip("an ordinary user cannot run this tree here, or the kernel refuses user namespaces")
        yield Path(name)


@pytest.mark.root
def test_an_ordinary_user_of_the_compat_door_is_root_of_a_user_namespace(other_home: Path) -> None:
    """As the original puts every user but root into one; the store is the user's own all the same."""
    made = unprivileged(other_home, "create-layer", "-i", "mine", STORAGE_DRIVER="vfs")
    assert (made.returncode, made.stdout, made.stderr) == (0, "mine\n", "")
    store = other_home / ".local/share/containers/storage"
    assert store.stat().st_uid == 12345
    seen = unprivileged(other_home, "unshare", "--", "sh", "-c", "id -u; echo $_CONTAINERS_ROOTLESS_UID", STORAGE_DRIVER="vfs")
    assert seen.stdout.split() == ["0", "12345"]
    again = unprivileged(other_home, "status", STORAGE_DRIVER="vfs")
    assert again.stderr.splitlines()[0] == f"Root: {store}"


@pytest.mark.root
def test_who_asks_for_it_stays_outside(other_home: Path) -> None:
    made = unprivileged(other_home, "--unshare=false", "create-layer", "-i", "mine", STORAGE_DRIVER="vfs")
    assert (made.returncode, made.stdout, made.stderr) == (0, "mine\n", "")
    assert "--unshare, -U=true" in unprivileged(other_home, "--help").stdout


@pytest.mark.root
def test_without_the_helper_there_is_one_line_that_says_so(other_home: Path, tmp_path: Path) -> None:
    refused = unprivileged(other_home, "layers", PATH=str(tmp_path))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "needs the program unshare" in refused.stderr


@pytest.mark.parametrize(
    ("subuid", "subgid", "both"), [("root", "root", True), ("root", "other", False), ("other", "root", False), ("0", "0", True)]
)
def test_ranges_are_used_where_there_are_some_of_both_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subuid: str, subgid: str, both: bool
) -> None:
    """With one of them alone unshare fails, and with it every command of the compat door."""
    from layerlog.cli import unshare

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, owner in (("subuid", subuid), ("subgid", subgid)):
        (tmp_path / name).write_text(f"someone:1:2\n{owner}:100000:65536\n")
    assert unshare._has_ranges((str(tmp_path / "subuid"), str(tmp_path / "subgid"))) is both


def test_where_user_namespaces_are_off_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The system's own word for that is that no space is left on the device."""
    from layerlog.cli import doctor, unshare

    monkeypatch.setattr(subprocess, "run", lambda *given, **more: subprocess.CompletedProcess(given, 1))
    monkeypatch.setattr(doctor, "_number", lambda path: 0 if path.endswith("max_user_namespaces") else None)
    assert unshare._inside(["true"]) == 1
    assert capsys.readouterr().err == (
        "layerlog: user namespaces are turned off here (sysctl user.max_user_namespaces=15000); --unshare=false does without\n"
    )
    monkeypatch.setattr(doctor, "_number", lambda path: None)
    assert unshare._inside(["false"]) == 1
    assert capsys.readouterr().err == ""
