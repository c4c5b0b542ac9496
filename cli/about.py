"""What this is and what it stands on: status, version, config."""

from __future__ import annotations

from layerlog.cli.command import JSON, Command
from layerlog.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.gojson import Fields
    from layerlog.cli.run import Run


def _pairs(run: Run, rows: list[tuple[str, str]]) -> int:
    """Rows as ``Key: value``: on stderr at the compat door, as the original has it; results go to stdout at ours."""
    if run.json:
        run.out_json([list(row) for row in rows])
        return 0
    for key, value in rows:
        (run.say if run.compat else run.out)(f"{key}: {value}")
    return 0


def status(run: Run) -> int:
    """Roots, driver, and the driver's own lines."""
    rows = run.store.status()
    if run.compat:
        rows = [row for row in rows if row[0] != "Image Store"]  # the original tells of the root only
    else:
        from layerlog.holders import working

        rows = [*rows, *working(run.store)]
    return _pairs(run, rows)


def version(run: Run) -> int:
    """The version."""
    return _pairs(run, [("Version", __version__)])


def config(run: Run) -> int:
    """What the configuration says, as JSON; flags do not count."""
    run.out_json(_settings(run.compat, run.argument(0) or None))
    return 0


def _settings(compat: bool, path: str | None) -> Fields:
    from layerlog.cli.config import defaults, truth
    from layerlog.cli.gojson import Fields

    found = defaults(compat, path)
    storage = found.table.get("storage", {})
    options = storage.get("options", {})
    shown = Fields()
    shown.add("runroot", found.run_root)
    shown.add("root", found.root)
    shown.add("imagestore", found.image_store)
    shown.append(("RootlessStoragePath", str(storage.get("rootless_storage_path", ""))))
    shown.add("driver", found.driver)
    shown.append(("driver-priority", found.priority or None))
    shown.add("driver-options", found.options)
    user, least, most = found.userns
    shown.add("root_auto_ns_user", user)
    shown.add("auto_userns_min_size", least)
    shown.add("auto_userns_max_size", most)
    pull = options.get("pull_options", {})
    shown.append(("PullOptions", {str(key): str(value) for key, value in pull.items()} if pull else None))
    shown.add("disable-volatile", truth(options.get("disable-volatile", False)))
    shown.add("transient_store", found.transient)
    return shown


COMMANDS = (
    Command(
        "status",
        status,
        "Check on graph driver status",
        "",
        flags=(JSON,),
        about="Where the store is, its driver, what the driver says, and who works on what: leases, and the writer lock.",
    ),
    Command("version", version, "Return containers-storage version information", "", flags=(JSON,), about="The version of layerlog."),
    Command(
        "config",
        config,
        "Print storage library configuration as JSON",
        "[configurationFile]",
        most=1,
        about="What configuration files and environment say, with the defaults filled in. Always JSON; flags do not count.",
    ),
)
