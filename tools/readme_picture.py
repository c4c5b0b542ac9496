"""Draw the picture at the top of the README: delete, why-gone, restore, as a terminal shows them.

    python tools/readme_picture.py docs/delete-why-gone-restore.svg

Runs the real commands of this checkout on a store in a temporary folder, each in a pseudo terminal of
92 columns, and draws what they printed.
"""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from examples.demo.host_image import build as build_image
from layerlog.cli.views.svg import without_fetches

COLUMNS = 92
SHOWN = (
    ("tree",),
    ("rmi", "--reason", "release 1.4 is out", "shop:1.3"),
    ("why-gone", "shop:1.3"),
    ("restore", "shop:1.3"),
    ("log",),
)


def run(folder: Path, *words: str) -> str:
    """What one command prints on a terminal."""
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "COLUMNS": str(COLUMNS),
        "LINES": "60",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([sys.executable, "-m", "layerlog", *words], stdout=theirs, stderr=theirs, env=environment) as command:
        os.close(theirs)
        printed = _read_all(ours)  # while it runs: a pseudo terminal holds a few thousand bytes
    os.close(ours)
    if command.returncode:
        raise SystemExit(f"layerlog {' '.join(words)} ended with {command.returncode}: {printed.decode()}")
    return printed.decode().replace("\r\n", "\n").replace(str(folder), "/var/lib/shop")


def _read_all(fd: int) -> bytes:
    """Everything until nobody has the other side of a pseudo terminal open any more."""
    printed = b""
    while True:
        try:
            block = os.read(fd, 65536)
        except OSError:  # EIO: the other side is closed and everything was read (pty(7))
            return printed
        if not block:
            return printed
        printed += block


def main(target: str) -> None:
    """Run the session and write the SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n')
        image = build_image(folder / "image", "shop")
        run(folder, "load", str(image), "--name", "shop:1.3")
        for words in SHOWN:
            shown = " ".join(f"'{word}'" if " " in word else word for word in words)
            console.print(Text("$ ", "bold green") + Text(f"layerlog {shown}", "bold"))
            console.print(Text.from_ansi(run(folder, *words).rstrip()))
            console.print()
    drawn = console.export_svg(title="layerlog")
    Path(target).write_text(without_fetches(drawn), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
