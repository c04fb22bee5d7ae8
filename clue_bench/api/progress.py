"""Show progress: bars in a terminal or a notebook, and notes.

A `Progress` that is off shows nothing and sends its notes to the log. Bars go to stderr; stdout holds results only.
"""

import html
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from clue_bench.errors import Interrupted

SECONDS_BETWEEN_LINES = 10.0  # of progress, where stderr is a file or a pipe
SECONDS_BETWEEN_UPDATES = 0.1  # of a notebook's bar
SECONDS_OF_SPEED = 600.0  # that the ETA is estimated from; rich's own 30 give none if updates are further apart
AGAIN = "type the same command again: it continues"

stderr = Console(stderr=True, highlight=False, force_jupyter=False)
log = logging.getLogger("clue_bench")


class Progress:
    """The progress display of one call."""

    def __init__(self, is_shown: bool) -> None:
        self.is_shown = is_shown

    def note(self, text: str) -> None:
        """Show a line that the user should read."""
        if self.is_shown:
            stderr.print(text, markup=False, soft_wrap=True)
        else:
            log.info("%s", text)

    def notes(self, texts: Iterable[str]) -> None:
        """Show several lines."""
        for text in texts:
            self.note(text)

    @contextmanager
    def bar(self, what: str, total: float, *, count: bool = False, on_interrupt: str = AGAIN) -> Iterator["Bar"]:
        """Show the progress of `what` while the block runs; `count` shows "done/total" as whole numbers.

        A keyboard interrupt becomes `Interrupted` with the hint `on_interrupt`.
        """
        rich = _Display(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            *([MofNCompleteColumn()] if count else []),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=stderr,
            disable=not (self.is_shown and stderr.is_terminal),
            speed_estimate_period=SECONDS_OF_SPEED,
        )
        try:
            if not self.is_shown:
                yield Bar(what, total)
            elif in_notebook():
                yield NotebookBar(what, total)
            elif stderr.is_terminal:
                with rich:
                    yield TerminalBar(what, total, rich)
            else:
                yield LineBar(what, total)
        except KeyboardInterrupt as interruption:
            if isinstance(interruption, Interrupted):
                raise
            raise Interrupted(f"{what}: interrupted", on_interrupt) from interruption


class Bar:
    """A progress bar; this one shows nothing."""

    def __init__(self, what: str, total: float) -> None:
        self._what, self._total = what, total

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Show that `done` of the total is done, with `detail` on the same line or, on a terminal, `below` under it."""


class LineBar(Bar):
    """A bar for files and pipes: a line every ten seconds."""

    def __init__(self, what: str, total: float) -> None:
        super().__init__(what, total)
        self._started = self._last_line = time.monotonic()  # of the first update, once there is one
        self._from: float | None = None
        self._ended = False

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Write a line if one is due, or everything is done."""
        if self._from is None:
            self._from, self._started = done, time.monotonic()
        now, ended = time.monotonic(), done >= self._total
        if not self._ended and (now - self._last_line >= SECONDS_BETWEEN_LINES or ended):
            self._last_line, self._ended = now, ended
            share = 100 * done / self._total if self._total else 100.0
            line = f"{self._what} {share:3.0f} %  {detail}  {self._eta(done, now)}".rstrip()
            stderr.print(line, markup=False, soft_wrap=True)

    def _eta(self, done: float, now: float) -> str:
        moved = done - (self._from or 0.0)
        if moved <= 0 or done >= self._total:
            return ""
        left = (now - self._started) * (self._total - done) / moved
        return f"ETA {int(left) // 60}:{int(left) % 60:02d}"


class _Display(RichProgress):
    """Bars, and what is shown below them."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


class TerminalBar(Bar):
    """A bar for terminals, with an estimate of the remaining time."""

    def __init__(self, what: str, total: float, rich: _Display) -> None:
        super().__init__(what, total)
        self._rich, self._task = rich, rich.add_task(what, total=total, detail="")

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Move the bar."""
        self._rich.below = below
        self._rich.update(self._task, completed=done, detail="" if below else detail)


class NotebookBar(Bar):
    """A bar for notebooks: HTML that IPython replaces in place, without widgets."""

    def __init__(self, what: str, total: float) -> None:
        super().__init__(what, total)
        from IPython import display

        ipython: Any = display  # it has no types
        self._html = ipython.HTML
        self._last = 0.0
        self._handle: Any = ipython.display(self._html(self._element(0, "")), display_id=True)

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Move the bar, unless it was moved a moment ago."""
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_UPDATES or done >= self._total:
            self._last = now
            self._handle.update(self._html(self._element(done, detail)))

    def _element(self, done: float, detail: str) -> str:
        share = 100 * done / self._total if self._total else 100.0
        words = html.escape(f"{self._what} {share:.0f} %  {detail}".rstrip())
        return f'<progress max="100" value="{share:.1f}"></progress> {words}'


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    import sys

    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return type(get_ipython()).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter; Colab
