"""``check``: is everything there that the records claim (contract/cli.md §8, contract/semantics.md §10)?"""

from __future__ import annotations

from layerlog.cli.command import JSON, Command, switch, text
from layerlog.eventstore.errors import InvalidRequest, NotFound, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerlog.cli.run import Run
    from layerlog.findings import Finding

Groups = dict[str, dict[str, list["Finding"]]]
GROUPS = ("Layers", "ROLayers", "Images", "ROImages", "Containers")
_TITLES = dict(zip((*GROUPS, "Store"), ("layer", "read-only layer", "image", "read-only image", "container", "store"), strict=True))


def check(run: Run) -> int:
    """Print what is wrong, grouped by thing; status 1 if anything is, and nothing was asked to be mended."""
    found = list(run.store.check(quick=run["quick"], unreferenced_seconds=duration(run["max"])))
    groups = _grouped(found)
    _pass_on(run, groups)
    if run.json:
        run.out_json({group: {item_id: [_said(one) for one in ones] for item_id, ones in items.items()} for group, items in groups.items()})
    elif run.compat:
        for group, items in groups.items():
            for item_id, ones in items.items():
                run.out(f"{_TITLES[group]} {item_id}:")
                for one in ones:
                    run.out(f" {_said(one)}")
    else:
        _tell(run, found)
    if run["repair"] or run["force"]:
        return _repair(run, groups)
    if not found:
        return 0
    if run.compat:
        counts = [len(groups[group]) for group in GROUPS]
        wording = "{} layer errors, {} read-only layer errors, {} image errors, {} read-only image errors, {} container errors"
        run.say(wording.format(*counts))
    return 1


def _said(one: Finding) -> str:
    return f"{'read-only ' if one.read_only else ''}{one}"


def _tell(run: Run, found: list[Finding]) -> None:
    """For people: worst first, each with its proof and what to do."""
    from layerlog.cli.views.units import count
    from layerlog.findings import GRADES

    for one in sorted(found, key=lambda one: -GRADES.index(one.grade)):
        run.out(f"{one.grade}: {_said(one)}")
        run.out(f"    {one.proof}")
        run.out(f"    next: {one.command}")
    run.out(f"{count(len(found), 'finding')}" if found else "nothing is wrong")


def _grouped(found: list[Finding]) -> Groups:
    """Findings by group, then by ID. ``Store`` (the journal itself, folders of nobody) is ours, and there only when needed."""
    groups: Groups = {group: {} for group in GROUPS}
    for one in found:
        group = {"layer": "Layers", "image": "Images", "container": "Containers"}.get(one.kind, "Store")
        name = f"RO{group}" if one.read_only and group in ("Layers", "Images") else group
        groups.setdefault(name, {}).setdefault(one.id, []).append(one)
    return groups


def _pass_on(run: Run, groups: Groups) -> None:
    """What is wrong with a layer is wrong with each image that stands on it, and with the containers of that image."""
    if not any(groups[name] for name in ("Layers", "ROLayers", "Images", "ROImages")):
        return
    of_image: dict[str, list[Finding]] = {}
    for image in run.store.images():
        tops = [top for top in (image.layer, *image.mapped_layers) if top]
        chain = list(dict.fromkeys(layer_id for top in tops for layer_id in (top, *run.store.chain(top))))
        below = [one for layer_id in chain for name in ("Layers", "ROLayers") for one in groups[name].get(layer_id, ())]
        group = groups["ROImages" if image.read_only else "Images"]
        if below or image.id in group:
            of_image[image.id] = group[image.id] = [*group.get(image.id, ()), *below]
    for container in run.store.containers():
        if passed := of_image.get(container.image):
            groups["Containers"].setdefault(container.id, []).extend(passed)


def _repair(run: Run, groups: Groups) -> int:
    """Remove what is damaged, as the original does; what must not be removed is told and makes the status 1.

    Deleted things go to the trash, layers without a record to lost+found: a repair takes nothing away for good.
    """
    hidden = [item_id for item_id, ones in groups["Layers"].items() if any(one.unknown for one in ones)]
    if hidden:
        return run.fail(f"{len(hidden)} layers are not this user's to read, and may be sound; nothing was removed")
    refused = list(_removed(run, groups))
    for line in refused:
        run.say(line)
    left = [len(groups["ROLayers"]), len(groups["ROImages"])] + ([] if run["force"] else [len(groups["Containers"])])
    if refused:
        return 1
    if any(one.grade != "cosmetic" for ones in groups.get("Store", {}).values() for one in ones):
        return run.fail("the store's own journal or files are damaged; see above for what mends them")
    if not any(left):
        return 0
    wording = "{} read-only layer errors, {} read-only image errors" + ("" if run["force"] else ", {} container errors")
    return run.fail(wording.format(*left))


def _removed(run: Run, groups: Groups) -> Iterator[str]:
    """Remove containers (with --force), images, layers, litter, in this order; yield what refused."""
    store = run.store
    layers = [layer_id for layer_id in groups["Layers"] if store.exists(layer_id, "layer")]
    if run["force"]:
        yield from _each("container", list(groups["Containers"]), store.delete_container)
    on_damaged = [image.id for image in store.images() if {image.layer, *store.chain(image.layer)} & set(layers)]
    yield from _each("image", list(dict.fromkeys([*groups["Images"], *on_damaged])), store.delete_image)
    refused: list[str] = []
    while layers:  # from the leaves down: a pass may free what the one before could not take
        layers = [layer_id for layer_id in layers if store.exists(layer_id, "layer")]
        refused = list(_each("layer", layers, store.delete_layer))
        if len(refused) == len(layers):
            break
        layers = [layer_id for layer_id in layers if store.exists(layer_id, "layer")]
    yield from refused if layers else ()
    store.gc()


def _each(kind: str, item_ids: list[str], delete: Callable[[str], object]) -> Iterator[str]:
    """Delete each; one that is gone meanwhile is no error."""
    for item_id in item_ids:
        try:
            delete(item_id)
        except NotFound:
            continue
        except StoreError as error:
            yield f"deleting {kind} {item_id}: {error}"


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(word: str) -> float:
    """Seconds of a Go duration: ``0``, ``1h30m``, ``1.5h``. Raises InvalidRequest."""
    import re

    if word in ("", "0"):
        return 0.0
    if not re.fullmatch(r"[+-]?(\d+\.?\d*(ns|us|µs|ms|s|m|h)|\.\d+(ns|us|µs|ms|s|m|h))+", word):
        from layerlog.cli.gojson import quoted

        raise InvalidRequest(f"time: invalid duration {quoted(word[:80])}")
    total = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d*\.?\d+|\d+\.)(ns|us|µs|ms|s|m|h)", word))
    return -total if word.startswith("-") else total


COMMANDS = (
    Command(
        "check",
        check,
        "Check storage consistency",
        "[options [...]]",
        flags=(
            JSON,
            text("--max -m", "Maximum allowed age for unreferenced layers", default="24h"),
            switch("--repair -r", "Remove damaged images and layers"),
            switch("--force -f", "Remove damaged containers"),
            switch("--quick -q", "Perform only quick checks"),
        ),
        about="""Compares records with what is on disk: journal, records, data items, contents and files that belong to nothing.
Each finding has a grade (cosmetic, metadata, content, missing), its proof, and the one command to run next.
Unmounts nothing and, without --repair, changes nothing.""",
    ),
)
