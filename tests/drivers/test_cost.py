"""What one more file costs, in counts of what is asked of the kernel: no clock, so a busy machine changes nothing."""

from __future__ import annotations

import errno
import io
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.drivers import durable, syscalls, written
from layerlog.drivers.trees import View
from tests.drivers import tars

if TYPE_CHECKING:
    from pathlib import Path

    from layerlog.drivers.driver import Driver

CALLS = "open write fstat fchown fchmod chmod chown utime mkdir stat readlink setxattr listxattr close".split()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each call of ``os`` was made."""
    counted: Counter[str] = Counter()

    def watched(name: str, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return real(*arguments, **named)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    return counted


def cost_of_one_more(driver: Driver, calls: Counter[str], **fields: Any) -> dict[str, float]:
    """Calls of 200 files more, per file."""
    seen = []
    for layer_id, files in (("few", 100), ("many", 300)):
        staged = driver.stage(layer_id, [])
        calls.clear()
        staged.apply(tars.stream(*[tars.file(b"d/f%d" % n, b"x", **fields) for n in range(files)]), tar_split=io.BytesIO())
        seen.append(Counter(calls))
        staged.close()
    return {name: (seen[1][name] - seen[0][name]) / 200 for name in CALLS if seen[1][name] != seen[0][name]}


def test_a_file_is_made_written_and_dated_and_no_more(driver: Driver, calls: Counter[str]) -> None:
    """Its owner and mode are set where the kernel made it with others."""
    umask = os.umask(0o022)
    try:
        assert cost_of_one_more(driver, calls) == {"open": 1, "write": 1, "fstat": 1, "utime": 1, "close": 1}
        assert cost_of_one_more(driver, calls, mode=0o666) == {"open": 1, "write": 1, "fstat": 1, "fchmod": 1, "utime": 1, "close": 1}
    finally:
        os.umask(umask)


@pytest.mark.root
def test_another_owner_costs_one_call(driver: Driver, calls: Counter[str]) -> None:
    umask = os.umask(0o022)
    try:
        found = cost_of_one_more(driver, calls, uid=7)
    finally:
        os.umask(umask)
    assert found == {"open": 1, "write": 1, "fstat": 1, "fchown": 1, "utime": 1, "close": 1}


@pytest.mark.root
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_owners_and_modes_are_the_archives_whatever_the_umask(driver: Driver, umask: int) -> None:
    wanted = [(uid, mode) for uid in (0, 5) for mode in (0, 0o400, 0o644, 0o755, 0o4755, 0o2711, 0o1777, 0o7777)]
    staged = driver.stage("a", [])
    before = os.umask(umask)
    try:
        staged.apply(tars.stream(*[tars.file(b"%d-%o" % each, b"x", uid=each[0], gid=each[0], mode=each[1]) for each in wanted]))
    finally:
        os.umask(before)
    found = [os.stat(f"{staged.root}/{uid}-{mode:o}") for uid, mode in wanted]
    assert [(one.st_uid, one.st_mode & 0o7777) for one in found] == wanted


@pytest.mark.root
def test_a_folder_that_hands_its_group_down_does_not_change_the_archives_owners(driver: Driver) -> None:
    staged = driver.stage("a", [])
    staged.apply(tars.stream(tars.folder(b"d", 0o2755, gid=9), tars.file(b"d/f", b"x", gid=0), tars.folder(b"d/e", 0o755, gid=0)))
    found = [os.stat(f"{staged.root}/d{name}") for name in ("", "/f", "/e")]
    assert [(one.st_gid, one.st_mode & 0o7777) for one in found] == [(9, 0o2755), (0, 0o644), (0, 0o755)]


@pytest.mark.root
def test_changes_look_at_no_path_of_a_new_folder(tmp_path: Path, calls: Counter[str]) -> None:
    (tmp_path / "d").mkdir()
    for number in range(50):
        (tmp_path / "d" / f"f{number}").touch()
    os.mknod(tmp_path / "d" / "gone", 0o600 | 0o020000, os.makedev(0, 0))
    view = View([str(tmp_path)], overlay=True)
    calls.clear()
    quick = list(written.written(view, look=False))
    assert calls["stat"] + calls["listxattr"] <= 1
    assert quick == list(written.written(view))
    assert len(quick) == 51


def test_the_kernel_writes_back_while_more_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of that early flush are left to the sync that counts, which has a descriptor of its own."""
    flushed: list[int] = []

    def syncfs(fd: int) -> None:
        flushed.append(fd)
        if len(flushed) == 1:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(syscalls, "syncfs", syncfs)
    scope = durable.SyncScope(str(tmp_path))
    if not scope.by_syncfs():
        pytest.skip("kernel lacks a syncfs that reports errors, or this file system is not trusted with it")
    early = durable.EarlyFlush(scope)
    for _ in range(3):
        early.count(15 << 20)
        early.close()
    assert len(flushed) == 1
    scope.sync()
    assert len(flushed) == 2
    scope.close()


def test_nothing_is_flushed_early_where_nothing_is_to_be_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "syncfs", lambda fd: pytest.fail("flushed"))
    scope = durable.SyncScope(str(tmp_path), "none")
    early = durable.EarlyFlush(scope)
    early.count(1 << 30)
    early.close()
