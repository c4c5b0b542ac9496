"""What a command is: names, arguments, flags, help, and the function that runs it.

Plain classes, since every start of the program makes some of them (see DESIGN §7 on start-up).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerlog.cli.run import Run

    Action = Callable[[Run], int]

BOTH, COMPAT, FRIENDLY = "both", "compat", "friendly"
"""Which front door a command or flag belongs to."""


class Flag:
    """One flag of a command. ``words`` are spelled as typed; ``key`` is how the command asks for its value.

    ``kind`` is ``switch`` (bool), ``text`` (str), ``texts`` (list of str) or ``number`` (int).
    """

    __slots__ = ("default", "door", "kind", "key", "usage", "words")

    def __init__(self, words: str, kind: str, usage: str, key: str = "", default: object = None, door: str = BOTH) -> None:
        self.words = words.split()
        self.kind, self.usage, self.door = kind, usage, door
        self.key = key or self.words[0].lstrip("-").replace("-", "_")
        self.default: object = default if default is not None else {"switch": False, "text": "", "texts": (), "number": 0}[kind]


def switch(words: str, usage: str, key: str = "", door: str = BOTH) -> Flag:
    """A flag that is there or not."""
    return Flag(words, "switch", usage, key, door=door)


def text(words: str, usage: str, key: str = "", default: str = "", door: str = BOTH) -> Flag:
    """A flag with a value; the last one given counts."""
    return Flag(words, "text", usage, key, default, door)


def texts(words: str, usage: str, key: str = "", door: str = BOTH) -> Flag:
    """A flag with a value that adds to a list each time."""
    return Flag(words, "texts", usage, key, door=door)


def number(words: str, usage: str, key: str = "", default: int = 0, door: str = BOTH) -> Flag:
    """A flag with a whole number."""
    return Flag(words, "number", usage, key, default, door)


JSON = switch("--json -j", "Prefer JSON output")


class Command:
    """One command under its names; the first is the one that help shows.

    ``least`` and ``most`` bound the number of arguments; ``most`` None is no bound. ``lax``: the original takes more
    arguments, and passes them over. ``store`` is False for the few commands of the friendly door that need no store.
    ``opens`` names the smallest class of the library that serves the command: what it does not import, it need not
    wait for. ``about`` is the manual page of the friendly door.
    """

    __slots__ = ("about", "action", "door", "flags", "lax", "least", "most", "names", "opens", "reads", "store", "summary", "usage")

    def __init__(
        self,
        names: str,
        action: Action,
        summary: str,
        usage: str = "[options [...]]",
        *,
        least: int = 0,
        most: int | None = None,
        flags: Sequence[Flag] = (),
        about: str = "",
        door: str = BOTH,
        reads: bool = False,
        store: bool = True,
        lax: bool = False,
        opens: str = "layerlog.store:Store",
    ) -> None:
        self.names = names.split()
        self.action, self.summary, self.usage, self.about = action, summary, usage, about
        self.least, self.most, self.flags = least, most, tuple(flags)
        self.door, self.reads, self.store, self.opens = door, reads, store, opens
        self.lax = lax
