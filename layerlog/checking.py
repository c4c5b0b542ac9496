"""What Store offers for finding damage: ``check``. It reads; it never deletes, mends or unmounts anything.

The work is in ``findings.py``, ``check_files.py`` and ``check_trees.py``, imported when it is asked for, since
a plain command must not wait for attrs.
"""

from __future__ import annotations

from layerlog.core import Core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.findings import Finding

UNREFERENCED_SECONDS = 24 * 3600.0


class CheckMethods(Core):
    """Compare what the records claim with what is on disk."""

    def check(self, *, quick: bool = False, unreferenced_seconds: float = UNREFERENCED_SECONDS) -> Iterator[Finding]:
        """Everything that is wrong, found one by one; nothing at all for a store that is well.

        *quick*: trees are not compared with the tars they came from (digests still are). Layers that nothing refers
        to are told when older than *unreferenced_seconds*. Works beside other processes: what somebody holds a
        lease of is not judged. Source: contract/semantics.md §10.
        """
        from layerlog.findings import every_finding

        return every_finding(self, quick, unreferenced_seconds)
