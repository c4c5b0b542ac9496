"""Methods that a Store may not have yet."""

from __future__ import annotations

from layerlog.eventstore.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from layerlog.store import Store


def method(store: Store, name: str) -> Any:
    """The method called *name*. Raises NotSupported where this version of the library has none."""
    found = getattr(store, name, None)
    if found is None:
        raise NotSupported(f"this version of layerlog cannot do that yet ({name})")
    return found
