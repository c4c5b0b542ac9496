"""Generated command lines over a few IDs, names and keys, so that they meet: what the differential test drives both programs with.

``step(chance)`` gives the words of one command and its standard input; ``DEEP`` are questions that show the whole visible
state. Left out is what docs/differences.md lists (``delete-layer`` by name, the order of ``add-names`` in 1.43, the new flags in help, …).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.cli.conftest import make_tar

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    Step = tuple[list[str], bytes]

FIRST = make_tar({"d": None, "d/f": b"hi\n", "g": b"x" * 5000})
SECOND = make_tar({"d": None, "d/.wh.f": b"", "h": b"y", "g": b"z" * 10})
THIRD = make_tar({"d": None, "d/.wh..wh..opq": b"", "d/new": b"n", "e": None, "e/deep": None, "e/deep/file": b"deep\n", ".wh.g": b""})
PLAIN = make_tar({"d": None, "d/other": b"o\n", "e": None, "e/deep": None, "e/deep/file": b"deep\n", "g": b""})
TARS = (FIRST, SECOND, THIRD)
ITEMS = (b"", b"x", b"yy" * 700, b'{"schemaVersion":2}')
KEYS = ("manifest", "manifest-2", "k", "We/ird key", "sha256:0123")
LAYERS, NAMES = [f"L{number}" for number in range(7)], [f"n{number}" for number in range(5)]
IMAGES, CONTAINERS = [f"I{number}" for number in range(4)], [f"C{number}" for number in range(4)]
DIGESTS = [f"sha256:{hashlib.sha256(item).hexdigest()}" for item in ITEMS] + ["sha256:" + "0" * 64]
TEXTS = ("a", "b <&>", "ü\n", "two\nlines\n")


class Chances:
    """Draws from one random source; each command line is one method's result."""

    def __init__(self, chance: random.Random, driver: str = "vfs") -> None:
        self.random = chance
        self.tars = TARS if driver == "vfs" else (FIRST, PLAIN)  # whiteouts of nothing differ on overlay

    def layer(self) -> str:
        return self.random.choice(LAYERS)

    def image(self) -> str:
        return self.random.choice(IMAGES)

    def container(self) -> str:
        return self.random.choice(CONTAINERS)

    def any(self) -> str:
        """Anything that may be a thing, or not."""
        return self.random.choice([self.layer(), self.image(), self.container(), self.random.choice(NAMES), "nope", "L", "I"])

    def maybe(self, *words: str, often: float = 0.5) -> list[str]:
        return list(words) if self.random.random() < often else []

    def names(self, most: int = 2) -> list[str]:
        return [word for _ in range(self.random.randrange(most + 1)) for word in ("-n", self.random.choice(NAMES))]

    def kind(self) -> tuple[str, str]:
        """A kind and a thing that may be of it."""
        kind = self.random.choice(["image", "container", "layer"])
        return kind, {"image": self.image(), "container": self.container(), "layer": self.layer()}[kind]

    def step(self) -> Step:
        """One command."""
        methods = [one for one, weight in _WEIGHTS for _ in range(weight)]
        return self.random.choice(methods)(self)

    # --- creating

    def create_layer(self) -> Step:
        return ["create-layer", *self.maybe("-j", often=0.2), "-i", self.layer(), *self.names(), *self.maybe(self.layer(), often=0.7)], b""

    def import_layer(self) -> Step:
        words = ["import-layer", *self.maybe("-j"), "-i", self.layer(), *self.names(1), *self.maybe(self.layer(), often=0.7)]
        return words, self.random.choice(self.tars)

    def create_image(self) -> Step:
        digest = self.maybe("-d", self.random.choice(DIGESTS), often=0.2)
        words = ["create-image", *self.maybe("-j", often=0.2), "-i", self.image(), *self.names(), *digest]
        return [*words, *self.maybe("-m", self.text(), often=0.3), *self.maybe(self.layer(), often=0.9)], b""

    def create_container(self) -> Step:
        words = ["create-container", "-j", "-i", self.container(), *self.names(1), *self.maybe("-m", self.text(), often=0.3)]
        return [*words, *self.maybe("--volatile", often=0.2), self.random.choice([self.image(), self.image(), ""])], b""

    def text(self) -> str:
        return self.random.choice(TEXTS)

    # --- changing

    def applydiff(self) -> Step:
        return [self.random.choice(["applydiff", "apply-diff"]), self.layer()], self.random.choice(self.tars)

    def set_names(self) -> Step:
        return ["set-names", *self.maybe("-j"), *self.names(3), self.any()], b""

    def set_metadata(self) -> Step:
        return ["set-metadata", "-m", self.text(), self.any()], b""

    def set_data(self) -> Step:
        kind, owner = self.kind()
        return [f"set-{kind}-data", owner, self.random.choice([*KEYS, ""])], self.random.choice(ITEMS)

    # --- mounting

    def mount(self) -> Step:
        return ["mount", *self.maybe("-j"), *self.things()], b""

    def things(self) -> list[str]:
        """One or two layers or containers by ID (1.43 cannot mount a layer by name)."""
        return [self.random.choice([self.layer(), self.container()]) for _ in range(self.random.randrange(1, 3))]

    def unmount(self) -> Step:
        return [self.random.choice(["unmount", "umount"]), *self.maybe("-f", often=0.3), *self.maybe("-j", often=0.3), *self.things()], b""

    def mounted(self) -> Step:
        return ["mounted", *self.maybe("-j"), *self.things()], b""

    # --- deleting

    def delete_layer(self) -> Step:
        return ["delete-layer", *self.maybe("-j"), self.layer()], b""

    def delete_image(self) -> Step:
        return ["delete-image", *self.maybe("-t", often=0.3), *self.maybe("-j"), self.image()], b""

    def delete_container(self) -> Step:
        return ["delete-container", *self.maybe("-j"), self.container()], b""

    def delete(self) -> Step:
        return ["delete", *self.maybe("-j"), self.random.choice([self.container(), self.image()])], b""

    # --- looking

    def look(self) -> Step:
        kind, owner = self.kind()
        key = self.random.choice(KEYS)
        asked: list[list[str]] = [
            [kind, *self.maybe("-j"), owner, *self.maybe(self.any())],
            ["exists", *self.maybe("-q", often=0.2), self.any()],
            ["exists", "-j", self.any(), self.any()],
            ["metadata", *self.maybe("-q"), self.any(), self.any()],
            ["get-names", *self.maybe("-j"), self.any()],
            [f"list-{kind}-data", *self.maybe("-j"), owner],
            [f"get-{kind}-data", owner, key],
            [f"get-{self.random.choice(['image', 'container'])}-data-{self.random.choice(['size', 'digest'])}", owner, key],
            ["images-by-digest", *self.maybe("-q"), *self.maybe("-j"), self.random.choice(DIGESTS)],
            ["layers", "-t"],
            ["layer-parent-owners", *self.maybe("-j"), self.layer()],
            ["container-parent-owners", *self.maybe("-j"), self.container()],
            ["get-container-dir", self.any()],
            ["diff", "-u", self.layer(), *self.maybe(self.layer(), often=0.2)],
            ["diffsize", self.layer(), *self.maybe(self.layer(), often=0.2)],
        ]
        return self.random.choice(asked), b""

    def usage(self) -> Step:
        """A line that is refused before anything is looked at."""
        words: list[list[str]] = [
            ["exists", "--bogus", "x"],
            ["layers", "--json=maybe"],
            ["create-image", "-i"],
            ["set-metadata", self.any()],
            ["images-by-digest", self.any()],
            ["create-image", "-d", self.any()],
            ["bogus"],
        ]
        return self.random.choice(words), b""


