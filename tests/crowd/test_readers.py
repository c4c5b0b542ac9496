"""Readers while a writer unpacks 200 MB: a look-up takes no lock file, and never waits longer than one append."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import IO, Any

from layerlog import Store
from layerlog.eventstore import ofd

SIZE = 200 << 20
ROOT = Path(__file__).resolve().parent.parent.parent
LOOKER = """
import sys
from layerlog import Store
from layerlog.eventstore import ofd

waits, real = [], ofd.lock
ofd.lock = lambda fd, *, shared=False, wait=True: (waits.append(wait), real(fd, shared=shared, wait=wait))[1]
with Store(sys.argv[1], sys.argv[2], read_only=True) as store:
    looked = 0
    print("looking", flush=True)
    sys.stdin.readline()
    for _ in range(2000):
        assert store.exists("name", "image")
        looked += 1
print(looked, sum(waits))
"""


class Zeros(io.RawIOBase):
    """A tar of one great file, made while it is read; *begun* is set when the first part of the file is asked for."""

    def __init__(self, begun: threading.Event, go_on: threading.Event) -> None:
        member = tarfile.TarInfo("great")
        member.size = SIZE
        self._head, self._left, self._tail = member.tobuf(), SIZE, bytes(1024)
        self._begun, self._go_on = begun, go_on

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            part, self._head = self._head, b""
        elif self._left:
            self._begun.set()
            if self._left < SIZE // 2:
                assert self._go_on.wait(300)
            part = bytes(min(len(buffer), self._left))
            self._left -= len(part)
        else:
            part, self._tail = self._tail, b""
        buffer[: len(part)] = part
        return len(part)


class Counted:
    """The lock of the state: how often somebody found it taken, and by how many holders in turn it was passed while they waited."""

    def __init__(self, real: Any) -> None:
        self.real, self.taken, self.found_taken, self.longest = real, 0, 0, 0

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        if not self.real.acquire(blocking=False):
            before = self.taken
            self.real.acquire()
            self.found_taken += 1
            self.longest = max(self.longest, self.taken - before)
        self.taken += 1
        return True

    def release(self) -> None:
        self.real.release()

    def _is_owned(self) -> bool:
        return bool(self.real._is_owned())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_look_ups_wait_for_no_more_than_an_append_while_200_megabytes_are_unpacked(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    with Store(tmp_path / "root", tmp_path / "run", "vfs") as store:
        store.create_image(names=["name"])
        counted = Counted(store.ledger._state_lock)
        vars(store.ledger)["_state_lock"] = counted
        stream: IO[bytes] = io.BufferedReader(Zeros(begun, go_on), 1 << 20)
        writer = threading.Thread(target=store.import_layer, args=(stream,))
        words = [sys.executable, "-c", LOOKER, store.root, store.run_root]
        other = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "looking\n"
        waited, real = [], ofd.lock

        def lock(fd: int, *, shared: bool = False, wait: bool = True) -> bool:
            waited.append(threading.current_thread() is not writer)
            return real(fd, shared=shared, wait=wait)

        vars(ofd)["lock"] = lock
        try:
            writer.start()
            assert begun.wait(300)
            said, _ = other.communicate("go\n", timeout=300)  # all of its look-ups happen while the writer is at work
            for _ in range(2000):
                assert store.exists("name", "image")
            assert writer.is_alive(), "the writer was still at work"
            go_on.set()
            writer.join()
        finally:
            go_on.set()
            vars(ofd)["lock"] = real
        assert said.split() == ["2000", "0"], "another process looks up without waiting for any lock"
        assert not any(waited), "nor does this one take a lock file"
        assert counted.longest <= 1, "a look-up waited for more than one holder of the state"
        assert len(store.layers()) == 1
