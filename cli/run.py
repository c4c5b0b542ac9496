"""One run of one command: its flags and arguments, the store it works on, and where it writes."""

from __future__ import annotations

import os
import sys

from layerlog.eventstore.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

    from layerlog.cli.command import Command
    from layerlog.store import Store
    from layerlog.view import View


class Run:
    """What a command function gets. Results go to ``out``, talk to ``say``; both take text and add the line end.

    ``store`` opens on first use, so that a command which refuses its arguments has touched nothing (the compat
    door opens it before, as the original does).
    """

    def __init__(
        self, command: Command, word: str, values: dict[str, Any], arguments: list[str], compat: bool, opener: Callable[[Run], Store]
    ) -> None:
        self.command, self.word = command, word
        self.words = list(arguments)
        """The words after the command as they were typed; what the history shows."""
        self.values, self.arguments, self.compat = values, arguments, compat
        self._opener, self._store = opener, None  # type: Callable[[Run], Store], Store | None
        self._past: View | None = None
        self.exit_code = 0

    # --- what was asked

    def __getitem__(self, key: str) -> Any:
        """Value of a flag."""
        return self.values[key]

    def argument(self, place: int, absent: str = "") -> str:
        """The argument at *place*, or *absent*."""
        return self.arguments[place] if place < len(self.arguments) else absent

    @property
    def json(self) -> bool:
        return bool(self.values.get("json"))

    @property
    def rich(self) -> bool:
        """Views for people: the friendly door, a terminal, no ``--json``."""
        return not self.compat and not self.json and sys.stdout.isatty()

    # --- the store

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = self._opener(self)
        return self._store

    @property
    def reader(self) -> View:
        """The store, or with ``--at`` the store as it was then: of one instant, however often it is asked."""
        if self._past is None and (when := self.values.get("at")):
            self._past = self.store.at(when)
        return self._past or self.store

    def close(self) -> None:
        """Close the store if it was opened."""
        if self._store is not None:
            for layer_id in () if self.compat else self._store.lazy.unkept:
                self.say(f"layer {layer_id} cannot be restored: the disk had no room to keep it")
            store, self._store = self._store, None
            try:
                store.close()
            except StoreError as error:  # what was asked for is done: older things were to be freed
                self.say(f"layerlog: {error}")
            how = "layerlog --unshare recover, or root, can" if os.geteuid() else "lsattr tells which are immutable; layerlog recover"
            for layer_id in dict.fromkeys(() if self.compat else store.lazy.left_behind):
                self.say(f"layer {layer_id} is deleted, but the system lets this user not remove its files yet; {how}")

    # --- where it goes

    def out(self, line: str = "", end: str = "\n") -> None:
        """One result on stdout; on a terminal, whatever the door, without what would drive it. Contents (``stdout``) go out as they are."""
        if not line.isprintable() and sys.stdout.isatty():
            line = visible(line, but="\n\t")
        write(sys.stdout, line + end)

    def say(self, line: str) -> None:
        """One line of talk on stderr, whatever an argument put into it."""
        sys.stdout.flush()
        write(sys.stderr, one_line(line) + "\n")

    def out_json(self, value: Any) -> None:
        """One JSON value on stdout, as Go writes it."""
        from layerlog.cli.gojson import encode

        self.out(encode(value))

    def fail(self, line: str) -> int:
        """Say *line* and return exit status 1."""
        self.say(line)
        return 1

    @property
    def stdout(self) -> BinaryIO:
        """Raw bytes for contents; text written before is flushed first."""
        sys.stdout.flush()
        return sys.stdout.buffer


LINE_MAX = 2000
"""Characters of one message; what is longer is a hostile argument."""


def one_line(text: str) -> str:
    """*text* without line breaks and control characters, and not endless. Bytes that are no UTF-8 stay."""
    if len(text) > LINE_MAX:
        text = text[: LINE_MAX // 2] + "…" + text[-LINE_MAX // 4 :]
    return visible(text, but="\t")


def visible(text: str, but: str = "") -> str:
    """*text* with control characters, *but* some, written out (``\\x1b``): a name must not drive the terminal. Twice is the same as once.

    Bytes that are no UTF-8 stay, except for those that a terminal of eight bits takes for control characters.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in but else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter.isprintable() or "\udca0" <= letter <= "\udcff":
        return letter
    return f"\\x{ord(letter) - 0xDC00:x}" if "\udc80" <= letter < "\udca0" else repr(letter)[1:-1]


def write(stream: Any, text: str) -> None:
    """Write *text* with bytes that were no UTF-8 given back as they came."""
    try:
        if not text.isascii():
            text.encode()  # Python's stderr would write \\udcff for what is no UTF-8
        stream.write(text)
    except UnicodeEncodeError:
        stream.flush()
        stream.buffer.write(text.encode("utf-8", "surrogateescape"))
        stream.buffer.flush()


def file_or_stdin(path: str) -> BinaryIO:
    """The file at *path*, or stdin where none is given."""
    return open(path, "rb") if path else sys.stdin.buffer


def os_error(error: OSError, verb: str = "open") -> str:
    """An OSError in the original's words: ``open PATH: no such file or directory``."""
    why = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return f"{verb} {os.fsdecode(error.filename)}: {why}" if error.filename is not None else why
