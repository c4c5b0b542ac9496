"""Bytes going by: a bar on a terminal, quiet lines elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time

from layerlog.cli.views import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from rich.progress import Progress, TaskID


class LoadProgress:
    """What ``Store.load`` reports to (layerlog/images_in.py). A context manager.

    ``notes`` collects what this user could not set, as (path, what).
    """

    _layer, _present, _done = "new layer", "already here", "read"

    def __init__(self, what: str, verbose: bool = False) -> None:
        self.what, self.verbose = what, verbose
        self.notes: list[Any] = []
        self.bytes_read = self.layers_new = self.layers_present = 0
        self._ahead = False
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> LoadProgress:
        if sys.stderr.isatty():
            self._progress = _bars()
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def reading(self) -> None:
        """Bytes are read ahead, of which nobody knows how many there are; they are not counted."""
        self._ahead = True
        self._end_task()
        if self._progress is not None:
            self._task = self._progress.add_task("reading", total=None)

    def layer(self, place: int, count: int, digest: str, size: int, present: bool) -> None:
        """Layer *place* of *count* begins."""
        self._ahead = False
        self.layers_present += present
        self.layers_new += not present
        if self._progress is None:
            return
        title = f"layer {place + 1}/{count}  {digest.partition(':')[2][:12]}"
        self._end_task()
        if present:
            self._progress.console.print(f"{title}  {self._present}", style="dim", highlight=False)
        else:
            self._task = self._progress.add_task(title, total=size or None)

    def _end_task(self) -> None:
        """What was under way is done, however many bytes it was said to have."""
        if self._progress is not None and self._task is not None:
            seen = self._progress.tasks[self._task]
            self._progress.update(self._task, completed=seen.total or seen.completed, total=seen.total or seen.completed)
            self._task = None

    def advance(self, count: int) -> None:
        """*count* more bytes of the current layer."""
        self.bytes_read += 0 if self._ahead else count
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)

    def left_out(self, items: list[Any]) -> None:
        """What this user could not set, path by path."""
        self.notes += items

    def summary(self) -> str:
        """``3 new layers, 52.1 MB in 4s (12.6 MB/s)``."""
        seconds = max(time.monotonic() - self._began, 0.001)
        parts = [units.count(self.layers_new, self._layer)] if self.layers_new else []
        parts += [f"{units.count(self.layers_present, 'layer')} {self._present}"] if self.layers_present else []
        if not self.bytes_read:
            return ", ".join(parts) or "no layers"
        rate = units.size(self.bytes_read / seconds)
        return f"{', '.join(parts)}; {units.size(self.bytes_read)} {self._done} in {seconds:.1f}s ({rate}/s)"


class SaveProgress(LoadProgress):
    """The same for ``Store.save``. Layers that images share are written once."""

    _layer, _present, _done = "layer", "shared", "written"


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.theme import Theme

    quiet = Theme({"progress.download": "default", "progress.data.speed": "dim", "progress.remaining": "dim", "bar.back": "dim"})

    return Progress(
        SpinnerColumn("line", finished_text="✓", style="cyan"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True, highlight=False, theme=quiet),
        expand=True,
    )
