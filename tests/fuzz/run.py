"""Fuzz for as long as you like: ``python -m tests.fuzz.run [--seconds N | --cases N] [--seed N] [--overlay]``.

With ``--atheris`` (the package must be installed) the coverage of each case steers the next; else seeds are counted up.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time

from tests.fuzz import shapes
from tests.fuzz.harness import Case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, default=0, help="stop after so many instead")
    parser.add_argument("--seed", type=int, default=0, help="begin here; alone, repeat just that one")
    parser.add_argument("--overlay", action="store_true")
    parser.add_argument("--atheris", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        case = Case(place)
        if asked.atheris:
            _steered(case, asked.overlay)
            return 0
        seed = asked.seed or random.SystemRandom().randrange(1, 2**60)
        only = bool(asked.seed) and not asked.cases
        start, done = time.monotonic(), 0
        while not (only and done) and (done < asked.cases if asked.cases else time.monotonic() < start + asked.seconds):
            try:
                case.run(shapes.archive(random.Random(seed + done)), asked.overlay)
            except BaseException:
                print(f"seed {seed + done}", file=sys.stderr)
                raise
            done += 1
        rate = done / max(time.monotonic() - start, 1e-9)
        print(f"{done} cases from seed {seed}: {case.accepted} accepted, {case.refused} refused, {rate:.0f} a second")
    return 0


def _steered(case: Case, overlay: bool) -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    def one(data: bytes) -> None:
        seed = int.from_bytes(data[:8], "little")
        case.run(data[8:] if data[:1] >= b"\x80" else shapes.archive(random.Random(seed)) + data[8:], overlay)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
