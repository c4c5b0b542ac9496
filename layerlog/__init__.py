"""layerlog: container layers, images and containers in an event-sourced store.

``from layerlog import Store``; everything else is found from there. Names are imported when first used, so
that a command pays only for what it needs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.bundling import replay as replay
    from layerlog.copied import open_journal as open_journal
    from layerlog.eventstore.errors import StoreError as StoreError
    from layerlog.records import Container as Container
    from layerlog.records import Image as Image
    from layerlog.records import Layer as Layer
    from layerlog.store import Store as Store
    from layerlog.version import __version__ as __version__

_HOME = {
    "Store": "layerlog.store",
    "StoreError": "layerlog.eventstore.errors",
    "Layer": "layerlog.records",
    "Image": "layerlog.records",
    "Container": "layerlog.records",
    "open_journal": "layerlog.copied",
    "replay": "layerlog.bundling",
    "__version__": "layerlog.version",
}
__all__ = ["Container", "Image", "Layer", "Store", "StoreError", "__version__", "open_journal", "replay"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'layerlog' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
