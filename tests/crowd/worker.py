"""One process of the crowd: threads that change and read one store until they are killed.

    python -m tests.crowd.worker ROOT RUN LOG SEED THREADS

Every operation has a client key. A line is appended to LOG before an operation starts and after it was acknowledged
(one write(2) each, so a SIGKILL loses at most what was never acknowledged):

    start KEY NANOSECONDS
    ack   KEY NANOSECONDS SEQUENCE
    no    KEY NANOSECONDS ERROR          refused: nothing happened
    read  SEQUENCE DIGEST FROM TO        names of all images, as one state that was seen between two moments
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sys
import tarfile
import threading
import time
from typing import TYPE_CHECKING, Any

from layerlog import Store
from layerlog.eventstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [f"name-{number}" for number in range(12)]


def small_tar(seed: int) -> io.BytesIO:
    """A tar of a few files, different for each seed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(seed % 4 + 1):
            data = hashlib.sha256(f"{seed} {number}".encode()).digest() * (seed % 50)
            member = tarfile.TarInfo(f"dir/file-{number}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    out.seek(0)
    return out


class Worker:
    """What one thread does."""

    def __init__(self, store: Store, log: int, seed: str) -> None:
        self.store, self.log = store, log
        self.random = random.Random(seed)
        self.seed, self.count = seed, 0

    def say(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def run(self) -> None:
        while True:
            self.count += 1
            if self.random.random() < 0.2:
                self.read()
            else:
                self.change()

    def read(self) -> None:
        """See one state, and say which."""
        begin = time.monotonic_ns()
        with self.store.ledger.reading():
            sequence = self.store.ledger.sequence
            digest = state_digest(self.store)
        self.say("read", sequence, digest, begin, time.monotonic_ns())

    def change(self) -> None:
        key = f"{self.seed}-{self.count}"
        action = self.random.choice(self.actions())
        self.say("start", key, time.monotonic_ns())
        try:
            action(self.store.given(key=key))
        except StoreError as refused:
            self.say("no", key, time.monotonic_ns(), type(refused).__name__)
        else:
            self.say("ack", key, time.monotonic_ns())

    def actions(self) -> list[Callable[[Store], Any]]:
        pick = self.random.choice
        name = pick(NAMES)
        images, layers, thrown = self.store.images(), self.store.layers(), self.store.trash()
        image, layer = (pick(images).id if images else ""), (pick(layers).id if layers else "")
        seed = self.random.randrange(10**6)
        found: list[Callable[[Store], Any]] = [
            lambda store: store.create_layer(layer if self.random.random() < 0.5 else ""),
            lambda store: store.import_layer(small_tar(seed)),
            lambda store: store.create_image(layer, big_data={"k": str(seed % 20).encode()}),
            lambda store: store.create_container(image),
        ]
        if image:
            found += [
                lambda store: store.tag(image, name),
                lambda store: store.set_metadata(image, str(seed), "image"),
                lambda store: store.set_big_data("image", image, "item", str(seed % 20).encode()),
                lambda store: store.delete_image(image),
            ]
        if layer:
            found += [lambda store: store.delete_layer(layer), lambda store: store.apply_diff(layer, small_tar(seed))]
        if thrown:
            entry = pick(thrown)
            found.append(lambda store: store.restore(entry.id, entry.kind))
        containers = self.store.containers()
        if containers:
            container = pick(containers).id
            found += [lambda store: store.delete_container(container)] * 2
        return found


def state_digest(store: Any) -> str:
    """One word for which names are where: equal for equal states."""
    found = {image.id: image.names for image in store.images()}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def main(root: str, run_root: str, log: str, seed: str, threads: str) -> None:
    """Work until killed."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    store = Store(root, run_root, "vfs", actor=f"worker-{seed}")
    for number in range(int(threads)):
        threading.Thread(target=Worker(store, descriptor, f"{seed}-{number}").run).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
