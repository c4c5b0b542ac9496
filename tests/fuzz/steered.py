"""The coverage of each case steers the next: ``python -m tests.fuzz.steered PLACE [libFuzzer options]``; needs atheris.

A case is a byte for the way to unpack and an archive. libFuzzer ends the process itself: nothing after ``Fuzz`` runs, so whoever
starts this removes PLACE. Not finding anything it prints how many units it executed.
"""

from __future__ import annotations

import os
import random
import sys


def main() -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    place, options = sys.argv[1], sys.argv[2:]
    with atheris.instrument_imports(include=["layerlog.drivers"]):
        from tests.fuzz import shapes
        from tests.fuzz.harness import Case, Way
    from tests.drivers.hostile import CORPUS

    case = Case(os.path.join(place, "case"))
    seeds = os.path.join(place, "seeds")
    os.makedirs(seeds)
    examples = [one.archive() for one in CORPUS.values()] + [shapes.archive(random.Random(seed)) for seed in range(100)]
    for number, data in enumerate(examples):
        with open(f"{seeds}/{number}", "wb") as file:
            file.write(bytes((number & 15,)) + data)

    def one(data: bytes) -> None:
        case.run(data[1:], Way.number(data[0] if data else 0, os.geteuid() == 0))

    atheris.Setup([sys.argv[0], "-verbosity=0", "-print_final_stats=1", "-max_len=16384", "-len_control=0", *options, seeds], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
