"""Real images through a store and out again, and what other programs say to that.

With ``LAYERLOG_CRASH=long`` every image in every format on both drivers; else two of them on overlay.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from layerlog import Store
from layerlog.drivers.choose import probe

TRUTH = Path(os.environ.get("LAYERLOG_TEST_TRUTH", Path(__file__).resolve().parents[3] / "shared" / "images" / "truth.py"))
FORMATS = ("oci", "oci-zstd", "oci-archive.tar", "docker-archive.tar")
QUICK = [("overlay", "tiny", "docker-archive.tar"), ("overlay", "python-app", "oci-archive.tar")]
ALL = [(driver, name, kind) for driver in ("vfs", "overlay") for name in ("tiny", "debian-min", "python-app") for kind in FORMATS]


def differs_from_truth(root: str, truth: Path, seen: Path) -> str:
    with seen.open("wb") as out:
        subprocess.run([sys.executable, TRUTH, root], stdout=out, check=True)
    return subprocess.run([sys.executable, TRUTH, "--diff", "--loose", seen, truth], capture_output=True, text=True).stderr.strip()


def other_program(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize(("driver", "name", "kind"), ALL if os.environ.get("LAYERLOG_CRASH") == "long" else QUICK)
def test_in_out_in(tmp_path: Path, real_images: Path, driver: str, name: str, kind: str) -> None:
    if not TRUTH.is_file():
        pytest.skip("no real images here: truth.py, which lists a root file system, does not lie beside this checkout")
    if why := probe(driver, str(tmp_path)):
        pytest.skip(f"the kernel refuses {driver}: {why}")
    with Store(tmp_path / "root", tmp_path / "run", driver, retention=0) as store:
        image = store.load(real_images / name / kind, name="localhost/app:1")
        layers = [layer.contents.diff_digest for layer in store.layers() if layer.contents]
        for layer, diff_id in zip(store.layers(), layers, strict=True):
            digest = hashlib.sha256()
            for piece in store.diff(layer.id, compression=0):
                digest.update(piece)
            assert f"sha256:{digest.hexdigest()}" == diff_id
        assert differs_from_truth(store.mount("localhost/app:1", read_only=True), real_images / name / "truth", tmp_path / "seen") == (
            "0 paths differ"
        )
        store.unmount("localhost/app:1")
        store.save(tmp_path / "out", image, format="oci", compression="none")
        store.delete_image("localhost/app:1")
        again = store.load(tmp_path / "out")
        assert (again.id, [layer.contents.diff_digest for layer in store.layers() if layer.contents]) == (image.id, layers)
    other_program("skopeo", "--insecure-policy", "copy", "-q", f"oci:{tmp_path}/out:localhost/app:1", f"dir:{tmp_path}/copied")
    assert json.loads((tmp_path / "copied/manifest.json").read_bytes())["config"]["digest"] == f"sha256:{image.id}"
    other_program("umoci", "unpack", "--image", f"{tmp_path}/out:localhost/app:1", f"{tmp_path}/bundle")
    assert differs_from_truth(f"{tmp_path}/bundle/rootfs", real_images / name / "truth", tmp_path / "seen") == "0 paths differ"
