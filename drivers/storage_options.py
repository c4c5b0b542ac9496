"""Options of a driver, as ``--storage-opt`` and storage.conf give them: read, and refused where nobody would act on them.

Source: contract/cli.md §2, "Driver options".
"""

from __future__ import annotations

from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OURS = ("sync", "archive_bytes_max", "archive_entries_max", "archive_ratio_max", "archive_name_bytes_max")
STORES = ("imagestore", "additionalimagestore")
KNOWN = {
    "overlay": (
        *("mountopt", "size", "inodes", *STORES, "additionallayerstore", "mount_program", "skip_mount_home", "ignore_chown_errors"),
        *("force_mask", "use_composefs", "override_kernel_check"),
    ),
    "vfs": ("ignore_chown_errors", *STORES),
    "btrfs": ("min_space", "size", "mountopt", *STORES),
    "zfs": ("fsname", "size", "mountopt", *STORES),
}
"""What each driver takes. Not all of it is acted on: cli/config.py names what of storage.conf is not."""
_BOOLEANS = ("skip_mount_home", "ignore_chown_errors", "use_composefs")
_GO_BOOLEANS = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")


def parse_options(driver: str, options: Sequence[str]) -> dict[str, str]:
    """Values by key, of ``DRIVER.KEY=VALUE``, ``.KEY=VALUE`` and ``KEY=VALUE``; those of other drivers are passed over.

    Raises InvalidRequest for one without ``=``.
    """
    return {key: value for _, key, value in _of_driver(driver, options)}


def check_options(driver: str, options: Sequence[str]) -> None:
    """Raises InvalidRequest, in the original's words, for an option that *driver* does not know, or whose value it cannot read.

    A misspelled ``mountopt=noexec`` must not be passed over.
    """
    for spelled, key, value in _of_driver(driver, options):
        if driver in KNOWN and key not in (*KNOWN[driver], *OURS):
            raise InvalidRequest(_unknown(driver, key, spelled))
        if key in _BOOLEANS and value not in _GO_BOOLEANS:
            raise InvalidRequest(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _unknown(driver: str, key: str, spelled: str) -> str:
    if driver == "vfs":
        return f"vfs driver does not support {'mount' if key == 'mountopt' else spelled} options"
    return f"{driver}: unknown option {spelled}"


def _of_driver(driver: str, options: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(as it is spelled, key, value) of those options that are for *driver*. Case makes no difference in keys."""
    for option in options:
        spelled, equals, value = option.partition("=")
        if not equals:
            raise InvalidRequest(f"unable to parse key/value option: {option}")
        owner, dot, key = spelled.lower().partition(".")
        if not dot:
            yield spelled, owner, value
        elif owner in ("", driver, "storage") or owner not in (*KNOWN, "null"):
            yield spelled, key if owner in ("", driver, "storage") else spelled, value
