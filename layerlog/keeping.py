"""What Store offers for keeping its history: ``head``, ``verify`` and ``bundle``. The work is imported when it is asked for."""

from __future__ import annotations

from layerlog.core import Core

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from layerlog.bundling import Bundle
    from layerlog.findings import Finding


class KeepMethods(Core):
    """Prove a history, and carry it elsewhere."""

    def head(self) -> str:
        """The last commit with its hash, ``4711:9c1e…``: kept elsewhere, it proves later that nothing up to it was changed."""
        from layerlog.verifying import head

        return head(self)

    def verify(self, last_known: str | int | None = None) -> Iterator[Finding]:
        """Re-check everything that can be: the hash chain, checkpoints against a replay, every blob. Finds, changes nothing.

        Any altered, dropped, swapped or repeated record is named (``finding.id`` is ``commit 17``). *last_known*: a
        ``head()`` of before, or a commit number: what was cut off or written anew since is named, too.
        Works beside other processes. Raises InvalidRequest when *last_known* cannot be read.
        """
        from layerlog.verifying import parse_head, verify

        return verify(self, parse_head(last_known))

    def bundle(self, path: str | os.PathLike[str], *, redact: bool = False) -> Bundle:
        """Write the journal alone, without any contents, as a tar at *path*: the same journal gives the same bytes.

        ``layerlog.replay(path, root)`` makes a store in the same state of it. *redact*: names, metadata, actors,
        hosts and arguments are replaced by placeholders; the hash chain still verifies.
        """
        from layerlog.bundling import bundle

        return bundle(self, path, redact=redact)
