"""One operation in a process of its own, for strace: ``python -m tests.crash.real ROOT DRIVER LAYOUT NAME``."""

from __future__ import annotations

import sys
import time

from layerlog import Store
from tests.crash import operations, world


def main(root: str, driver: str, layout: str, name: str) -> None:
    """Run it and say up to which commit it is acknowledged."""
    world.LAYOUT = layout
    time.time = lambda: 1_800_000_000.0
    with Store(root, driver=driver, retention=operations.retention(name)) as store:
        for step in operations.steps(name):
            step(store)
            print(store.sequence, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
