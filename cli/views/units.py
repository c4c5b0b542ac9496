"""Sizes, times and IDs as people read them."""

from __future__ import annotations

import time

SHORT = 12
"""Characters of an ID that are shown; look-ups take any unique prefix."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")


def size(count: float) -> str:
    """Bytes in decimal units, three digits or so: ``127 MB``, ``4.1 kB``."""
    place = 0
    while count >= 999.5 and place < len(_UNITS) - 1:
        count /= 1000
        place += 1
    return f"{count:.0f} {_UNITS[place]}" if place == 0 or count >= 99.95 else f"{count:.1f} {_UNITS[place]}"


def short(item_id: str) -> str:
    """The shown part of an ID; IDs that people chose are shown whole if they are not long."""
    return item_id if len(item_id) <= 24 else item_id[:SHORT]


def count(number: int, one: str, many: str = "") -> str:
    """``1 layer``, ``3 layers``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def day(time_ns: int) -> str:
    """``Tuesday, 24 November 2026``, local."""
    at = time.localtime(time_ns // 10**9)
    return f"{_DAYS[at.tm_wday]}, {at.tm_mday} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"


def clock(time_ns: int, seconds: bool = False) -> str:
    """``03:41``, local."""
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(time_ns // 10**9))


def moment(time_ns: int, now_ns: int) -> str:
    """``today at 03:41:22``, ``yesterday at …``, ``on Tuesday, 24 November 2026 at …``."""
    on = day(time_ns)
    near = {day(now_ns + 86400 * 10**9): "tomorrow", day(now_ns - 86400 * 10**9): "yesterday", day(now_ns): "today"}
    when = near.get(on, f"on {on}")
    return f"{when} at {clock(time_ns, seconds=True)}"


def age(time_ns: int, now_ns: int) -> str:
    """``just now``, ``5 minutes ago``, ``2 days ago``."""
    seconds = (now_ns - time_ns) // 10**9
    if seconds < 10:
        return "just now"
    for length, word in ((86400 * 365, "year"), (86400 * 30, "month"), (86400 * 7, "week"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{count(seconds // length, word)} ago"
    return f"{seconds} seconds ago"


def span(seconds: float) -> str:
    """A length of time in its two largest units: ``1h 05m``, ``42s``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
