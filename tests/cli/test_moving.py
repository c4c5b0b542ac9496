"""``import``, ``load`` and ``save`` as typed, with pipes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from contextlib import suppress
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


def test_save_says_what_it_wrote_on_stderr_unless_it_is_to_be_quiet(layerlog: Layerlog, tmp_path: Path) -> None:
    assert piped(layerlog, tar(BASE), "import", "-", "a:1").returncode == 0
    said = layerlog("save", "a:1", str(tmp_path / "a.tar"))
    assert (said.returncode, said.stdout) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/a.tar: 1 layer; [\d.]+ kB written in [\d.]+s \(.*/s\)\n", said.stderr)
    quiet = layerlog("save", "a:1", str(tmp_path / "b.tar"), "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_on_a_terminal_save_shows_a_bar_for_each_layer(layerlog: Layerlog, tmp_path: Path) -> None:
    assert piped(layerlog, tar(BASE), "import", "-", "a:1").returncode == 0
    main, terminal = pty.openpty()
    command = [*layerlog("version").args[:-1], "save", "a:1", "-"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # EIO: nobody has the terminal open any more
            while data := os.read(main, 65536):
                shown += data
        assert process.stdout is not None
        assert process.stdout.read()[257:262] == b"ustar"
    os.close(main)
    assert process.returncode == 0
    assert re.search(rb"layer 1/1  [0-9a-f]{12} .*kB.*-: 1 layer; ", shown, re.DOTALL), shown
