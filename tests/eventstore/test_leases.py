"""Leases: held by the living, found dead after the dead."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from layerlog.eventstore import disk, ofd
from layerlog.eventstore.errors import DiskError, InUse
from layerlog.eventstore.leases import Leases

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(str(tmp_path / "leases"))


def test_second_taker_is_told_who_holds_it(leases: Leases) -> None:
    with leases.take("layer", {"program": "builder", "pid": 17, "doing": "unpacking"}):
        with pytest.raises(InUse) as raised:
            leases.take("layer")
        assert str(raised.value) == "layer is being worked on by builder (PID 17), unpacking"
        assert leases.holder("layer") == {"program": "builder", "pid": 17, "doing": "unpacking"}
        assert leases.dead() == []
    assert leases.files() == []
    leases.take("layer").release()


def test_shared_leases_pin_together_and_keep_an_exclusive_one_out(leases: Leases) -> None:
    one, two = leases.take("parent", shared=True), leases.take("parent", shared=True)
    with pytest.raises(InUse):
        leases.take("parent")
    one.release()
    with pytest.raises(InUse):
        leases.take("parent")
    two.release()
    two.release()
    assert leases.files() == []
    leases.take("parent").release()


def test_the_last_of_those_who_let_go_at_the_same_moment_takes_the_file_away(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tries while the others have it still."""
    one, *others = [leases.take("parent", shared=True) for _ in range(3)]
    lock = ofd.lock

    def others_let_go(fd: int, *, shared: bool = False, wait: bool = True) -> bool:
        got = lock(fd, shared=shared, wait=wait)
        while others:
            others.pop().release()
        return got

    monkeypatch.setattr(ofd, "lock", others_let_go)
    one.release()
    assert leases.files() == []


def test_the_note_of_one_who_had_it_alone_and_died_meanwhile_stays(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = leases.take("parent", shared=True), leases.take("parent", shared=True)
    unlock = ofd.unlock

    def somebody_dies(fd: int) -> None:
        unlock(fd)
        two.abandon()
        alone = leases.take("parent")
        alone.rewrite({"generation": 3})
        alone.abandon()

    monkeypatch.setattr(ofd, "unlock", somebody_dies)
    one.release()
    assert leases.dead_notes() == {"parent": {"generation": 3}}


def test_lease_of_a_killed_process_is_found_dead_with_its_note(leases: Leases) -> None:
    program = (
        "import os, sys\nfrom layerlog.eventstore.leases import Leases\n"
        "lease = Leases(sys.argv[1]).take('half', {'generation': 3}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, leases.folder], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert leases.dead() == ["half"]
    with leases.take("half", {"generation": 4}) as lease:
        assert lease.before() == {"generation": 3}
        assert leases.dead() == []
    assert leases.files() == []


def test_abandoned_lease_is_dead_not_gone(leases: Leases) -> None:
    leases.take("doubtful", {"doing": "commit"}).abandon()
    assert leases.dead() == ["doubtful"]


def test_forked_child_holds_nothing_and_frees_nothing(leases: Leases) -> None:
    with leases.take("layer") as lease:
        pid = os.fork()
        if not pid:
            os._exit(int(lease._fd >= 0))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        with pytest.raises(InUse):
            leases.take("layer")


def test_threads_exclude_each_other_while_files_come_and_go(leases: Leases) -> None:
    """Each holder removes the file; whoever waited for that very file must look again."""
    inside, most, turns = [0], [0], [0]

    def work() -> None:
        for _ in range(100):
            with leases.take("hot", wait=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                turns[0] += 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], turns[0]) == (1, 400)


def test_note_that_cannot_be_written_stops_no_lease(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlog.eventstore import disk

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "pwrite_all", full)
    with leases.take("layer", {"doing": "delete"}):
        assert leases.holders() == {"layer": {}}


class Full(disk.Seam):
    """No block is left: no file gets bytes, and with *names* none gets a name."""

    def __init__(self, names: bool) -> None:
        self.names = names

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        if self.names and flags & os.O_CREAT and not os.path.exists(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.open(path, flags, mode)


@pytest.mark.parametrize("names", [False, True])
def test_a_lease_can_be_had_on_a_full_disk_but_not_noted_in(leases: Leases, monkeypatch: pytest.MonkeyPatch, names: bool) -> None:
    leases.take("before").release()
    monkeypatch.setattr(disk, "seam", Full(names))
    with leases.take("layer", {"doing": "delete"}) as lease:
        with pytest.raises(DiskError):
            lease.rewrite({"doing": "apply-diff", "generation": 2})
        if names:
            with pytest.raises(DiskError):
                lease.sync()


def test_the_words_of_a_note_that_is_too_long_are_shortened_and_what_recovery_needs_is_whole(leases: Leases) -> None:
    words = {"program": "b" * 300, "actor": "\N{GRINNING FACE}" * 5000, "command": "c" * 5000}
    note = {"doing": "apply-diff", "generation": 3, "pid": 17, **words}
    with leases.take("layer") as lease:
        lease.rewrite(note)
        shown = leases.holders()["layer"]
    assert {name: shown[name] for name in ("doing", "generation", "pid")} == {"doing": "apply-diff", "generation": 3, "pid": 17}
    assert shown["actor"] == "\N{GRINNING FACE}" * 256 + "…"
    assert shown["command"] == "c" * 256 + "…"
    assert shown["program"] == "b" * 256 + "…"
