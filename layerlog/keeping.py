"""What Store offers for keeping its history: ``head``, ``verify``, ``compact``, ``bundle``. The work is imported when asked for."""

from __future__ import annotations

import os

from layerlog.history import HistoryMethods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerlog.bundling import Bundle
    from layerlog.compacting import Compacted
    from layerlog.findings import Finding
    from layerlog.history import Commit


class KeepMethods(HistoryMethods):
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

    def compact(self, before: str | int | float, *, archive: str | os.PathLike[str] | None = None, drop: bool = False) -> Compacted:
        """Fold commits made before that point (see when.py) into one base; their segments go to an archive, or for good.

        *archive*: a folder for them, by default ``archive/`` in the journal's own; they are still read there, by ``at``,
        ``history`` and ``verify``. *drop*: they are deleted; then the past begins with the base. The present state, and the proof
        by the hash chain that it follows from what was folded, stay. Whole segments only; never what an undo needs (commits
        within retention), what deleted things that can come back need, or what a follower has not read yet.
        Durable on return; other processes may go on. Raises InUse, JournalError (damaged records), InvalidRequest.
        """
        from layerlog.compacting import compact

        return compact(self, before, "" if drop else archive if archive is None else os.fspath(archive))

    def plan_compaction(self, before: str | int | float, *, archive: str | os.PathLike[str] | None = None, drop: bool = False) -> Compacted:
        """What ``compact`` would do; changes nothing."""
        from layerlog.compacting import plan

        return plan(self, before, "" if drop else archive if archive is None else os.fspath(archive))

    def begins(self) -> int:
        """The first point that ``at`` can go back to: 0, or a later commit where old ones were compacted and dropped."""
        return self.ledger.begins()

    def bundle(self, path: str | os.PathLike[str], *, redact: bool = False) -> Bundle:
        """Write the journal alone, without any contents, as a tar at *path*: the same journal gives the same bytes.

        ``layerlog.replay(path, root)`` makes a store in the same state of it. *redact*: names, metadata, actors,
        hosts and arguments are replaced by placeholders; the hash chain still verifies.
        """
        from layerlog.bundling import bundle

        return bundle(self, path, redact=redact)

    def redact(self, *sequences: int) -> list[int]:
        """Replace what those commits say in words by placeholders, for good and without breaking the hash chain; durable on return.

        Names, metadata, flags and who did it go; numbers, times, commands, IDs, digests, sizes, pins, client keys and what mounts
        need (their labels) stay. What a thing still has of such a commit is replaced, too: give it its new name first. The
        commits that were redacted are returned, and named in a commit of their own. Not touched: big data, bundles and copies.
        Raises CommitUnknown, CannotBeRedacted (folded into a base by ``compact``; too short), InvalidRequest (commit 1), InUse.
        """
        from layerlog.redacting import redact

        return redact(self, list(sequences))

    def plan_redaction(self, *sequences: int) -> list[Commit]:
        """Those of the commits that ``redact`` would redact, as they are; raises what it would raise. Changes nothing."""
        from layerlog.redacting import plan_redaction

        return plan_redaction(self, list(sequences))
