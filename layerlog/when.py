"""WHEN: a point in the journal, as a person gives it.

``4711`` is a commit; ``2h``, ``3d``, ``1h30m`` an age; ``yesterday``, ``today`` the start of that day;
``2026-11-01``, ``2026-11-01T12:00[:30][Z|+01:00]`` a time, local unless it says otherwise; ``-3`` or
``@{3}`` three commits back; ``now`` the present.
"""

from __future__ import annotations

import time

from layerlog.eventstore.errors import InvalidWhen

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31557600}


def parse_when(asked: str | int | float, now_ns: int) -> tuple[str, int]:
    """(``"sequence"``, n), (``"back"``, n) or (``"time"``, ns since 1970). Raises InvalidWhen."""
    if isinstance(asked, int):
        return ("back", -asked) if asked < 0 else ("sequence", asked)
    if isinstance(asked, float):
        if not abs(asked) < 1e12:
            raise InvalidWhen(asked=asked)
        return "time", int(asked * 1e9)
    word = asked.strip()
    if word.isascii() and word.isdigit() and len(word) < 19:
        return "sequence", int(word)
    back = word[1:] if word.startswith("-") else word[2:-1] if word.startswith("@{") and word.endswith("}") else ""
    if back.isascii() and back.isdigit() and len(back) < 19:
        return "back", int(back)
    if word == "now":
        return "back", 0
    if word in ("today", "yesterday"):
        return "time", _midnight(now_ns, 0 if word == "today" else 1)
    age = _age_seconds(word)
    if age is not None:
        return "time", now_ns - int(age * 1e9)
    return "time", _timestamp(word)


def _midnight(now_ns: int, days_back: int) -> int:
    """Local midnight of today or earlier. time.mktime knows the length of days with a clock change."""
    local = time.localtime(now_ns // 10**9)
    return int(time.mktime((local.tm_year, local.tm_mon, local.tm_mday - days_back, 0, 0, 0, 0, 0, -1))) * 10**9


def _age_seconds(word: str) -> float | None:
    """Seconds of ``1h30m``; None if it does not read as an age."""
    total, number = 0.0, ""
    if not word or word[-1] not in _UNIT_SECONDS:
        return None
    for letter in word:
        if letter.isascii() and (letter.isdigit() or letter == "."):
            number += letter
        elif letter in _UNIT_SECONDS and number.count(".") <= 1 and number.strip("."):
            if len(number) > 18:
                return None  # longer than any store has lived; as a float it might be infinite
            total += float(number) * _UNIT_SECONDS[letter]
            number = ""
        else:
            return None
    return total


def _timestamp(word: str) -> int:
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(word).astimezone().timestamp() * 1e9)
    except (ValueError, OverflowError, OSError) as unreadable:
        raise InvalidWhen(asked=word[:40]) from unreadable
