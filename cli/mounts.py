"""Mount and unmount layers, containers and images."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, JSON, Command, switch, text
from layerlog.eventstore.errors import ItemUnknown, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layerlog.cli.run import Run


def _tried(act: Callable[[], object]) -> tuple[object, str]:
    """Result and error text; an unknown word of any kind reads ``layer not known``."""
    try:
        return act(), ""
    except ItemUnknown:
        return "", "layer not known"
    except StoreError as error:
        return "", str(error)


def mount(run: Run) -> int:
    """Print a mount point per argument, an empty line for one that failed."""
    found = []
    for asked in run.arguments:
        path, error = _tried(lambda asked=asked: run.store.mount(asked, read_only=run["ro"], label=run["label"]))  # type: ignore[misc]
        found.append((asked, str(path), error))
    if run.json:
        _json(run, [[("id", asked), ("mountpoint", path), ("error", error)] for asked, path, error in found])
    else:
        for asked, path, error in found:
            if error:
                run.say(f"{error} while mounting {asked}")
            run.out(path)
    return 1 if any(error for _, _, error in found) else 0


def unmount(run: Run) -> int:
    """Take one from each count; say so when the file system really went away."""
    images = {asked for asked in run.arguments if not run.store.exists(asked, "container") and not run.store.exists(asked, "layer")}
    found = []
    for asked in run.arguments:
        gone, error = _tried(lambda asked=asked: run.store.unmount(asked, force=run["force"]))  # type: ignore[misc]
        if gone is True and asked not in images:
            run.out(f"{asked} mountpoint unmounted")
        found.append((asked, error))
    return _ended(run, found, "while unmounting {}")


def mounted(run: Run) -> int:
    """Print those that are mounted."""
    found = []
    for asked in run.arguments:
        if not (run.store.exists(asked, "container") or run.store.exists(asked, "layer")):
            found.append((asked, "layer not known"))
            continue
        there, error = _tried(lambda asked=asked: run.store.mounted(asked))  # type: ignore[misc]
        if there is True:
            run.out(f"{asked} mounted")
        found.append((asked, error))
    return _ended(run, found, "checking if {} is mounted")


def mounts(run: Run) -> int:
    """What is recorded as mounted beside what the kernel has; status 1 when they disagree."""
    from layerlog.mount_states import ELSEWHERE, OK, mount_states

    found = [one for half in run.store.halves for one in mount_states(half)]
    odd = [one for one in found if one.state not in (OK, ELSEWHERE)]
    if run.json:
        run.out_json([{"id": one.id, "name": one.name, "path": one.path, "count": one.count, "state": one.state} for one in found])
        return 1 if odd else 0
    from layerlog.cli.views.show import show
    from layerlog.cli.views.tables import mount_table

    if found:
        show(mount_table(found))
    else:
        run.out("nothing is mounted")
    if odd:
        run.out("next: layerlog recover")
    return 1 if odd else 0


def _ended(run: Run, found: list[tuple[str, str]], wording: str) -> int:
    if run.json:
        _json(run, [[("id", asked), ("error", error)] for asked, error in found])
    else:
        for asked, error in found:
            if error:
                run.say(f"{error} {wording.format(asked)}")
    return 1 if any(error for _, error in found) else 0


def _json(run: Run, rows: list[list[tuple[str, str]]]) -> None:
    from layerlog.cli.gojson import Fields

    run.out_json([Fields(row) for row in rows])


COMMANDS = (
    Command(
        "mounts",
        mounts,
        "Show what is recorded as mounted beside what the kernel has",
        "",
        most=0,
        door=FRIENDLY,
        flags=(JSON,),
        about="""States: ok; vanished (counted, but the kernel has no such mount); uncounted (mounted, but nobody counts it); elsewhere (in
another mount namespace that is still alive); strange (mounted below the store, of no layer). `layerlog recover` sets right what
it can.""",
    ),
    Command(
        "mount",
        mount,
        "Mount a layer or container",
        "[options [...]] LayerOrContainerNameOrID",
        least=1,
        flags=(
            text("--opt -o", "Mount Options"),
            text("--label -l", "Mount Label"),
            switch("--ro --read-only -r", "Mount image readonly"),
            JSON,
        ),
        about="Prints the mount point. Mounts are counted: each needs its unmount. An image can be mounted with -r. "
        "What programs write into a mount is not journaled; the history shows who had it mounted when.",
    ),
    Command(
        "unmount umount",
        unmount,
        "Unmount an image, layer or container",
        "LayerOrContainerNameOrID",
        least=1,
        flags=(JSON, switch("--force -f", "Force the umount")),
        about="Takes one from the count and unmounts at zero; --force does so whatever the count.",
    ),
    Command(
        "mounted",
        mounted,
        "Check if a file system is mounted",
        "LayerOrContainerNameOrID",
        least=1,
        flags=(JSON,),
        about="Prints each argument that is mounted.",
    ),
)
