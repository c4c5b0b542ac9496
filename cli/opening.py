"""Opening the store that the flags mean."""

from __future__ import annotations

import os
from importlib import import_module

from layerlog.cli.flags import PEOPLE_FLAGS, STORE_FLAGS
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.config import Settings
    from layerlog.cli.run import Run
    from layerlog.store import Store

SHOWN_MAX = 200
"""Characters of one argument that go into the history."""


def open_store(run: Run) -> Store:
    """The Store for a run. Raises StoreError."""
    values = run.values
    if values.get("journal"):
        from layerlog.copied import open_journal

        return open_journal(values["journal"])
    from layerlog.cli.config import settle

    settings = settle(values, run.compat)
    for option in settings.unhonoured:
        run.say(f"{settings.file or 'storage.conf'}: {option} is not honoured")
    return class_for(run, settings)(
        settings.root,
        settings.run_root or None,
        settings.driver or None,
        options=settings.options,
        actor=values.get("actor") or os.environ.get("LAYERLOG_ACTOR") or "",
        reason=values.get("reason") or os.environ.get("LAYERLOG_REASON") or "",
        key=values.get("key") or None,
        command=run.word,
        arguments=shown(run.words),
        retention=retention(values.get("retention") or os.environ.get("LAYERLOG_RETENTION") or "24h"),
        image_store=settings.image_store or None,
        transient=settings.transient,
        idmapped_mounts=os.environ.get("_CONTAINERS_OVERLAY_DISABLE_IDMAP") != "yes",
    )


def class_for(run: Run, settings: Settings) -> type[Store]:
    """The smallest class that serves the command; the past, ``--at``, and a split store need all of Store."""
    whole = run.values.get("at") or settings.image_store or settings.transient
    module, _, name = ("layerlog.store:Store" if whole else run.command.opens).partition(":")
    found: type[Store] = getattr(import_module(module), name)
    return found


def shown(words: list[str]) -> list[str]:
    """A command's words for the history: without the flags that every command takes, long ones cut.

    Where the store is and who asks stand elsewhere in the journal; the rest is what the user did.
    """
    takes_value = {word: flag.kind != "switch" for flag in (*STORE_FLAGS, *PEOPLE_FLAGS) for word in flag.words}
    kept: list[str] = []
    skip = False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif name in takes_value and name not in ("--json", "-j"):
            skip = takes_value[name] and not equals
        else:
            kept.append(cut(word))
    return kept


def cut(word: str) -> str:
    """An argument as it may stay in the journal for ever; the library strikes out what may be a secret."""
    return word if len(word) <= SHOWN_MAX else word[:SHOWN_MAX] + "…"


def retention(word: str) -> float:
    """Seconds of ``24h``, ``7d``, ``90m``, ``0``. Raises InvalidRequest."""
    total, rest = 0.0, word
    if word in ("0", ""):
        return 0.0
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = rest[digits : digits + 1]
        if not digits or unit not in "smhdw" or not unit:
            raise InvalidRequest(f"cannot read {word[:40]!r} as a duration (24h, 7d, 90m, 0)")
        total += float(rest[:digits]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
        rest = rest[digits + 1 :]
    return total
