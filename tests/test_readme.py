"""What the README shows is true: its library block runs, and the commands it names exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from examples.demo.host_image import build as build_image

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")

# What a reader of the block has anyway: the last release, stored three hours ago, the digest of a lock file, and a
# function that installs what it names.
GIVEN = """
import time
from pathlib import Path

from layerlog import Store

now, time.time_ns = time.time_ns, lambda: now() - 3 * 3600 * 10**9
with Store("~/.cache/ci") as store:
    store.create_image(names=["app:1.3"])
time.time_ns = now

lock_digest = "sha256:4711"

def install(root):
    Path(root, "test_app.py").write_text("def test_app():\\n    assert True\\n")

"""


def library_block() -> str:
    """The Python block of the README that opens a Store."""
    (block,) = [found for found in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "with Store(" in found]
    return str(block)


def pack(image: Path, archive: Path) -> None:
    """An OCI layout as one file."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(image.iterdir()):
            tar.add(path, path.name)


def test_the_library_block_runs(tmp_path: Path) -> None:
    """As a program of its own, in a folder that has the archive it loads, with an empty home."""
    pack(build_image(tmp_path / "image", "base"), tmp_path / "python-app.tar")
    (tmp_path / "program.py").write_text(GIVEN + library_block())
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "test_app.py" in done.stdout
    assert "1 passed" in done.stdout
    assert "app:1.3" in done.stdout.splitlines()[-1], "what the store held two hours ago"


def test_every_make_target_it_names_exists() -> None:
    named = set(re.findall(r"(?:`|^    )make ([a-z]+)\b", README, re.MULTILINE))
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named
    assert named <= rules


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link and not link.startswith("#")]
    assert not [link for link in links if link and not os.path.lexists(ROOT / link)]
