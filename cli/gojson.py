"""JSON and quoting as Go writes them, so that scripts read ours as they read the original's.

Objects are lists of pairs (field order is part of the contract); absent and empty are decided by the caller.
Source: contract/cli.md §3.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_ESCAPES |= {letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
_ESCAPES |= {chr(code): f"\\u{code:04x}" for code in range(32) if chr(code) not in _ESCAPES}
_TABLE = str.maketrans(_ESCAPES)


class Fields(list[tuple[str, "Any"]]):
    """A JSON object whose members keep their order. ``add`` leaves out what Go's omitempty leaves out."""

    def add(self, name: str, value: Any) -> None:
        """Append a member unless *value* is empty."""
        if value not in ("", 0, None, False) and value != [] and value != {}:
            self.append((name, value))


def encode(value: Any) -> str:
    """*value* in one line, without blanks between, as encoding/json writes it."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Fields):
        return "{" + ",".join(f"{string(name)}:{encode(member)}" for name, member in value) + "}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{string(name)}:{encode(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, float):
        return repr(value)
    return "[" + ",".join(map(encode, value)) + "]"


def string(text: str) -> str:
    """A JSON string. Bytes that are no UTF-8 become U+FFFD each, as Go does."""
    if not text.isprintable() or "<" in text or ">" in text or "&" in text or '"' in text or "\\" in text:
        text = text.translate(_TABLE)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            text = "".join("\\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    return f'"{text}"'


def time(ns: int) -> str:
    """RFC 3339 in UTC, up to nine digits of a second, trailing zeros cut."""
    from time import gmtime

    seconds, rest = divmod(ns, 10**9)
    year, month, day, hour, minute, second = gmtime(seconds)[:6]
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{fraction}Z"


_QUOTED = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def quoted(text: str) -> str:
    """Go's ``%q``: control characters and non-UTF-8 bytes as escapes, printable characters as they are."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted_letter, text)) + '"'


def _quoted_letter(letter: str) -> str:
    if letter in _QUOTED:
        return _QUOTED[letter]
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if letter.isprintable():
        return letter
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
