"""Where chance starts."""

from __future__ import annotations

import os
import random


def seed_of(variable: str) -> int:
    """As *variable* of the environment says; else a new one each time.

    But in CI the same each time: what fails there is the change's fault. What is found elsewhere becomes a test of its own.
    """
    given = int(os.environ.get(variable, "0"))
    return given or (1 if os.environ.get("CI") == "true" else random.SystemRandom().randrange(1, 10**9))
