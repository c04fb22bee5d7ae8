"""What every verb prints with: tables and JSON on stdout, progress on stderr."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clue_bench.errors import ClueBenchError

SECONDS_BETWEEN_LINES = 10.0  # of progress, where stderr is a file or a pipe
SECONDS_OF_SPEED = 600.0  # that the ETA is taken from; rich's own 30 give none where two updates lie further apart

stderr = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a plain table on stdout; Chinese characters take two columns. Nothing is cut where stdout is a file."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def say(text: str) -> None:
    """Print a message on stderr."""
    stderr.print(text, markup=False, soft_wrap=True)


def say_ignored(paths: list[Path]) -> None:
    """Say which entries of an input folder were left aside."""
    if paths:
        say(f"left aside, not text files of a known kind: {', '.join(path.name for path in paths)}")


class _Display(Progress):
    """Bars, and whatever is to stand below them."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


class Bar:
    """One line of progress. On a terminal it is a bar with ETA, elsewhere a line every ten seconds."""

    def __init__(self, what: str, total: float, progress: _Display) -> None:
        self._what, self._total, self._progress = what, total, progress
        self._task = progress.add_task(what, total=total, detail="")
        self._started = self._last_line = time.monotonic()  # of the first update, once there is one
        self._from: float | None = None
        self._ended = False

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Show that `done` of the total is done, with `detail` on the same line or, on a terminal, `below` instead."""
        if self._from is None:
            self._from, self._started = done, time.monotonic()
        self._progress.below = below
        self._progress.update(self._task, completed=done, detail="" if below else detail)
        now = time.monotonic()
        ended = done >= self._total
        if not stderr.is_terminal and not self._ended and (now - self._last_line >= SECONDS_BETWEEN_LINES or ended):
            self._last_line, self._ended = now, ended
            share = 100 * done / self._total if self._total else 100.0
            say(f"{self._what} {share:3.0f} %  {detail}  {self._eta(done, now)}".rstrip())

    def _eta(self, done: float, now: float) -> str:
        moved = done - (self._from or 0.0)
        if moved <= 0 or done >= self._total:
            return ""
        left = (now - self._started) * (self._total - done) / moved
        return f"ETA {int(left) // 60}:{int(left) % 60:02d}"


@contextmanager
def bar(
    what: str,
    total: float,
    *,
    count: bool = False,
    on_interrupt: str = "type the same command again: it continues",
) -> Iterator[Bar]:
    """Show progress of `what` on stderr while the block runs; `count` shows "done/total" as whole numbers.

    An interruption from the keyboard becomes a ClueBenchError with the hint `on_interrupt`.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")]
    counted = [MofNCompleteColumn()] if count else []
    times = [TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[detail]}")]
    try:
        with _Display(
            *columns,
            *counted,
            *times,
            console=stderr,
            disable=not stderr.is_terminal,
            speed_estimate_period=SECONDS_OF_SPEED,
        ) as progress:
            yield Bar(what, total, progress)
    except KeyboardInterrupt as interruption:
        raise ClueBenchError(f"{what}: interrupted", on_interrupt) from interruption
