"""``python -m benchmarks [AREA] [options]``: measure here what the README claims. Areas: ``journal``, ``lookups``, ``data``."""

from __future__ import annotations

import sys

from benchmarks import data, journal, lookups

AREAS = {"journal": journal.main, "lookups": lookups.main, "data": data.main}


def main() -> int:
    """Run the area that is named first, by default all; the area reads the other words."""
    asked = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    if asked and asked not in AREAS:
        print(f"there is no area {asked!r}; there is: {', '.join(AREAS)}", file=sys.stderr)
        return 2
    for name in [asked] if asked else AREAS:
        print(f"-- {name}", flush=True)
        AREAS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
