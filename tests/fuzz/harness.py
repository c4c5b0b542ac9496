"""One fuzz case: any bytes as a layer archive. What may happen, and what may not?

Accepted, the archive must come back byte for byte; refused, the error must be a typed one. Either way nothing outside the
layer may have changed, no descriptor may be left open and no thread running. Used by the time-boxed tests beside this file, by
``python -m tests.fuzz.run`` for hours, and by ``steered.py``, which lets coverage choose the next case.
"""

from __future__ import annotations

import gc
import io
import os
import threading
from typing import NamedTuple

from layerlog.drivers import applying, durable, resolve, tarsplit
from layerlog.drivers.applying import Limits
from layerlog.drivers.extract import Extractor
from layerlog.eventstore.errors import InvalidArchive

LIMITS = Limits(bytes_max=8 << 20, entries_max=2000, ratio_max=5000, name_bytes_max=4096)
# A refusal of the system that an archive can bring about as any user: a device, an xattr of no known kind.
_SYSTEM_REFUSALS = (PermissionError,)
_BY_KERNEL = resolve.Folders._resolve


class Way(NamedTuple):
    """How a case is unpacked: as overlay does, over a layer that is there already, without openat2."""

    overlay: bool = False
    over: bool = False
    by_component: bool = False

    @classmethod
    def number(cls, number: int, may_overlay: bool) -> Way:
        return cls(bool(number & 1) and may_overlay, bool(number & 2), number & 12 == 12)


class Escape(AssertionError):
    """Something outside the layer changed."""


class Case:
    """A folder for one case after another, with something beside it that must stay as it is."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.root, self.below = os.path.join(place, "layer"), os.path.join(place, "below")
        self.outside = os.path.join(place, "outside")
        os.makedirs(self.outside, exist_ok=True)
        with open(self.outside + "/precious", "w") as file:
            file.write("precious")
        os.utime(self.outside + "/precious", (1, 1))
        os.utime(self.outside, (1, 1))
        self._fill(self.below)
        self._lower = _listed(self.below)
        self.accepted = self.refused = 0
        gc.collect()  # what an earlier test left to the collector is closed now, and not in the middle of a case

    def _fill(self, root: str) -> None:
        """What a parent holds: among it symlinks that lead out, by another's doing."""
        os.makedirs(root + "/d/e")
        for name in ("a", "d/a", "d/e/f", "keep"):
            with open(f"{root}/{name}", "w") as file:
                file.write(name)
        os.link(root + "/a", root + "/b")
        os.symlink("../outside", root + "/s")
        os.symlink(self.outside, root + "/t")

    def run(self, data: bytes, way: Way | bool = False) -> None:
        """Unpack *data*; raises AssertionError for what must not happen, and whatever untyped error came out."""
        way = way if isinstance(way, Way) else Way(way)
        durable.remove_tree(self.root)  # an archive may hold folders that their owner cannot enter
        if way.over and not way.overlay:
            self._fill(self.root)
        else:
            os.makedirs(self.root)
        resolve.Folders._resolve = resolve.Folders._walk if way.by_component else _BY_KERNEL  # type: ignore[method-assign]
        descriptors = len(os.listdir("/proc/self/fd"))
        split = io.BytesIO()
        lowers = [self.below] if way.over and way.overlay else []
        extractor = Extractor(self.root, way.overlay or not way.over, way.overlay, os.geteuid() != 0, lowers)
        try:
            applying.apply(io.BytesIO(data), extractor, LIMITS, split)
        except (InvalidArchive, *_SYSTEM_REFUSALS):
            self.refused += 1
        else:
            self.accepted += 1
            self._comes_back(data, split)
        finally:
            extractor.close()
            resolve.Folders._resolve = _BY_KERNEL  # type: ignore[method-assign]
        self._outside_is_untouched(bool(lowers))
        assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor is left open, or one was closed that is not ours"
        assert threading.active_count() <= self.threads, "a thread is left running"

    threads = threading.active_count()

    def _comes_back(self, data: bytes, split: io.BytesIO) -> None:
        from layerlog.drivers import compression

        decoder = compression.decoder(compression.detect(data))
        plain = b"".join(decoder.feed(data))
        split.seek(0)
        assert b"".join(tarsplit.assemble(tarsplit.entries(split), self.root, "fuzzed")) == plain

    def _outside_is_untouched(self, below: bool) -> None:
        found = os.stat(self.outside), os.stat(self.outside + "/precious")
        if [one.st_mtime for one in found] != [1, 1] or os.listdir(self.outside) != ["precious"] or found[1].st_nlink != 1:
            raise Escape("something outside the layer changed")
        if sorted(os.listdir(self.place)) != ["below", "layer", "outside"]:
            raise Escape("something was made beside the layer")
        if below and _listed(self.below) != self._lower:
            raise Escape("the layer below changed")


def _listed(root: str) -> list[tuple[str, int, int, int, int]]:
    """Path, mode, links, size and change time of all below *root*: a write, a link or a chmod shows."""
    found = []
    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            seen = os.lstat(os.path.join(folder, name))
            found.append((os.path.join(folder, name), seen.st_mode, seen.st_nlink, seen.st_size, seen.st_ctime_ns))
    return found
