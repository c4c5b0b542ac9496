"""Real images, where there are some: LAYERLOG_TEST_IMAGES names a folder as their maker leaves it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog.drivers import tarsplit
from layerlog.drivers.driver import MountOptions

if TYPE_CHECKING:
    from layerlog.drivers.driver import Driver

IMAGES = os.environ.get("LAYERLOG_TEST_IMAGES", "")
NAMES = sorted(name for name in os.listdir(IMAGES) if os.path.isdir(f"{IMAGES}/{name}/oci")) if IMAGES else []
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "images" / "truth.py"
# The program that lists a root file system and compares two listings.
TRUTH = os.environ.get("LAYERLOG_TEST_TRUTH", str(BESIDE) if BESIDE.is_file() else "")

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.skipif(not NAMES, reason="no real images here")]


def layers(layout: str) -> list[tuple[str, str, str]]:
    """(path of the blob, its digest, its diffID) of each layer."""

    def blob(digest: str) -> str:
        return os.path.join(layout, "blobs", *digest.split(":"))

    def read(path: str) -> Any:
        with open(path) as file:
            return json.load(file)

    manifest = read(blob(read(layout + "/index.json")["manifests"][0]["digest"]))
    ids = read(blob(manifest["config"]["digest"]))["rootfs"]["diff_ids"]
    return [(blob(layer["digest"]), layer["digest"], diff_id) for layer, diff_id in zip(manifest["layers"], ids, strict=True)]


@pytest.mark.parametrize("form", ["oci", "oci-zstd"])
@pytest.mark.parametrize("name", NAMES)
def test_a_real_image_arrives_whole_and_comes_back_byte_for_byte(
    name: str, form: str, driver: Driver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chain: list[str] = []
    for number, (path, digest, diff_id) in enumerate(layers(f"{IMAGES}/{name}/{form}")):
        split = io.BytesIO()
        staged = driver.stage(f"layer{number}", chain)
        with open(path, "rb") as stream:
            applied = staged.apply(stream, tar_split=split)
        driver.place(f"layer{number}")
        assert (applied.compressed_digest, applied.diff_digest, applied.left_out) == (digest, diff_id, [])
        split.seek(0)
        whole = hashlib.sha256()
        for piece in tarsplit.reassemble(driver, f"layer{number}", split):
            whole.update(piece)
        assert "sha256:" + whole.hexdigest() == diff_id
        chain.insert(0, f"layer{number}")
    if not TRUTH:
        return
    driver.create("look", chain)
    root = driver.mount("look", chain, MountOptions())
    seen = tmp_path_factory.mktemp("seen") / "seen"
    with open(seen, "wb") as out:
        subprocess.run([sys.executable, TRUTH, root], stdout=out, check=True)
    driver.unmount("look")
    compared = subprocess.run(
        [sys.executable, TRUTH, "--diff", "--loose", str(seen), f"{IMAGES}/{name}/truth"], capture_output=True, text=True
    )
    assert compared.stderr.strip() == "0 paths differ", compared.stdout
