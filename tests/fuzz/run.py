"""Fuzz for as long as you like: ``python -m tests.fuzz.run [--seconds N | --cases N] [--seed N]``; README.md has what was run.

Seeds are counted up; each decides the archive and the way it is unpacked. With ``--steered`` coverage chooses the cases (atheris),
with ``--images`` they are image archives and layouts instead of layers.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time

from tests.fuzz import shapes
from tests.fuzz.harness import Case, Way


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, default=0, help="stop after so many instead")
    parser.add_argument("--seed", type=int, default=0, help="begin here; alone, repeat just that one")
    parser.add_argument("--steered", action="store_true")
    parser.add_argument("--images", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        if asked.steered:
            limit = f"-runs={asked.cases}" if asked.cases else f"-max_total_time={int(asked.seconds)}"
            return subprocess.run([sys.executable, "-m", "tests.fuzz.steered", place, limit, f"-seed={asked.seed or 1}"]).returncode
        if asked.images:
            from tests.fuzz.images import ImageCase

            return repeat(asked, ImageCase().run_seed)
        case = Case(place)
        return repeat(asked, lambda seed: run_seed(case, seed), case)


def run_seed(case: Case, seed: int) -> None:
    """The case of one seed."""
    draw = random.Random(seed)
    case.run(shapes.archive(draw), Way.number(draw.randrange(16), os.geteuid() == 0))


def repeat(asked: argparse.Namespace, one: object, case: Case | None = None) -> int:
    """Seed after seed; the first that fails is named."""
    seed = asked.seed or random.SystemRandom().randrange(1, 2**60)
    only = bool(asked.seed) and not asked.cases
    start, done = time.monotonic(), 0
    while not (only and done) and (done < asked.cases if asked.cases else time.monotonic() < start + asked.seconds):
        try:
            one(seed + done)  # type: ignore[operator]
        except BaseException:
            print(f"seed {seed + done}", file=sys.stderr)
            raise
        done += 1
    seconds = max(time.monotonic() - start, 1e-9)
    outcome = f", {case.accepted} accepted, {case.refused} refused" if case is not None else ""
    print(f"{done} cases from seed {seed}{outcome}; {seconds:.0f} s, {done / seconds:.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
