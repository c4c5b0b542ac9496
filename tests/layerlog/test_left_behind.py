"""What this user may not remove, read or list: the store opens all the same, nothing sound is called damaged, and who may does the rest."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store
from layerlog.drivers import attributes, durable, resolve
from layerlog.eventstore.errors import DriverError
from layerlog.repairing import plan_repair
from tests.layerlog.builders import tar
from tests.layerlog.test_after_a_boot import boot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.layerlog.conftest import OpenStore

FILES = {"mine": b"x", "d/theirs": b"y"}


@pytest.fixture
def outside() -> Iterator[Callable[..., pytest.MonkeyPatch]]:
    """``outside("trash")``: nothing below such a folder may be emptied from now on (with "rename": nor moved there)."""

    def begin(*forbidden: str) -> pytest.MonkeyPatch:
        context = pytest.MonkeyPatch()
        erase, rename = durable.remove_tree, durable.rename

        def refuse(path: str) -> None:
            if any(f"/{one}/" in path for one in forbidden) and os.path.lexists(path):
                raise PermissionError(errno.EPERM, "Operation not permitted", path)

        def remove_tree(path: str) -> None:
            refuse(path)
            erase(path)

        def moved(old: str, new: str) -> None:
            if "trash" in forbidden and "rename" in forbidden and "/trash/" in new:
                raise PermissionError(errno.EACCES, "Permission denied", old)
            rename(old, new)

        context.setattr(durable, "remove_tree", remove_tree)
        context.setattr(durable, "rename", moved)
        undo.append(context)
        return context

    undo: list[pytest.MonkeyPatch] = []
    yield begin
    for one in undo:
        one.undo()


def filled(store: Store, layer_id: str = "L") -> None:
    store.create_layer(id=layer_id)
    store.apply_diff(layer_id, io.BytesIO(tar(FILES)))


def deleted(store: Store) -> None:
    store.delete_layer("L")


def expired(store: Store) -> None:
    store.delete_layer("L")
    store.empty_trash()


def wiped(store: Store) -> None:
    store.wipe()


@pytest.mark.parametrize("forbidden", [("trash",), ("trash", "rename")])
@pytest.mark.parametrize("retention", [0, 3600])
@pytest.mark.parametrize("way", [deleted, expired, wiped])
@pytest.mark.parametrize("booted", [False, True])
def test_what_may_not_be_removed_keeps_nobody_from_opening_the_store_and_goes_with_the_first_who_may(
    open_store: OpenStore,
    outside: Callable[..., pytest.MonkeyPatch],
    forbidden: tuple[str, ...],
    retention: int,
    way: Callable[[Store], None],
    booted: bool,
) -> None:
    with open_store(retention=retention) as store:
        filled(store)
        context = outside(*forbidden)
        way(store)
        assert [one.id for one in store.layers()] == []
    for turn in range(2):
        if booted:
            boot(store)
        with open_store(retention=retention) as store:
            store.create_layer(id=f"next{turn}")
            assert [one.grade for one in store.check() if one.grade not in ("cosmetic", "metadata")] == []
            commits = store.ledger.sequence
    with open_store() as store:
        assert store.ledger.sequence == commits, "recovery tells each time of what it did not do"
    context.undo()
    with open_store(retention=retention) as store:
        kept = way is not expired and retention
        assert [one.id for one in store.trash()] == (["L"] if kept else [])
        assert len(store.driver.trash()) == (1 if kept else 0)
        if kept:
            store.restore("L")
            assert list(store.check()) == []


def test_what_a_killed_command_of_another_left_half_made_keeps_nobody_from_opening_the_store(
    open_store: OpenStore, outside: Callable[..., pytest.MonkeyPatch]
) -> None:
    with open_store() as store:
        lease = store.leases.take("half", {"doing": "import"})
        os.makedirs(os.path.join(store.driver.home, "staging", "half"))
        lease.abandon()
    context = outside("staging")
    with open_store() as store:
        store.create_layer(id="other")
    context.undo()
    with open_store() as store:
        assert store.driver.staged() == []
        assert store.leases.dead() == []


def test_a_removal_that_the_disk_refuses_is_an_error_as_ever(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(retention=0)
    filled(store)
    with monkeypatch.context() as context:
        context.setattr(durable, "remove_tree", lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error", path)))
        with pytest.raises(DriverError, match="Input/output"):
            store.delete_layer("L")


def test_files_that_this_user_may_not_read_are_no_damage_and_nothing_gives_them_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store)
    with monkeypatch.context() as context:
        real = resolve.Opener.open

        def closed(self: resolve.Opener, name: bytes, *more: int) -> int:
            if b"theirs" in name:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(self, name, *more)

        context.setattr(resolve.Opener, "open", closed)
        (finding,) = store.check()
        assert (finding.grade, finding.unknown, "not this user's to read" in str(finding)) == ("metadata", True, True)
        with pytest.raises(DriverError) as refused:
            b"".join(store.diff("L"))
        assert "--unshare" in refused.value.advice()
        plan = plan_repair(store, [], [], give_up=True)
        assert (plan.steps, plan.left) == ([], [])
    assert list(store.check()) == []


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o400, 0o500])
def test_a_folder_that_an_ordinary_user_had_to_open_is_as_it_should_be(store: Store, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        folder = tarfile.TarInfo("closed")
        folder.type, folder.mode = tarfile.DIRTYPE, mode
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo("closed/in"))
    monkeypatch.setattr(attributes, "is_privileged", lambda: False)
    store.create_layer(id="L")
    store.apply_diff("L", io.BytesIO(made.getvalue()))
    assert list(store.check()) == []
    os.chmod(os.path.join(store.driver.path("L"), "closed"), 0o755)
    assert [one.grade for one in store.check()] == ["content"]


def test_a_container_that_ended_with_the_boot_and_is_not_ours_to_remove_keeps_nobody_from_opening_the_store(
    tmp_path: Path, outside: Callable[..., pytest.MonkeyPatch]
) -> None:
    with Store(tmp_path / "root", tmp_path / "run", "vfs", transient=True) as store:
        layer_id = store.create_container().layer
        store.mount(layer_id)
        store.unmount(layer_id)
        mark = Path(store.folder("volatile", layer_id))
        mark.write_bytes(b"\0".join([b"0" * 32, *mark.read_bytes().split(b"\0")[1:]]))
    context = outside("dir")
    for _ in range(2):
        boot(store)
        with Store(tmp_path / "root", tmp_path / "other-run", "vfs") as other:
            other.create_layer()
            assert other.driver.exists(layer_id)
    context.undo()
    boot(store)
    with Store(tmp_path / "root", tmp_path / "other-run", "vfs") as other:
        assert not other.driver.exists(layer_id)
        assert not mark.exists()
