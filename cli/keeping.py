"""Prove the history, and carry it elsewhere: ``verify``, ``bundle``, ``replay``."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, Command, switch, text
from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.run import Run


def verify(run: Run) -> int:
    """Re-check chain, checkpoints and blobs; status 1 when anything is not as it was written."""
    found = list(run.store.verify(run["last_known"] or None))
    head = run.store.head()
    if run.json:
        findings = [{"grade": one.grade, "id": one.id, "message": one.message, "proof": one.proof, "command": one.command} for one in found]
        run.out_json({"head": head, "findings": findings})
        return 1 if found else 0
    for one in found:
        run.out(one.message)
        run.out(f"  {one.proof}")
    if found:
        return run.fail(f"layerlog: {len(found)} findings; head {head}")
    begins = run.store.begins()
    first = f"commits {begins + 1}" if begins else "commits 1"
    based = f" and the base that stands for those up to {begins} (they are not here)" if begins else ""
    run.out(f"{first} to {head.partition(':')[0]}{based}, checkpoints and data items are as they were written")
    run.out(f"head {head}")
    return 0


def bundle(run: Run) -> int:
    """The journal alone, as a tar."""
    made = run.store.bundle(run.argument(0), redact=run["redact"])
    if run.json:
        run.out_json({"path": made.path, "sequence": made.sequence, "head": made.head, "size": made.size, "redacted": made.redacted})
        return 0
    from layerlog.cli.views.units import size

    run.out(f"{made.path}: commits 1 to {made.sequence}, {size(made.size)}{', redacted' if made.redacted else ''}")
    return 0


def replay(run: Run) -> int:
    """A store of a bundle, without contents."""
    from layerlog.bundling import replay as replayed
    from layerlog.cli.views.who import shell_word

    root = run.values.get("graph")
    if not root:
        raise InvalidRequest("say where: layerlog --graph DIR replay FILE")
    with replayed(run.argument(0), root) as store:
        if run.json:
            run.out_json({"root": store.root, "driver": store.driver_name, "head": store.head()})
        else:
            run.out(f"commit {store.sequence} again, on the null driver: layerlog --graph {shell_word(store.root)} -s null log")
    return 0


COMMANDS = (
    Command(
        "verify",
        verify,
        "Prove that the history is the one that was written",
        "",
        most=0,
        door=FRIENDLY,
        flags=(text("--last-known --last", "A head that verify printed before: what was cut off or rewritten since is named"),),
        about="""Re-reads every record and its place in the hash chain, replays checkpoints, re-hashes data items. Any altered,
dropped, swapped or repeated record is named. Changes nothing. Keep the head that it prints somewhere else: with it, the next
verify also sees a tail that was cut off. `layerlog check` looks at layers and their files.""",
    ),
    Command(
        "bundle",
        bundle,
        "Pack the journal alone, for a bug report",
        "FILE",
        least=1,
        most=1,
        door=FRIENDLY,
        flags=(switch("--redact", "Replace names, metadata, users, hosts and arguments by placeholders"),),
        about="""A tar of the journal, no contents of layers or data items: `layerlog replay` makes the same records of it elsewhere.
The same journal gives the same bytes. IDs, digests and sizes stay in it, redacted or not.""",
    ),
    Command(
        "replay",
        replay,
        "Make a store of a bundle, without contents",
        "FILE",
        least=1,
        most=1,
        door=FRIENDLY,
        store=False,
        about="""The store appears below --graph, on the null driver: every look-up, the whole history, and changes of records
work as in the store that was packed; what needs files does not.

  layerlog --graph /tmp/bug replay bundle.tar && layerlog --graph /tmp/bug -s null tree""",
    ),
)
