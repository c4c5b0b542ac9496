"""``log``: what changed, when, by whom; by item, kind, actor, command, time or range, as it is or as it comes."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command, number, switch, text
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from layerlog.cli.run import Run
    from layerlog.cli.views.log import Told
    from layerlog.cli.views.told import Teller
    from layerlog.history import Commit
    from layerlog.store import Store

SHOWN = 25
"""Commits that are shown unless asked for more."""
KINDS = ("layer", "image", "container")


def log(run: Run) -> int:
    """Commits, newest first; with --follow oldest first, and then those to come."""
    if run["number"] < 0:
        raise InvalidRequest("--number takes how many commits to show")
    after, until, words = _range(run)
    chosen = _Chosen(run, words)
    wanted = 0 if run["all"] or (run.json and not run["number"]) else run["number"] or SHOWN
    start = after if chosen.filters or not wanted else max(after, until - wanted)
    told = list(chosen.told(run.store.history(start if not words else 0, until), start))
    shown = told[-wanted:] if wanted else told
    if run["follow"]:
        return _follow(run, chosen, shown, until)
    _print(run, shown if run["reverse"] else shown[::-1])
    if not run.json:
        _tell_of_older(run, (len(told) - len(shown)) or (start - after), after)
    return 0


def _tell_of_older(run: Run, older: int, after: int) -> None:
    """What is not shown, and what nobody can show any more."""
    begins = run.store.begins() if older or not after else 0
    if older > (0 if after >= begins else begins - after):
        run.say(f"… {older - max(begins - after, 0):,} older: layerlog log --all")
    if begins > after:
        run.say(f"what came before commit {begins + 1:,} was compacted, and is not here")


def _range(run: Run) -> tuple[int, int, list[str]]:
    """After which commit, up to which, and the words that are no range."""
    store = run.store
    after = store.sequence_at(run["since"]) if run["since"] else 0
    until = store.sequence_at(run["until"] or run["at"]) if run["until"] or run["at"] else store.sequence
    words = []
    for word in run.arguments:
        first, dots, last = word.partition("..")
        if dots and not store.exists(word) and (first or last):
            after = max(after, _before(store, first) if first else 0)
            until = min(until, store.sequence_at(last) if last else until)
        else:
            words.append(word)
    return after, until, words


def _before(store: Store, first: str) -> int:
    """The commit before a range: a commit is part of the range that begins with it, the last one before a time is not."""
    import time

    from layerlog.when import parse_when

    sequence = store.sequence_at(first)
    return sequence if parse_when(first, time.time_ns())[0] == "time" else sequence - 1


def _print(run: Run, shown: list[Told]) -> None:
    if run.json:
        from layerlog.cli.history import commit_json

        for commit, _ in shown:
            run.out_json(commit_json(commit))
        return
    import time

    from layerlog.cli.views.log import log_view
    from layerlog.cli.views.log_extras import lanes, stats
    from layerlog.cli.views.show import show, width

    before = lanes(shown, run["reverse"] or run["follow"]) if run["draw"] else None
    show(log_view(shown, width(), time.time_ns(), before, stats(shown) if run["stat"] else None))


def _follow(run: Run, chosen: _Chosen, shown: list[Told], until: int) -> int:
    """For ever: until Ctrl-C, or until nobody reads what is written."""
    import sys

    _print(run, shown)
    with run.store.follow(until) as following:
        while True:
            sys.stdout.flush()
            if come := list(chosen.told(following.new(None), until)):
                _print(run, come)


class _Chosen:
    """Which commits were asked for. Names change: what held a name at that time is followed from then on."""

    def __init__(self, run: Run, words: list[str]) -> None:
        if run["kind"] and run["kind"] not in KINDS:
            raise InvalidRequest(f"no kind {run['kind'][:40]!r}: layer, image or container")
        self.run, self.words = run, words
        self.filters = bool(words or run["by"] or run["command"] or run["kind"])
        self._ids: set[str] = set()
        self._teller: Teller | None = None

    def told(self, commits: Iterable[Commit], start: int) -> Iterator[Told]:
        """Those of *commits*, in order, that fit, with their words; none up to *start*."""
        for commit in commits:
            if self._teller is None:
                self._teller = self._beginning(commit.sequence - 1)
            touched = self._touched(commit, self._teller)
            words = self._teller.tell(commit.events)
            if commit.sequence > start and touched and self._fits(commit):
                yield commit, words

    def _beginning(self, sequence: int) -> Teller:
        from layerlog.cli.history import teller_at

        return teller_at(self.run, sequence)

    def _fits(self, commit: Commit) -> bool:
        from layerlog.cli.views.who import command_of, who

        run, envelope = self.run, commit.envelope
        if run["by"] and run["by"] not in (who(envelope), str(envelope.get("program", ""))):
            return False
        if run["command"] and not command_of(envelope).startswith(run["command"]):
            return False
        kinds = {
            event.get("kind") or next((kind for kind in KINDS if event["type"].lower().startswith(kind)), "") for event in commit.events
        }
        return not run["kind"] or run["kind"] in kinds

    def _touched(self, commit: Commit, teller: Teller) -> bool:
        """Whether the commit is about one of the words: an ID, a prefix of one (from four characters on), a name at that time."""
        if not self.words:
            return True
        hit = False
        for event in commit.events:
            item_id, names = event.get("id", ""), event.get("names", ())
            before = teller.names(event.get("kind", ""), item_id) if "kind" in event else ()
            if any(word in (item_id, *names, *before) or (len(word) > 3 and item_id.startswith(word)) for word in self.words):
                self._ids.add(item_id)
            hit = hit or item_id in self._ids or self._told_of(event)
        return hit

    def _told_of(self, event: Any) -> bool:
        """Whether a rescue says what it did to one of them."""
        said = "\n".join(event.get("did", ()))
        return bool(said) and any(len(word) > 3 and word in said for word in (*self.words, *self._ids))


COMMANDS = (
    Command(
        "log",
        log,
        "Show what changed, when, by whom",
        "[X | N..M ...]",
        door=FRIENDLY,
        reads=True,
        flags=(
            number("--number -n", f"How many commits (default {SHOWN})"),
            switch("--all -a", "All of them"),
            switch("--reverse -r", "Oldest first"),
            switch("--follow -f", "Go on with what comes, until Ctrl-C"),
            text("--since", "Only after that point: a commit, an age (2h), yesterday, a time"),
            text("--until", "Only up to that point"),
            text("--by", "Only changes of that actor, user or program"),
            text("--command", "Only changes by commands that begin so: rmi, 'load py'"),
            text("--kind", "Only changes of a layer, image or container"),
            switch("--stat", "Also how much each change brought and freed"),
            switch("--draw", "Also the lives of images and containers, as lines"),
        ),
        about="""Newest first. X is an ID, a prefix of one, or a name: then only what concerns it, also under its other names.
N..M is a range of commits, both included; either may be left out, or be any point in time.
+ came, − went, ~ changed, ↺ came back. --draw gives each image and container a line: ○ it comes, ● it changes,
× it goes. (--graph is the store's root, here as everywhere.)

  layerlog log app:1.3 --since yesterday
  layerlog log 100..200 --by ci --stat""",
    ),
)
