"""Names of a layer, image or container."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, texts
from layerlog.eventstore.errors import ItemUnknown, LayerUnknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run


def _asked(run: Run, act: Callable[[], list[str]]) -> list[str]:
    """*act*, with the original's ``layer not known`` for an unknown word of any kind."""
    try:
        return act()
    except ItemUnknown as unknown:
        if run.compat:
            raise LayerUnknown(asked=run.argument(0)) from unknown
        raise


def get_names(run: Run) -> int:
    """Show the names, newest first."""
    names = _asked(run, lambda: run.reader.names(run.argument(0)))
    if run.json:
        run.out_json(names)
    else:
        for name in names:
            run.out(name)
    return 0


def add_names(run: Run) -> int:
    """Put names in front of the others."""
    return _result(run, _asked(run, lambda: run.store.add_names(run.argument(0), run["name"])))


def remove_names(run: Run) -> int:
    """Take names away."""
    return _result(run, _asked(run, lambda: run.store.remove_names(run.argument(0), run["name"])))


def set_names(run: Run) -> int:
    """Replace all names; without any, take all away."""
    return _result(run, _asked(run, lambda: run.store.set_names(run.argument(0), run["name"])))


def _result(run: Run, names: list[str]) -> int:
    if run.json:
        run.out_json(names or None)
    return 0


_USAGE = "[options [...]] imageOrContainerNameOrID"
_NEW = (texts("--name -n", "New name"), JSON)

COMMANDS = (
    Command(
        "get-names getnames",
        get_names,
        "Get layer, image, or container name or names",
        _USAGE,
        least=1,
        flags=(JSON,),
        reads=True,
        about="All names of one thing, newest first.",
    ),
    Command(
        "add-names addnames",
        add_names,
        "Add layer, image, or container name or names",
        _USAGE,
        least=1,
        flags=_NEW,
        about="A name that another thing of the same kind holds is taken from it; the history remembers whose it was.",
    ),
    Command(
        "remove-names removenames",
        remove_names,
        "Remove layer, image, or container name or names",
        _USAGE,
        least=1,
        flags=(texts("--name -n", "Name to remove"), JSON),
        about="Names that the thing does not have are ignored.",
    ),
    Command(
        "set-names setnames",
        set_names,
        "Set layer, image, or container name or names",
        _USAGE,
        least=1,
        flags=_NEW,
        about="Replaces all names; without --name it takes all away.",
    ),
)
