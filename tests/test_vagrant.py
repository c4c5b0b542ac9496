"""The Vagrantfile: valid for both providers, and its copy of the checkout keeps links."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_rsync_copies_links_as_links() -> None:
    """Vagrant's own default has --copy-links, which makes four second copies of our modules."""
    (arguments,) = [line for line in (ROOT / "Vagrantfile").read_text("utf-8").splitlines() if "rsync__args" in line]
    assert "--links" in arguments
    assert "--copy-links" not in arguments


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
@pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed: apt-get install vagrant")
def test_it_is_valid(provider: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=tmp_path,
        env={**os.environ, "VAGRANT_PROVIDER": provider, "VAGRANT_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout
