"""Who may read and write what the store writes; and folders that cannot be trusted, refused or handled by name."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.cli.main import main
from layerlog.drivers import syscalls
from layerlog.eventstore import position, safety
from layerlog.eventstore.errors import InvalidRequest
from layerlog.eventstore.safety import ReadOnlyFileSystem, UnsafeFolder
from layerlog.exporting import export
from layerlog.network import NetworkFileSystem
from tests.layerlog.builders import Layout, tar
from tests.rescue import world

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVERS = ("vfs", "overlay") if os.geteuid() == 0 else ("vfs",)
STRANGER = 54321


def use(root: Path, run_root: Path, driver: str, work: Path) -> None:
    """Something of everything that a store writes."""
    (work / "oci").mkdir(parents=True)
    with Store(root, run_root, driver) as store:
        image = store.load(Layout().write(work / "oci"), ["app:1"])
        box = store.create_container(image.id, names=["box"], big_data={"config": b"{}"})
        store.container_dir(box.id)
        store.container_run_dir(box.id)
        Path(store.mount(box.id), "written").write_text("x")
        store.unmount(box.id)
        thrown = store.import_layer(io.BytesIO(tar({"a": b"a"})))
        store.delete_layer(thrown.id)
        for number in range(140):
            store.set_metadata(image.id, "x" * 1500 + str(number))
        store.bundle(work / "bundle.tar")
    Store(root, run_root, driver).close()


def written(folder: Path, driver: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below but what layers hold: that has the modes of its image."""
    for where, folders, files in os.walk(folder):
        here = Path(where)
        yield here, os.lstat(here)
        yield from ((here / name, os.lstat(here / name)) for name in files)
        contents = [name for name in folders if name == "diff" or here.name == "dir" or (driver == "vfs" and here.name == "trash")]
        folders[:] = [name for name in folders if name not in contents and not (here / name).is_symlink()]


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_that_is_written_is_open_to_others_whatever_the_umask(tmp_path: Path, driver: str) -> None:
    before = os.umask(0)
    try:
        use(tmp_path / "new" / "root", tmp_path / "also" / "run", driver, tmp_path / "work")
    finally:
        os.umask(before)
    wrong = []
    for path, found in [*written(tmp_path / "new", driver), *written(tmp_path / "also", driver)]:
        mode, derived = stat.S_IMODE(found.st_mode), path.name in ("link", "lower")  # read by other tools, tell nothing
        allowed = 0o700 if stat.S_ISDIR(found.st_mode) else 0o644 if derived else 0o600
        if mode & ~allowed or found.st_uid != os.geteuid():
            wrong.append(f"{mode:04o} {found.st_uid} {path}")
    assert wrong == []
    assert stat.S_IMODE((tmp_path / "work" / "bundle.tar").stat().st_mode) == 0o600


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_modes_of_contents_are_those_of_the_archive_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
            layer = store.import_layer(io.BytesIO(tar({"d/": None, "d/f": b"x", "implied/f": b"y"})))
            top = Path(store.driver.path(layer.id))
        modes = {str(path.relative_to(top)): stat.S_IMODE(path.lstat().st_mode) for path in (top, *sorted(top.rglob("*")))}
    finally:
        os.umask(before)
    assert modes.pop(".") in (0o555, 0o755)
    assert modes == {"d": 0o755, "d/f": 0o644, "implied": 0o755, "implied/f": 0o644}


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*"))


def refused(root: Path, run_root: Path, why: str) -> None:
    """Opening says why, and nothing is touched."""
    before = listing(root)
    with pytest.raises(UnsafeFolder, match=why) as told:
        Store(root, run_root, "vfs")
    assert told.value.advice()
    assert listing(root) == before


def test_a_folder_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "root", tmp_path / "run", "vfs").close()
    (tmp_path / "root").chmod(0o777)
    refused(tmp_path / "root", tmp_path / "run", r"anybody may write to it \(mode 0777\)")
    (tmp_path / "root").chmod(0o1777)
    refused(tmp_path / "root", tmp_path / "run", "anybody may write to it")


def test_a_folder_that_anybody_may_rename_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "root").mkdir(mode=0o700)
    refused(tmp_path / "open" / "root", tmp_path / "run", "anybody may rename it")
    (tmp_path / "open" / "root").rmdir()
    refused(tmp_path / "open" / "root", tmp_path / "run", "anybody may rename it")
    assert not (tmp_path / "open" / "root").exists()


def test_a_link_to_a_folder_that_anybody_may_rename_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "root").mkdir(mode=0o700)
    (tmp_path / "root").symlink_to(tmp_path / "open" / "root")
    Store(tmp_path / "root", tmp_path / "run", "vfs").close()
    (tmp_path / "open").chmod(0o777)
    refused(tmp_path / "root", tmp_path / "run", "anybody may rename it")


@pytest.mark.root
def test_a_folder_that_a_group_of_others_may_write_to_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "root", tmp_path / "run", "vfs").close()
    (tmp_path / "root").chmod(0o775)
    Store(tmp_path / "root", tmp_path / "run").close()  # a group of one's own: as umask 002 makes it
    os.chown(tmp_path / "root", 0, STRANGER)
    refused(tmp_path / "root", tmp_path / "run", rf"group {STRANGER} may write to it \(mode 0775\)")
    (tmp_path / "root").chmod(0o755)
    Store(tmp_path / "root", tmp_path / "run").close()


@pytest.mark.root
@pytest.mark.parametrize(("tag", "who"), [(0x02, f"user {STRANGER}"), (0x08, f"group {STRANGER}")])
def test_a_folder_that_an_access_control_list_opens_to_others_is_refused(tmp_path: Path, tag: int, who: str) -> None:
    def listed(allowed: int) -> bytes:
        entries = [(0x01, 7, 0xFFFFFFFF), (tag, allowed, STRANGER), (0x04, 5, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)]
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in sorted(entries))

    Store(tmp_path / "root", tmp_path / "run", "vfs").close()
    try:
        os.setxattr(tmp_path / "root", "system.posix_acl_access", listed(7))
    except OSError as lacking:
        pytest.skip(f"the kernel lacks access control lists here: {lacking}")
    refused(tmp_path / "root", tmp_path / "run", f"{who}, by its access control list, may write to it")
    os.setxattr(tmp_path / "root", "system.posix_acl_access", listed(5))
    Store(tmp_path / "root", tmp_path / "run").close()


@pytest.mark.root
def test_what_a_default_access_control_list_gives_others_is_not_in_force_for_what_a_store_writes(tmp_path: Path) -> None:
    subprocess.run(["chmod", "700", tmp_path], check=True)
    if subprocess.run(["setfacl", "-d", "-m", f"u:{STRANGER}:rwx", tmp_path], capture_output=True).returncode:
        pytest.skip("the kernel lacks access control lists here")
    use(tmp_path / "root", tmp_path / "root" / "run", "vfs", tmp_path / "work")
    shown = subprocess.run(["getfacl", "-R", "-p", tmp_path / "root"], capture_output=True, text=True, check=True).stdout
    in_force = [line for line in shown.splitlines() if line.startswith(f"user:{STRANGER}:") and "#effective:---" not in line]
    assert in_force == []


@pytest.mark.root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "root", tmp_path / "run", "vfs").close()
    os.chown(tmp_path / "root", STRANGER, STRANGER)
    refused(tmp_path / "root", tmp_path / "run", f"it belongs to user {STRANGER}, not to 0")


@pytest.mark.root
def test_a_name_that_somebody_else_took_first_in_a_shared_folder_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "storage-run").symlink_to(tmp_path / "aim")
    (tmp_path / "aim").mkdir(mode=0o700)
    os.chown(shared / "storage-run", STRANGER, STRANGER, follow_symlinks=False)
    refused(tmp_path / "root", shared / "storage-run", f"its name belongs to user {STRANGER}")
    assert list((tmp_path / "aim").iterdir()) == []


@pytest.mark.root
def test_a_run_folder_that_appears_while_it_is_wanted_is_refused_at_the_first_mount(tmp_path: Path) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        layer = store.create_layer()
        (tmp_path / "run").mkdir()
        os.chown(tmp_path / "run", STRANGER, STRANGER)
        with pytest.raises(UnsafeFolder, match=f"belongs to user {STRANGER}"):
            store.mount(layer.id)


def test_a_bundle_is_never_written_through_a_link_that_waits_for_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        for name in (f"out.tar.{os.getpid()}.new", "out.tar"):
            (tmp_path / name).symlink_to(victim)
        store.bundle(tmp_path / "out.tar")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "out.tar").is_symlink()


