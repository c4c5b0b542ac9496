"""Events told in words: ``+ image app:1.4 (6 layers, 203 MB)``.

An event carries only what cannot be derived: a deletion names an ID. ``Teller`` therefore remembers, commit by commit,
what each ID was called and how big it was, and looks up in the state before them what it never saw; it must see every
commit from there on, in order.
"""

from __future__ import annotations

from functools import cached_property

from layerlog.cli.views import units
from layerlog.projections import trash
from layerlog.projections.items import get
from layerlog.projections.layers import container_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from layerlog.eventstore.rows import Rows

Words = tuple[str, str]
"""A sign (``+``, ``−``, ``~``, ``↺``) and a sentence."""
KINDS = ("layer", "image", "container")


class Teller:
    """Names and sizes of everything so far, and the words for what comes next."""

    def __init__(self, before: Rows | None = None) -> None:
        """*before*: the state before the first commit that is told; none where that is the first of all."""
        self._before = before
        self._names: dict[tuple[str, str], list[str]] = {}
        self._sizes: dict[str, int] = {}
        self._owners: dict[str, str] = {}  # layer ID -> container ID
        self._looked_up: set[tuple[str, str]] = set()

    # --- words

    def tell(self, events: Iterable[Any]) -> list[Words]:
        """The words for one commit; afterwards the teller knows what it changed."""
        found = list(events)
        words = self._whole(found)
        for event in found:
            self.learn(event)
        return words

    def call(self, kind: str, item_id: str) -> str:
        """``image app:1.4`` or, without a name, ``image 9c1e2ab03f4d``."""
        return f"{kind} {self.name(kind, item_id)}"

    def name(self, kind: str, item_id: str) -> str:
        """Its newest name, or its short ID; a container's layer goes by the container's name."""
        names = self.names(kind, item_id)
        if names:
            return names[0]
        if kind == "layer" and (owner := self._owner(item_id)):
            return f"{units.short(item_id)} of {self.call('container', owner)}"
        return units.short(item_id)

    def _whole(self, events: list[Any]) -> list[Words]:
        """A commit at once: an image and its layers are one sentence, not seven."""
        for verb, sign in (("Created", "+"), ("Deleted", "−"), ("Restored", "↺")):
            group = [event for event in events if event["type"] in {kind.capitalize() + verb for kind in KINDS}]
            heads = [event for event in group if not event["type"].startswith("Layer")]
            layers = [event for event in group if event["type"].startswith("Layer")]
            if heads and len(heads) < 2:
                rest = [event for event in events if event not in group]
                if verb == "Created":
                    self._learn_all(group)
                    named = [event for event in rest if event["type"] == "NamesSet" and event["id"] == heads[0]["id"]]
                    self._learn_all(named)
                    rest = [event for event in rest if event not in named]
                return [(sign, self._head(heads[0], verb, layers)), *self._each(rest)]
        gone = [event for event in events if event["type"] == "LayerDeleted"]
        if len(gone) > 3 and len(gone) == len(events):
            return [("−", f"{units.count(len(gone), 'layer')}{self._bytes(gone, ', ')}")]
        return self._each(events)

    def _learn_all(self, events: Iterable[Any]) -> None:
        for event in events:
            self.learn(event)

    def _head(self, event: Any, verb: str, layers: list[Any]) -> str:
        """An image or container with the layers that came or went with it."""
        kind = event["type"].removesuffix(verb).lower()
        text = self.call(kind, event["id"])
        if (others := len(self.names(kind, event["id"])) - 1) > 0:
            text += f" and {units.count(others, 'other name')}"
        if kind == "container":
            image = event.get("image")
            text += f" of {self.call('image', image)}" if image and verb == "Created" else ""
        elif layers or verb != "Created":
            joint = "with " if verb != "Created" else ""
            text += f" ({joint}{units.count(len(layers), 'layer')}{self._bytes(layers, ', ')})" if layers else " (no layer with it)"
        if verb == "Restored":
            text += f", deleted in commit {event['deleted_at']}"
        elif verb == "Deleted" and not event.get("kept", True):
            text += ", for good"
        return text

    def _bytes(self, events: Iterable[Any], before: str) -> str:
        total = sum((event.get("contents") or {}).get("diff_size", 0) or self._size(event["id"]) for event in events)
        return f"{before}{units.size(total)}" if total else ""

    def _each(self, events: Iterable[Any]) -> list[Words]:
        words: list[Words] = []
        for event in events:
            words += WORDS.get(event["type"], _unknown)(self, event)
            self.learn(event)
        return words

    def names_changed(self, event: Any) -> list[Words]:
        """What came and went; one for one is a renaming."""
        kind, item_id = event["kind"], event["id"]
        before, after = self.names(kind, item_id), event["names"]
        came = [name for name in after if name not in before]
        went = [name for name in before if name not in after]
        if len(came) == len(went) == 1:
            return [("~", f"{kind} {went[0]} is now {came[0]}")]
        of = f" ({kind} {units.short(item_id)})"
        return [("−", f"name {name}{of}") for name in went] + [("+", f"name {name}{of}") for name in came]

    # --- memory

    def names(self, kind: str, item_id: str) -> list[str]:
        """What it is called at this point, or was when it was deleted."""
        self._look_up(kind, item_id)
        return self._names.get((kind, item_id), [])

    def _size(self, layer_id: str) -> int:
        self._look_up("layer", layer_id)
        return self._sizes.get(layer_id, 0)

    def _owner(self, layer_id: str) -> str:
        if layer_id not in self._owners and self._before is not None:
            self._owners[layer_id] = container_of(self._before, layer_id) or self._thrown_owners.get(layer_id, "")
        return self._owners.get(layer_id, "")

    @cached_property
    def _thrown_owners(self) -> dict[str, str]:
        entries = trash.every(self._before) if self._before is not None else ()
        return {entry["row"]["layer"]: entry["id"] for entry in entries if entry["kind"] == "container"}

    def _look_up(self, kind: str, item_id: str) -> None:
        """Learn one thing of the state before, once, unless a commit told more."""
        if self._before is None or (kind, item_id) in self._looked_up:
            return
        self._looked_up.add((kind, item_id))
        row = get(self._before, kind, item_id) or _thrown(self._before, kind, item_id)
        if row:
            self._names.setdefault((kind, item_id), row.get("names", []))
            self._sizes.setdefault(item_id, row.get("contents", {}).get("diff_size", 0))

    def learn(self, event: Any) -> None:
        """Take in one event. Twice is the same as once."""
        type_, item_id = event["type"], event.get("id", "")
        if type_.endswith("Created") and type_ != "StoreCreated":
            self._names[type_.removesuffix("Created").lower(), item_id] = event.get("names", [])
        elif type_ == "NamesSet":
            self._names[event["kind"], item_id] = event["names"]
        if contents := event.get("contents"):
            self._sizes[item_id] = contents.get("diff_size", 0)
        if type_ == "ContainerCreated":
            self._owners[event["layer"]] = item_id


