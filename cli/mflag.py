"""Flags as the original reads them, and the same flags anywhere on the line.

``parse`` is contract/cli.md §2 word for word: one dash and two are different flags, flags stand before
arguments, a value flag swallows the next word whatever it is, unknown one-dash words are split in letters.
``parse_anywhere`` is for people: flags also after arguments, ``-nVALUE`` is not a thing, the rest as above.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from layerlog.cli.command import Flag

Values = dict[str, "Any"]
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class BadFlag(Exception):
    """A usage problem; the text is what the user reads."""


class HelpAsked(Exception):
    """``-h``, ``-help`` or ``--help`` where it is not a declared flag."""


class _Retry(Exception):
    """A one-dash word that is no flag: to be tried letter by letter."""


class _Line:
    """Words still to be read, and the values found so far."""

    def __init__(self, flags: Iterable[Flag], words: list[str], values: Values) -> None:
        self.words = list(words)
        self.by_word: dict[str, Flag] = {}
        self.values = values
        for flag in flags:
            for word in flag.words:
                self.by_word[word] = flag
            values.setdefault(flag.key, list(flag.default) if flag.kind == "texts" else flag.default)  # type: ignore[call-overload]

    def step(self) -> bool:
        """Read one flag; False when the next word is none. ``--`` is dropped and ends the flags."""
        word = self.words[0] if self.words else ""
        if len(word) < 2 or word[0] != "-":
            return False
        if word == "--":
            del self.words[0]
            return False
        if word[1] == "=":
            raise BadFlag(f"bad flag syntax: {word}")
        del self.words[0]
        name, equals, value = word.partition("=")
        flag = self.by_word.get(name)
        if flag is not None:
            self.take(flag, name, unquoted(value) if equals else None)
        elif name in ("--help", "-help", "-h"):
            raise HelpAsked
        elif name.startswith("--"):
            raise BadFlag(f"flag provided but not defined: {name}")
        else:
            raise _Retry(name[1:])
        return True

    def take(self, flag: Flag, name: str, value: str | None) -> None:
        """Store one value of *flag*, which was spelled *name*."""
        if flag.kind == "switch":
            self.values[flag.key] = True if value is None else boolean(value, name)
            return
        if value is None:
            if not self.words:
                raise BadFlag(f"flag needs an argument: {name}")
            value = self.words.pop(0)
        if flag.kind == "texts":
            self.values[flag.key] = [*self.values[flag.key], value]
        elif flag.kind == "number":
            self.values[flag.key] = whole(value, name)
        else:
            self.values[flag.key] = value

    def letters(self, group: str) -> None:
        """Try each letter of a one-dash word; its value, if it takes one, is the next word of the line."""
        if len(group) < 2:
            raise BadFlag(f"flag provided but not defined: -{group}")
        for letter in group:
            self.words.insert(0, "-" + letter)
            try:
                self.step()
            except (BadFlag, _Retry) as unknown:
                raise BadFlag(f"flag provided but not defined: -{group}") from unknown

    def flag_or_stop(self) -> bool:
        """``step``, with the letters tried where the word as a whole is no flag."""
        try:
            return self.step()
        except _Retry as retry:
            self.letters(str(retry))
            return True


def parse(flags: Iterable[Flag], words: list[str], values: Values) -> list[str]:
    """Read the flags at the start of *words* into *values*; return the arguments. Raises BadFlag, HelpAsked."""
    line = _Line(flags, words, values)
    while line.flag_or_stop():
        pass
    return line.words


def parse_anywhere(flags: Iterable[Flag], words: list[str], values: Values) -> list[str]:
    """The same, with flags before, between and after the arguments; ``--`` ends them. Raises BadFlag, HelpAsked."""
    line = _Line(flags, words, values)
    arguments: list[str] = []
    while line.words:
        if line.words[0] == "--":
            return arguments + line.words[1:]
        if not line.flag_or_stop():
            arguments.append(line.words.pop(0))
    return arguments


def unquoted(value: str) -> str:
    """*value* without one pair of matching outer quotes."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def boolean(value: str, name: str) -> bool:
    """*value* as Go's strconv.ParseBool reads it."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    from layerlog.cli.gojson import quoted

    shown = quoted(value)
    raise BadFlag(f"invalid boolean value {shown} for  {name}: strconv.ParseBool: parsing {shown}: invalid syntax")


def whole(value: str, name: str) -> int:
    """*value* as a whole number of at most 18 digits."""
    if value.isascii() and value.removeprefix("-").isdigit() and len(value) < 19:
        return int(value)
    from layerlog.cli.gojson import quoted

    shown = quoted(value)
    raise BadFlag(f"invalid value {shown} for flag {name}: strconv.ParseInt: parsing {shown}: invalid syntax")