def test_nothing_is_ever_written_through_a_link_that_waits_for_it(tmp_path: Path) -> None:
    """In a folder like /tmp, where anybody may have made any name before."""
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("mine")
    folder.mkdir()
    for name in ("saved.tar", "export", "layer.tar"):
        (tmp_path / name).symlink_to(victim)
    (tmp_path / "saved").symlink_to(folder)
    (tmp_path / "oci").mkdir()
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        store.load(Layout().write(tmp_path / "oci"), ["app:1"])
        store.save(tmp_path / "saved.tar", "app:1")
        with pytest.raises(InvalidRequest, match="exists already"):
            store.save(tmp_path / "saved", "app:1", format="oci")
        export(store, str(tmp_path / "export"))
    assert victim.read_text() == "mine"
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "saved.tar").is_symlink()
    assert not (tmp_path / "export").is_symlink()
    assert stat.S_IMODE((tmp_path / "export").stat().st_mode) == 0o600


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_behind_a_link_in_a_store_is_touched(tmp_path: Path, driver: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that was copied from somebody: whatever in it is a link to this user's files, nobody cleans up there."""
    world.make(tmp_path / "healthy", driver)
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("mine")
    folder.mkdir()
    (folder / "file").write_text("mine")
    (folder / "below").mkdir()
    (folder / "below" / "file").write_text("mine")
    mine = texts(tmp_path, folder, victim)
    healthy, root = tmp_path / "healthy" / "store", tmp_path / "root"
    found = [path.relative_to(healthy) for path in sorted(healthy.rglob("*")) if not path.is_symlink()]
    paths = [path for path in found if "dir" not in path.parts[:-2] and "diff" not in path.parts[:-1]]  # not what is in layers
    assert len(paths) > 50
    for path in paths:
        world.copy(healthy, root)
        as_file = (root / path).is_file()
        if as_file:
            (root / path).unlink()
        else:
            shutil.rmtree(root / path)
        (root / path).symlink_to(victim if as_file else folder)
        for words in (["recover"], ["gc"], ["create-layer"], ["delete", "mine"], ["trash", "empty"], ["wipe"]):
            main(["layerlog", "--graph", str(root), *words])
        assert "Traceback" not in capsys.readouterr().err
        assert texts(tmp_path, folder, victim).items() >= mine.items(), path
        shutil.rmtree(root)


def texts(top: Path, *paths: Path) -> dict[str, str]:
    found = [path for one in paths for path in (one, *one.rglob("*"))]
    return {str(path.relative_to(top)): path.read_text() if path.is_file() else "" for path in found}


def test_a_store_that_was_moved_to_a_network_file_system_is_refused_at_the_first_boot_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "root", tmp_path / "run", "vfs").close()
    monkeypatch.setattr(syscalls, "file_system_type", lambda fd: 0x6969)
    monkeypatch.setattr(position, "_boot_id", bytes(range(16)))
    with pytest.raises(NetworkFileSystem, match="is on NFS"):
        Store(tmp_path / "root", tmp_path / "run")
    Store(tmp_path / "root", tmp_path / "run", read_only=True).close()


def test_a_store_is_not_made_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "file_system_type", lambda fd: 0x6969)
    with pytest.raises(NetworkFileSystem, match="is on NFS"):
        Store(tmp_path / "root", tmp_path / "run", "vfs")
    assert not (tmp_path / "root").exists()


@pytest.mark.root
def test_a_store_on_a_read_only_file_system_can_be_looked_at(tmp_path: Path) -> None:
    with Store(tmp_path / "root", driver="vfs") as store:
        layer = store.import_layer(io.BytesIO(tar({"a": b"a"})), names=["named"])
    subprocess.run(["mount", "--bind", str(tmp_path / "root"), str(tmp_path / "root")], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(tmp_path / "root")], check=True)
        with Store(tmp_path / "root") as store:
            assert store.layer("named").id == layer.id
            assert b"".join(store.diff("named"))
            assert [str(finding) for finding in store.check()] == []
            with pytest.raises(ReadOnlyFileSystem, match="read-only file system"):
                store.create_layer()
    finally:
        subprocess.run(["umount", str(tmp_path / "root")], check=True)


def test_an_ordinary_folder_is_fine(tmp_path: Path) -> None:
    assert safety.look(str(tmp_path)) is False
    assert safety.look(str(tmp_path / "missing")) is False
