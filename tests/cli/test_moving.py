"""``import``, ``load`` and ``save`` as typed, with pipes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from tests.conftest import ROOT
from tests.layerlog.builders import BASE, tar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Layerlog


def piped(layerlog: Layerlog, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The same with bytes on stdin and stdout."""
    command = layerlog("version").args[:-1]
    return subprocess.run([*command, *arguments], input=data, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_import_takes_a_folder_a_file_or_stdin(layerlog: Layerlog, tmp_path: Path) -> None:
    (tmp_path / "folder/etc").mkdir(parents=True)
    (tmp_path / "folder/etc/motd").write_text("hello\n")
    (tmp_path / "root.tar").write_bytes(tar(BASE))
    first = layerlog("import", str(tmp_path / "folder"), "--name", "a:1", "--change", "ENV A=1")
    assert (first.returncode, first.stdout.splitlines()[1:]) == (0, ["\ta:1"])
    from_file = layerlog("import", str(tmp_path / "root.tar"), "b:1", "--json")
    (record,) = json.loads(from_file.stdout)
    assert record["names"] == ["b:1"]
    from_pipe = piped(layerlog, tar(BASE), "import", "-", "--quiet")
    assert from_pipe.returncode == 0, from_pipe.stderr
    image, *names = from_pipe.stdout.decode().split()
    assert names == (["b:1"] if image == record["id"] else [])  # within one second it is the same image, to the last byte
    assert json.loads(layerlog("image", image, "--json").stdout)[0]["layer"] == record["layer"]


def test_import_says_in_a_line_what_is_wrong(layerlog: Layerlog, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar" * 200)
    for words, why in (
        ([str(tmp_path / "none")], "no such file"),
        ([str(tmp_path / "text")], "invalid tar header"),
        ([str(tmp_path / "text"), "-c", "RUN x"], "unknown instruction 'RUN'"),
        ([str(tmp_path)], "holds the store itself"),
    ):
        done = layerlog("import", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr.splitlines()[0]
