"""A store that knows layers and nothing else: what a plain layer command opens, to start quickly.

The same classes as in Store, so the same code; fewer of them, so fewer imports (DESIGN §7, start-up).
"""

from __future__ import annotations

from layerlog.layers import LayerMethods
from layerlog.opened import Opened


class LayerStore(LayerMethods, Opened):
    """``Store`` without images, containers, mounts and history."""
