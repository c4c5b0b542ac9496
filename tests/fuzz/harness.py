"""One fuzz case: any bytes as a layer archive. What may happen, and what may not?

Accepted, the archive must come back byte for byte; refused, the error must be a typed one. Either way nothing outside the
layer may have changed, no descriptor may be left open and no thread running. Used by the time-boxed test beside this file and by
``python -m tests.fuzz.run``, for hours.
"""

from __future__ import annotations

import io
import os
import threading

from layerlog.drivers import applying, durable, tarsplit
from layerlog.drivers.applying import Limits
from layerlog.drivers.extract import Extractor
from layerlog.eventstore.errors import InvalidArchive

LIMITS = Limits(bytes_max=8 << 20, entries_max=2000, ratio_max=5000, name_bytes_max=4096)
# Refusals of the system that an archive can bring about as any user: a device, a hard link to a folder, an xattr of no known kind.
_SYSTEM_REFUSALS = (PermissionError,)


class Escape(AssertionError):
    """Something outside the layer changed."""


class Case:
    """A folder for one case after another, with something beside it that must stay as it is."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.root = os.path.join(place, "layer")
        self.outside = os.path.join(place, "outside")
        os.makedirs(self.outside, exist_ok=True)
        with open(self.outside + "/precious", "w") as file:
            file.write("precious")
        os.utime(self.outside + "/precious", (1, 1))
        os.utime(self.outside, (1, 1))
        self.accepted = self.refused = 0

    def run(self, data: bytes, overlay: bool = False) -> None:
        """Unpack *data*; raises AssertionError for what must not happen, and whatever untyped error came out."""
        durable.remove_tree(self.root)  # an archive may hold folders that their owner cannot enter
        os.makedirs(self.root)
        descriptors = len(os.listdir("/proc/self/fd"))
        split = io.BytesIO()
        extractor = Extractor(self.root, True, overlay, os.geteuid() != 0)
        try:
            applying.apply(io.BytesIO(data), extractor, LIMITS, split)
        except (InvalidArchive, *_SYSTEM_REFUSALS):
            self.refused += 1
        else:
            self.accepted += 1
            self._comes_back(data, split)
        finally:
            extractor.close()
        self._outside_is_untouched()
        assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor is left open"
        assert threading.active_count() <= self.threads, "a thread is left running"

    threads = threading.active_count()

    def _comes_back(self, data: bytes, split: io.BytesIO) -> None:
        from layerlog.drivers import compression

        decoder = compression.decoder(compression.detect(data))
        plain = b"".join(decoder.feed(data))
        split.seek(0)
        assert b"".join(tarsplit.assemble(tarsplit.entries(split), self.root, "fuzzed")) == plain

    def _outside_is_untouched(self) -> None:
        found = os.stat(self.outside), os.stat(self.outside + "/precious")
        if [one.st_mtime for one in found] != [1, 1] or os.listdir(self.outside) != ["precious"] or found[1].st_nlink != 1:
            raise Escape("something outside the layer changed")
        if sorted(os.listdir(self.place)) != ["layer", "outside"]:
            raise Escape("something was made beside the layer")