_WEIGHTS: list[tuple[Callable[[Chances], Step], int]] = [
    (Chances.create_layer, 6),
    (Chances.import_layer, 4),
    (Chances.create_image, 5),
    (Chances.create_container, 5),
    (Chances.applydiff, 3),
    (Chances.set_names, 3),
    (Chances.set_metadata, 2),
    (Chances.set_data, 4),
    (Chances.mount, 3),
    (Chances.unmount, 3),
    (Chances.mounted, 1),
    (Chances.delete_layer, 2),
    (Chances.delete_image, 2),
    (Chances.delete_container, 3),
    (Chances.delete, 1),
    (Chances.look, 8),
    (Chances.usage, 1),
]


def questions() -> Iterator[list[str]]:
    """Everything that can be asked of everything."""
    yield from ([listing] for listing in ("layers", "images", "containers"))
    yield ["layers", "-t"]
    yield ["mounted", *LAYERS]
    for kind, owners in (("layer", LAYERS), ("image", IMAGES), ("container", CONTAINERS)):
        yield [kind, *owners]
        yield ["metadata", *owners]
        for owner in owners:
            yield [f"list-{kind}-data", owner]
    for layer in LAYERS:
        yield ["changes", layer]
        yield ["diffsize", layer]
        yield ["diff", "-u", layer]
