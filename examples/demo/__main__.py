"""The demo: a real image from archive to container and back, one change after another in a journal.

    python -m examples.demo [--image PATH] [--store FOLDER] [--layerlog COMMAND] [--storage-driver NAME]

Every line after a `$` is run as it stands. The store stays, for the reader to go on with.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import NamedTuple

from examples.demo.host_image import build
from examples.demo.interrupt import kill_a_load
from examples.demo.journal_cuts import cut_everywhere
from examples.demo.stage import Failed, Stage
from layerlog.version import __version__

CUTS = 200
SEED = 20260101


class Picked(NamedTuple):
    """Two files of the container to work on: one that gets a line more, one that is removed."""

    changed: str
    removed: str


def pick_files(root: Path) -> Picked:
    """Two regular files of the container, small texts in etc/ if it has some."""
    found: list[Path] = []
    for directory, subfolders, files in os.walk(root):
        subfolders[:] = sorted(s for s in subfolders if not Path(directory, s).is_symlink())
        paths = (Path(directory, name) for name in sorted(files))
        found += [p for p in paths if p.is_file() and not p.is_symlink() and os.access(p, os.W_OK) and shlex.quote(str(p)) == str(p)]
    found.sort(key=lambda p: ("/etc/" not in str(p), p.name not in {"motd", "os-release"}, p.stat().st_size))
    if len(found) < 2:
        raise Failed("this image has no two files that you may write: take another IMAGE")
    first, second = (str(p.relative_to(root)) for p in found[:2])
    return Picked(first, second)


def load(stage: Stage, image: Path) -> None:
    stage.heading(
        "A real image comes in",
        "Each layer is verified and unpacked in one pass, aside. Then one fsynced record makes all of them real at once.",
    )
    stage.run(f"layerlog load {shlex.quote(str(image))} --name demo")
    stage.run("layerlog tree")


def work(stage: Stage) -> None:
    stage.heading("A container, and what changed in it", "A container is a writable layer on top: change files, and ask for exactly those.")
    stage.run("layerlog create-container demo --name box")
    root = Path(stage.ask("layerlog mount box"))
    picked = pick_files(root)
    stage.ask("layerlog unmount box")
    stage.run(
        "root=$(layerlog mount box)"
        f'\n  echo "changed in the demo" >> "$root/{picked.changed}"'
        f'\n  rm "$root/{picked.removed}"'
        '\n  echo "hello" > "$root/new-in-the-demo"'
        "\n  layerlog unmount box"
    )
    stage.run("layerlog changes box")
    stage.run("layerlog diff box | tar --list --verbose")


def keep(stage: Stage) -> None:
    stage.heading("From container to image", "commit makes a new image of the container; names move without touching a byte of contents.")
    stage.run("layerlog commit box demo:patched")
    stage.run("layerlog tag demo:patched demo:next")
    stage.run("layerlog untag demo:patched")
    stage.run("layerlog tree")


def lose_and_find(stage: Stage) -> None:
    stage.heading(
        "Deleted, explained, brought back",
        "Who deleted that image? The journal says. And until its bytes are freed, it comes back whole.",
    )
    stage.run("layerlog rmi demo:next")
    stage.run("layerlog why-gone demo:next")
    stage.run("layerlog restore demo:next")
    stage.run("layerlog ls")


def go_back(stage: Stage) -> None:
    stage.heading("The store as it was", "Every change is kept, with who made it and how, so every past state can be asked for.")
    stage.run("layerlog log")
    stage.run("layerlog tree --at=-3")


def be_killed(stage: Stage) -> None:
    stage.heading(
        "SIGKILL in the middle of a load",
        "What was not acknowledged never happened; what was, stays. Nobody cleans up by hand: the next command does it by itself.",
    )
    second = build(stage.folder / "second-image", "latest", more=os.urandom(4 << 20))
    kill_a_load(stage, f"layerlog load {second.name} --name second")
    stage.run("layerlog ls")
    stage.run("layerlog load second-image --name second")


def be_cut(stage: Stage) -> None:
    stage.heading(
        "A journal cut at random",
        f"A power cut may leave any part of a file. A copy of the journal is cut at {CUTS} random offsets (seed {SEED}):\n"
        "each must open, take a new change, and hold every change that was complete before the cut.",
    )
    began = time.monotonic()
    result = cut_everywhere(stage.graph, stage.folder / "cut", CUTS, SEED)
    stage.console.print(
        f"[bold]{result.opened}/{result.cuts} opened, {result.lost} acknowledged changes lost before the cut[/bold]", highlight=False
    )
    stage.note(f"{result.commits} commits in {result.journal_bytes:,} bytes of journal; {time.monotonic() - began:.1f} s")
    for failure in result.failures:
        stage.console.print(f"[red]{failure}[/red]")
    if result.opened != result.cuts or result.lost:
        raise Failed("the journal did not survive every cut")


def say_goodbye(stage: Stage) -> None:
    here = os.path.relpath(stage.folder / "bin" / "layerlog")
    stage.heading("Now you", f"The store stays in {os.path.relpath(stage.folder)}. Three commands to try:")
    for command, what in (
        ("log --json | head -n 1", "the last change, all that is known of it"),
        (f"rmi second && {here} tree --at=-1", "delete something, and look at it all the same"),
        ("--help", "everything else"),
    ):
        stage.console.print(f"  [bold]{here} {command}[/bold]", soft_wrap=True)
        stage.console.print(f"      [dim]{what}[/dim]")


def play(stage: Stage, image: Path | None) -> None:
    """All steps, in order. Raises Failed at the first that does not hold."""
    places = " ".join(os.path.relpath(word) if word.startswith("/") else word for word in stage.where)
    stage.console.print(f"[bold]layerlog[/bold] {__version__}, on a store of its own in {os.path.relpath(stage.folder)}")
    stage.console.print(f"[dim]Each `layerlog` below stands for `layerlog {places}`.[/dim]")
    if image is None:
        image = build(stage.folder / "image", "latest")
        image = image.relative_to(stage.folder)
        stage.console.print("[dim]The image: four layers made just now of this host's Python library (IMAGE=path takes yours).[/dim]")
    load(stage, image)
    for step in (work, keep, lose_and_find, go_back, be_killed, be_cut, say_goodbye):
        step(stage)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="The demo of layerlog.")
    parser.add_argument("--image", type=Path, help="an OCI layout to load; by default one is made of this host's files")
    parser.add_argument("--store", type=Path, default=Path("demo-store"), help="where the store goes (demo-store)")
    parser.add_argument("--layerlog", type=Path, default=Path(sys.executable).with_name("layerlog"), help="the command to show")
    parser.add_argument("--storage-driver", default="", help="by default what layerlog chooses here")
    asked = parser.parse_args()
    try:
        play(Stage(asked.store.absolute(), asked.layerlog.absolute(), asked.storage_driver), asked.image and asked.image.absolute())
    except Failed as failure:
        print(f"the demo failed: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
