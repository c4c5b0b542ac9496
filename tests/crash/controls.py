"""A store that is built wrong on purpose: the judge must say so."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from layerlog import change
from layerlog.contents import apply_to
from layerlog.decide import layers as decide
from layerlog.drivers.durable import SyncScope
from layerlog.drivers.homes import StagedTree

if TYPE_CHECKING:
    from layerlog.core import Core


def fill_in_place(core: Core, layer_id: str, stream: IO[bytes], progress: Any = None) -> Any:
    """Apply a diff right where the layer is, then commit: what ``fill_layer`` takes care not to do."""
    overlay = core.driver.name == "overlay"
    place = core.driver.path(layer_id) + ("/diff" if overlay else "")
    staged = StagedTree(core.driver.name, layer_id, place, SyncScope(core.driver.home), False, overlay, 0)
    with core.lease(layer_id, "apply in place"):
        contents = apply_to(core, staged, stream, progress)
        staged.sync()
        return change.commit(core, lambda rows: decide.apply_diff(rows, layer_id, 0, contents, False))
