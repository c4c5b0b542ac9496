"""The folders of an empty layer are made by whoever needs them first, and by nobody after that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.contents import ensure_created

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from layerlog.eventstore.locks import Lease
    from tests.layerlog.conftest import OpenStore

MAPS: dict[str, Any] = {field: [{"container_id": 0, "host_id": 100_000, "size": 65_536}] for field in ("uid_map", "gid_map")}


@pytest.mark.parametrize("maps", [{}, pytest.param(MAPS, marks=pytest.mark.root)], ids=["plain", "mapped"])
def test_what_was_written_since_somebody_else_made_the_folder_stays(open_store: OpenStore, maps: dict[str, Any]) -> None:
    late, quick = open_store(), open_store()
    late.create_layer(id="layer", **maps)
    shutil.rmtree(late.driver.path("layer"), ignore_errors=True)  # derived, so that it may be gone
    lease = late.lease

    def leased(*asked: Any, **terms: Any) -> AbstractContextManager[Lease]:
        late.lease = lease  # type: ignore[method-assign]
        Path(quick.mount("layer"), "written").write_text("by a program")
        return lease(*asked, **terms)

    late.lease = leased  # type: ignore[assignment,method-assign]
    ensure_created(late, "layer")
    assert Path(quick.driver.path("layer"), "written").read_text() == "by a program"
    quick.unmount("layer")