def _thrown(rows: Rows, kind: str, item_id: str) -> Any:
    """The row of a deleted thing, as far as the trash has it."""
    gone = trash.last_seen(rows, kind, item_id)
    entry = trash.get(rows, kind, gone["sequence"], gone["id"]) if gone else None
    return entry["row"] if entry else None


def _layer_created(teller: Teller, event: Any) -> list[Words]:
    name = (event.get("names") or [""])[0]
    text = f"layer {units.short(event['id'])}" + (f" {name}" if name else "")
    text += f" on {teller.name('layer', event['parent'])}" if event.get("parent") else ""
    if event.get("snapshot_of"):
        text += f", snapshot of {teller.call('container', event['snapshot_of'])}"
    contents = event.get("contents")
    return [("+", f"{text} ({units.size(contents['diff_size'])})" if contents else text)]


def _came(kind: str) -> Callable[[Teller, Any], list[Words]]:
    def words(teller: Teller, event: Any) -> list[Words]:
        teller.learn(event)
        return [("+", teller.call(kind, event["id"]))]

    return words


def _went(kind: str) -> Callable[[Teller, Any], list[Words]]:
    return lambda teller, event: [("−", teller.call(kind, event["id"]) + ("" if event.get("kept", True) else ", for good"))]


def _back(kind: str) -> Callable[[Teller, Any], list[Words]]:
    return lambda teller, event: [("↺", f"{teller.call(kind, event['id'])}, deleted in commit {event['deleted_at']}")]


