"""One process of the crowd: threads that change and read one store until they are killed, or told to end.

    python -m tests.crowd.worker ROOT RUN LOG SEED THREADS

Every operation has a client key. A line is appended to LOG before an operation starts and after it was acknowledged
(one write(2) each, so a SIGKILL loses at most what was never acknowledged):

    start KEY NANOSECONDS [OPERATION, ARGUMENT...]
    ack   KEY NANOSECONDS
    no    KEY NANOSECONDS ERROR          refused: nothing happened
    read  SEQUENCE DIGEST FROM TO        one state that was seen between two moments
    end   SEED COUNT                     a thread that was told to end, and how many operations it had finished

SIGTERM: each thread finishes what it does, and ends.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import sys
import tarfile
import threading
import time
from typing import TYPE_CHECKING, Any

from layerlog import Store
from layerlog.eventstore.errors import StoreError

if TYPE_CHECKING:
    from layerlog.view import View

NAMES = [f"name-{number}" for number in range(12)]
LAYERS_MAX = 120
"""From here on the crowd rather deletes: so an hour's store is no slower than a minute's."""
ending = threading.Event()


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
        while not ending.is_set():
            self.count += 1
            chance = self.random.random()
            if chance < 0.2:
                self.read()
            elif chance < 0.25:
                self.mount()
            else:
                self.change()
        self.say("end", self.seed, self.count)

    def read(self) -> None:
        """See one state, and say which."""
        begin = time.monotonic_ns()
        with self.store.ledger.reading():
            sequence = self.store.ledger.sequence
            digest = state_digest(self.store)
        self.say("read", sequence, digest, begin, time.monotonic_ns())

    def mount(self) -> None:
        """Mount and unmount a container: counts and leases are in everybody's way."""
        containers = self.store.containers()
        if containers:
            box = self.random.choice(containers).id
            try:
                self.store.mount(box)
                self.store.unmount(box)
            except StoreError:
                return

    def change(self) -> None:
        key = f"{self.seed}-{self.count}"
        operation = self.choose()
        self.say("start", key, time.monotonic_ns(), json.dumps(operation))
        try:
            perform(self.store.given(key=key), *operation)
        except StoreError as refused:
            self.say("no", key, time.monotonic_ns(), type(refused).__name__)
        else:
            self.say("ack", key, time.monotonic_ns())

    def choose(self) -> list[Any]:
        pick = self.random.choice
        images, layers, thrown = self.store.images(), self.store.layers(), self.store.trash()
        image, layer = (pick(images).id if images else ""), (pick(layers).id if layers else "")
        owned = {entry.row["row"]["layer"] for entry in thrown if entry.kind == "container"}  # which may come back meanwhile
        owned |= {box.layer for box in self.store.containers()}
        bare = [one.id for one in layers if one.id not in owned]  # an image on a container's layer would lose it with the container
        seed = self.random.randrange(10**6)
        crowded = len(layers) > LAYERS_MAX
        found: list[list[Any]] = [] if crowded else [
            ["create_layer", layer if self.random.random() < 0.5 else ""],
            ["import_layer", seed],
            ["create_image", pick(bare) if bare else "", str(seed % 20)],
            ["create_container", image],
        ]  # fmt: skip
        if image:
            found += [["tag", image, pick(NAMES)], ["tag", image, *self.random.sample(NAMES, 2)]]
            found += [["set_metadata", image, str(seed)], ["set_big_data", image, str(seed % 20)], ["delete_image", image]]
        if layer:
            found += [["apply_diff", layer, seed], *([["delete_layer", layer]] * (4 if crowded else 1))]
        if thrown and not crowded:
            entry = pick(thrown)
            found.append(["restore", entry.id, entry.kind])
        containers = self.store.containers()
        if containers:
            found += [["delete_container", pick(containers).id]] * 2
        return pick(found or [["import_layer", seed]])


def perform(store: Store, name: str, *arguments: Any) -> None:
    """One operation as it was logged."""
    if name == "import_layer":
        store.import_layer(small_tar(arguments[0]))
    elif name == "apply_diff":
        store.apply_diff(arguments[0], small_tar(arguments[1]))
    elif name == "create_image":
        store.create_image(arguments[0], big_data={"k": arguments[1].encode()})
    elif name == "set_metadata":
        store.set_metadata(arguments[0], arguments[1], "image")
    elif name == "set_big_data":
        store.set_big_data("image", arguments[0], "item", arguments[1].encode())
    elif name == "tag" and len(arguments) > 2:
        with store.transaction(key=store.terms.key) as together:
            for one in arguments[1:]:
                together.tag(arguments[0], one)
    else:
        getattr(store, name)(*arguments)


def state_of(view: View) -> dict[str, Any]:
    """What the model keeps of a state."""
    images = {image.id: [image.names, image.layer, image.metadata] for image in view.images()}
    return {
        "layers": {layer.id: layer.parent for layer in view.layers()},
        "images": images,
        "containers": sorted(box.id for box in view.containers()),
    }


def digest_of(state: dict[str, Any]) -> str:
    """One word for a state: equal for equal states."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def state_digest(view: View) -> str:
    return digest_of(state_of(view))


def main(root: str, run_root: str, log: str, seed: str, threads: str) -> None:
    """Work until killed or told to end."""
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    store = Store(root, run_root, "vfs", actor=f"worker-{seed}")
    working = [threading.Thread(target=Worker(store, descriptor, f"{seed}-{number}").run) for number in range(int(threads))]
    for one in working:
        one.start()
    for one in working:
        one.join()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
