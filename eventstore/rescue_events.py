"""Events of the worst day, and of a move: declared as those of events.py, which has them in its union."""

from typing import Literal, NotRequired, TypedDict


class StoreMended(TypedDict):
    """What a tool for the worst day did (``recover``, ``salvage``, ``rebuild``, ``repair``, ``import``), in words.

    ``recovery``: what a store did by itself when it was opened.
    """

    type: Literal["StoreMended"]
    tool: str
    did: list[str]
    lost: NotRequired[list[str]]
    """What it could not bring back."""


class RowsRestated(TypedDict):
    """Rows as a checkpoint had them, where the commits that made them are lost. Null: the row is gone."""

    type: Literal["RowsRestated"]
    rows: dict[str, object]


class StoreMigrated(TypedDict):
    """All layers were made again in another driver; from this commit on the store lives there."""

    type: Literal["StoreMigrated"]
    old: str
    new: str
