"""Folders that belong to a container or an image and live as long as it does."""

from __future__ import annotations

from layerlog.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.cli.run import Run


def container_dir(run: Run) -> int:
    """Below the root."""
    run.out(run.store.container_dir(run.argument(0)))
    return 0


def container_run_dir(run: Run) -> int:
    """Below the run root."""
    run.out(run.store.container_run_dir(run.argument(0)))
    return 0


def image_dir(run: Run) -> int:
    """Below the root."""
    run.out(run.store.image_dir(run.argument(0)))
    return 0


def image_run_dir(run: Run) -> int:
    """Below the run root."""
    run.out(run.store.image_run_dir(run.argument(0)))
    return 0


_KEPT = "Prints a folder (0700) for your own files; it goes away together with its owner."
_BOOT = "Prints a folder (0700) for your own files below the run root; it goes away with its owner or at the next boot."
_CONTAINER, _IMAGE = "[options [...]] containerNameOrID", "[options [...]] imageNameOrID"

_ONE: dict[str, Any] = {"least": 1, "most": 1, "lax": True}

COMMANDS = (
    Command("get-container-dir", container_dir, "Find the container's associated data directory", _CONTAINER, about=_KEPT, **_ONE),
    Command(
        "get-container-run-dir",
        container_run_dir,
        "Find the container's associated runtime directory",
        _CONTAINER,
        about=_BOOT,
        **_ONE,
    ),
    Command("get-image-dir", image_dir, "Find the image's associated data directory", _IMAGE, about=_KEPT, **_ONE),
    Command("get-image-run-dir", image_run_dir, "Find the image's associated runtime directory", _IMAGE, about=_BOOT, **_ONE),
)
