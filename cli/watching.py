"""``watch``: the store as it lives. On a terminal a view that redraws itself, elsewhere a line for each change."""

from __future__ import annotations

import os
import sys

from layerlog.cli.command import FRIENDLY, Command, text
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run
    from layerlog.cli.views.told import Words
    from layerlog.cli.views.watch import Seen, Working
    from layerlog.following import Following
    from layerlog.history import Commit

TOLD_MAX = 200
"""Changes kept for the view; a terminal shows fewer."""
LOOK_SECONDS = 0.1
"""How late a key or a change may be seen."""
QUIT_KEYS = b"qQ\x03\x04\x1b"


def watch(run: Run) -> int:
    """Until q, Ctrl-C, or a reader that went away."""
    seconds = _seconds(run["every"])
    with run.store.follow() as following:
        try:
            if sys.stdout.isatty() and sys.stdin.isatty() and not run.json:
                return _live(run, following, seconds)
            return _lines(run, following)
        except KeyboardInterrupt:
            return 0


def _seconds(word: str) -> float:
    try:
        return min(max(float(word), 0.1), 3600.0)
    except ValueError:
        raise InvalidRequest(f"cannot read {word[:40]!r} as seconds") from None


def _lines(run: Run, following: Following) -> int:
    """One line for each thing that changed, at once."""
    from layerlog.cli.history import commit_json, teller_at
    from layerlog.cli.views.watch import plain_lines

    teller = teller_at(run, following.after)
    while True:
        for commit in following.new(None):
            words = teller.tell(commit.events)
            if run.json:
                run.out_json(commit_json(commit))
            else:
                for line in plain_lines(commit, words):
                    run.out(line)
        sys.stdout.flush()


def _live(run: Run, following: Following, seconds: float) -> int:
    from time import monotonic

    from rich.live import Live

    from layerlog.cli.history import teller_at
    from layerlog.cli.views.show import console
    from layerlog.cli.views.watch import watch_view

    teller = teller_at(run, following.after)
    told: list[tuple[Commit, list[Words]]] = []
    rates = _Rates(run)
    screen = console()
    with _Keys() as keys, Live(console=screen, screen=True, auto_refresh=False, transient=True) as live:
        while True:
            live.update(watch_view(_seen(run, told, rates.now()), *screen.size), refresh=True)
            came: list[Commit] = []
            until = monotonic() + seconds
            while not came and monotonic() < until:
                if keys.quit_within(min(LOOK_SECONDS, seconds)):
                    return 0
                came = following.new(0.0)
            told = [*told, *((commit, teller.tell(commit.events)) for commit in came)][-TOLD_MAX:]


def _seen(run: Run, told: list[tuple[Commit, list[Words]]], working: list[Working]) -> Seen:
    """One look at everything."""
    import time

    from layerlog.cli.looking import headline
    from layerlog.cli.views.tree_rows import tree_rows
    from layerlog.cli.views.watch import Seen

    store = run.store
    disk = os.statvfs(store.root)
    room = (disk.f_frsize * disk.f_blocks, disk.f_frsize * disk.f_bavail)
    rows = tree_rows(store.layers(), store.images(), store.containers(), store.mounts())
    return Seen(headline(run), rows, told, working, room, sum(one.size for one in store.trash()), time.time_ns())


class _Rates:
    """Work in progress with its bytes so far, and how fast they grow between two looks."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._before: dict[str, tuple[float, int]] = {}

    def now(self) -> list[Working]:
        import time

        from layerlog.cli.measuring import bytes_below
        from layerlog.cli.views.watch import Working

        found, seen = [], {}
        now = time.monotonic()
        staging = os.path.join(self.run.store.driver.home, "staging")
        for lease_id, note in sorted(self.run.store.leases.holders().items()):
            if lease_id.startswith("."):
                continue
            size = bytes_below(os.path.join(staging, lease_id))
            then, before = self._before.get(lease_id, (now, size))
            rate = (size - before) / (now - then) if now > then else 0.0
            seen[lease_id] = (now, size)
            found.append(Working(lease_id, note, size, rate))
        self._before = seen
        return found


class _Keys:
    """The keyboard, key by key, without echo, as long as the block runs."""

    def __enter__(self) -> _Keys:
        import termios
        import tty

        self._fd = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        return self

    def quit_within(self, seconds: float) -> bool:
        """Whether a key that quits is pressed within that time."""
        import select

        readable, _, _ = select.select([self._fd], [], [], seconds)
        return bool(readable) and any(key in QUIT_KEYS for key in os.read(self._fd, 64) or b"q")

    def __exit__(self, *_: object) -> None:
        import termios

        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


COMMANDS = (
    Command(
        "watch",
        watch,
        "Watch the store live",
        "",
        most=0,
        door=FRIENDLY,
        flags=(text("--every", "Seconds between two looks at work in progress and disk", default="0.5"),),
        about="""The tree, changes as they land, work in progress with bytes and rate, the disk. q or Ctrl-C ends it.
Through a pipe: a line for each change, or with --json a commit a line.""",
    ),
)
