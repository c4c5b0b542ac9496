"""An extractor for a layer with ID maps: owners in the archive are those inside the layer."""

from __future__ import annotations

from layerlog.drivers import whiteouts
from layerlog.drivers.extract import Extractor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerlog.drivers.idmaps import IDMaps
    from layerlog.drivers.tarfields import Member


class MappedExtractor(Extractor):
    """See Extractor. Raises UnmappedID for an owner that the maps do not cover."""

    def __init__(self, maps: IDMaps, root: str, fresh: bool, overlay: bool, rootless: bool, lowers: Sequence[str]) -> None:
        super().__init__(root, fresh, overlay, rootless, lowers)
        self._maps = maps
        self.attributes.implied_owner = maps.host(0, 0)

    def add(self, member: Member, pieces: Iterable[memoryview | bytes]) -> None:
        if not whiteouts.is_named(member.name):
            member.uid, member.gid = self._maps.host(member.uid, member.gid)
        super().add(member, pieces)