def _unknown(teller: Teller, event: Any) -> list[Words]:
    return [("~", str(event["type"]))]


WORDS: dict[str, Callable[[Teller, Any], list[Words]]] = {
    "StoreCreated": lambda teller, event: [("+", f"store, driver {event['driver']}")],
    "LayerCreated": _layer_created,
    "ImageCreated": _came("image"),
    "ContainerCreated": _came("container"),
    "LayerDeleted": _went("layer"),
    "ImageDeleted": _went("image"),
    "ContainerDeleted": _went("container"),
    "LayerRestored": _back("layer"),
    "ImageRestored": _back("image"),
    "ContainerRestored": _back("container"),
    "LayerDiffApplied": lambda teller, event: [
        ("~", f"{teller.call('layer', event['id'])}: {units.size(event['contents']['diff_size'])} unpacked into it")
    ],
    "LayerOpenedForWriting": lambda teller, event: [("~", f"{teller.call('layer', event['id'])} opened for writing")],
    "LayerKeyed": lambda teller, event: [("~", f"{teller.call('layer', event['id'])} made for key {event['key']}")],
    "ImageMappedLayersSet": lambda teller, event: [("~", f"{teller.call('image', event['id'])}: its top layer with other ID maps")],
    "NamesSet": lambda teller, event: teller.names_changed(event),
    "MetadataSet": lambda teller, event: [("~", f"metadata of {teller.call(event['kind'], event['id'])}")],
    "FlagsSet": lambda teller, event: [("~", f"flags of {teller.call(event['kind'], event['id'])}")],
    "BigDataSet": lambda teller, event: [
        ("~", f"data {event['key']} of {teller.call(event['kind'], event['id'])} ({units.size(event['size'])})")
    ],
    "BigDataRemoved": lambda teller, event: [("−", f"data {event['key']} of {teller.call(event['kind'], event['id'])}")],
    "TrashFreed": lambda teller, event: [("−", f"{units.count(len(event['entries']), 'deleted thing')} freed for good")],
    "Pinned": lambda teller, event: [("~", f"{teller.call(event['kind'], event['id'])} pinned ({event['pin']})")],
    "Unpinned": lambda teller, event: [("~", f"{teller.call(event['kind'], event['id'])} no longer pinned ({event['pin']})")],
    "StoreMended": lambda teller, event: (
        [("~", f"{event['tool']}: {one}") for one in event["did"]]
        + [("−", f"{event['tool']}: lost {one}") for one in event.get("lost", ())]
    ),
    "StoreMigrated": lambda teller, event: [("~", f"store migrated from {event['old']} to {event['new']}")],
    "RowsRestated": lambda teller, event: [("~", f"{units.count(len(event['rows']), 'row')} as a checkpoint had them")],
    "JournalCompacted": lambda teller, event: [
        ("~", f"history up to commit {event['through']} folded into a base, {'archived' if event['archive'] else 'its segments dropped'}")
    ],
    "PayloadRedacted": lambda teller, event: [("−", f"the words of {units.count(len(event['sequences']), 'earlier commit')} taken out")],
    "StoreWiped": lambda teller, event: [("−", "everything" + ("" if event.get("kept", True) else ", for good"))],
}
