"""Shut down, wipe, collect garbage, share equal files."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, switch, text
from layerlog.eventstore.errors import Conflict, InvalidRequest, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run

HASH_METHODS = ("", "crc", "size", "sha256")


def _silent(run: Run, act: Callable[[], object]) -> int:
    """Nothing on success, ``""`` as JSON; a failure keeps its message in both forms (the original loses it)."""
    try:
        act()
    except StoreError as error:
        if not run.json:
            raise
        run.out_json({"error": str(error)})
        return error.exit_code
    if run.json:
        run.out_json("")
    return 0


def shutdown(run: Run) -> int:
    """Refused while anything is mounted; with --force unmounts it first."""

    def act() -> None:
        try:
            run.store.shutdown(force=run["force"])
        except Conflict as mounted:
            raise Conflict(f"shutdown: {mounted}") from mounted

    return _silent(run, act)


def wipe(run: Run) -> int:
    """Everything goes; what is mounted is unmounted first."""

    def act() -> None:
        run.store.shutdown(force=True)
        run.store.wipe()

    return _silent(run, act)


def gc(run: Run) -> int:
    """What no record claims. People are told what was done, scripts are not."""
    if run.compat or run.json:
        return _silent(run, run.store.gc)
    from layerlog.cli.views.units import count, size

    done = run.store.gc()
    run.out(f"freed {count(done.trash, 'deleted thing')} and {size(done.blob_bytes)} of data items")
    for folder in done.folders:
        run.out(f"removed {folder}, which belonged to nothing")
    for place in done.lost:
        run.out(f"moved to {place} what no record claims; delete it there if nobody misses it")
    return 0


def dedup(run: Run) -> int:
    """Reflink equal files."""
    if run["hash_method"] not in HASH_METHODS:
        raise InvalidRequest(f"invalid hash method: {run['hash_method']}")
    shared = run.store.dedup(run["hash_method"] or "crc")
    if run.json:
        run.out_json({"Deduped": shared})
    else:
        run.out(f"Deduplicated {shared} bytes")
    return 0


COMMANDS = (
    Command(
        "shutdown",
        shutdown,
        "Shut down layer storage",
        "",
        flags=(switch("--force -f", "Unmount mounted layers first"), JSON),
        about="Refuses while a layer is mounted; --force unmounts first.",
    ),
    Command(
        "wipe",
        wipe,
        "Wipe all layers, images, and containers",
        "",
        flags=(JSON,),
        about="Deletes every container, image and layer in one change. Within retention `layerlog restore` brings single things back.",
    ),
    Command(
        "gc",
        gc,
        "Garbage collect leftover data",
        "",
        flags=(JSON,),
        about="Moves what no record claims to lost+found/ and frees what is past retention. Live mounts stay as they are.",
    ),
    Command(
        "dedup",
        dedup,
        "Deduplicate similar files in the images",
        "",
        flags=(text("--hash-method", "How to find equal files: crc, size, sha256"), JSON),
        about="Lets equal files of all image layers share their blocks, where the file system can (btrfs, xfs).",
    ),
)
