"""Image archives and layouts with hostile documents: what comes out is a list of images or a typed error, whatever the bytes."""

from __future__ import annotations

import io
import json
import random
from typing import Any

from layerlog.drivers.applying import Limits
from layerlog.eventstore.errors import StoreError
from layerlog.image_sources import open_source
from tests.layerlog.builders import BASE, TOP, Layout, docker_archive, tar

_DIGESTS = ["sha256:", "sha256:" + "0" * 64, "sha512:" + "a" * 128]
_ODD: list[Any] = [
    None, True, 0, -1, 10**30, 1.5, "", "x", "../x", "/etc/passwd", *_DIGESTS, [], {}, [[]], ["x"], {"digest": 3}, "\0", "a\nb", "\udcff",
    "0" * 5000,
]  # fmt: skip


class ImageCase:
    """Cases over archives held in memory."""

    def __init__(self) -> None:
        self._layout = Layout(BASE, TOP)
        index = json.dumps(self._layout.index()).encode()
        blobs = {"blobs/sha256/" + name.partition(":")[2]: data for name, data in self._layout.blobs.items()}
        self._oci: dict[str, bytes | str | None] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}
        self._docker = docker_archive(self._layout, "app:1")
        self.found = self.refused = 0

    def run_seed(self, seed: int) -> None:
        draw = random.Random(seed)
        members = dict(self._oci if draw.random() < 0.6 else self._docker)
        for _ in range(draw.randrange(1, 3)):
            name = draw.choice([one for one in members if isinstance(members[one], bytes)])
            members[name] = self._spoiled(draw, members[name])  # type: ignore[arg-type]
        data = tar(members)
        if draw.random() < 0.1:
            at = draw.randrange(len(data))
            data = data[:at] + draw.randbytes(draw.randrange(9)) + data[at + draw.randrange(600) :]
        self.run(data, draw.choice(["", "", "linux/amd64", "linux/arm/v7", "x"]), draw.choice(["", "", "app", "@0", "@9", "built:1"]))

    def run(self, data: bytes, platform: str, asked: str) -> None:
        """Open, list, and read each layer of what is there; any StoreError will do."""
        try:
            source = open_source(io.BytesIO(data), "", Limits(bytes_max=8 << 20))
        except StoreError:
            self.refused += 1
            return
        try:
            for one in source.images(platform, asked):
                for layer in one.layers:
                    with source.open_layer(layer) as stream:
                        while stream.read(65536):
                            pass
            self.found += 1
        except StoreError:
            self.refused += 1
        finally:
            source.close()

    def _spoiled(self, draw: random.Random, data: bytes) -> bytes:
        """A document with one value changed, or bytes with one changed."""
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if document is None or draw.random() < 0.2:
            at = draw.randrange(len(data) + 1)
            return data[:at] + draw.randbytes(draw.randrange(3)) + data[at + draw.randrange(3) :]
        places: list[tuple[Any, Any]] = []
        todo = [document]
        while todo:
            one = todo.pop()
            for key in list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ():
                places.append((one, key))
                todo.append(one[key])
        if not places:
            return b"null"
        holder, key = draw.choice(places)
        way = draw.randrange(3)
        if way == 0 and isinstance(holder, dict):
            del holder[key]
        elif way == 1 and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = draw.choice(_ODD)
        return json.dumps(document).encode("utf-8", "surrogatepass")
