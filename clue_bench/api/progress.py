"""Show progress: bars in a terminal or a notebook, lines in a file or a pipe, and notes.

A `Progress` that is off shows nothing and sends its notes to the log. Bars go to stderr; stdout holds results only.
On a terminal details stand below the bar, so that share, count, time and ETA fit into 80 columns.
"""

import html
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from clue_bench.errors import AGAIN, Interrupted
from clue_bench.language import translated
from clue_bench.layout import wrap
from clue_bench.training.stopping import NOTICE, WORDS

if TYPE_CHECKING:
    from clue_bench.finetuning.train import FinetuningReport

SECONDS_BETWEEN_LINES = 10.0  # of progress, where stderr is a file or a pipe
SECONDS_BETWEEN_UPDATES = 0.1  # of a notebook's bar
SECONDS_OF_SPEED = 600.0  # that the ETA is estimated from; rich's own 30 give none if updates are further apart
BAR_WIDTHS = (5, 40)  # columns
BESIDE_THE_BAR = 42  # columns: share, count, time, ETA

stderr = Console(stderr=True, highlight=False, force_jupyter=False)
log = logging.getLogger("clue_bench")


class Progress:
    """The progress display of one call."""

    def __init__(self, is_shown: bool) -> None:
        self.is_shown = is_shown

    def note(self, text: str, *, is_command: bool = False) -> None:
        """Show a line that the user should read, broken between words on a terminal, unless it is to be copied."""
        if self.is_shown:
            for line in translated(text).split("\n"):
                parts = wrap(line, stderr.width) if stderr.file.isatty() and not is_command else [line]
                stderr.print("\n".join(parts), markup=False, soft_wrap=True)
        else:
            log.info("%s", text)

    def notes(self, texts: Iterable[str]) -> None:
        """Show several lines."""
        for text in texts:
            self.note(text)

    def import_torch(self) -> None:
        """Import torch, and say so on a terminal while it lasts: seconds, on a busy machine half a minute."""
        if "torch" in sys.modules or not (self.is_shown and can_redraw()):
            return  # whoever needs it imports it
        with self.status("loading PyTorch"):
            import_module("torch")

    @contextmanager
    def status(self, what: str) -> Iterator[None]:
        """Say on a terminal what is being done while the block runs, where nobody knows how much of it is left."""
        with stderr.status(translated(what)) if self.is_shown and can_redraw() else nullcontext():
            yield

    @contextmanager
    def bar(
        self, what: str, total: float, *, start: float = 0.0, count: bool = False, on_interrupt: str = AGAIN
    ) -> Iterator["Bar"]:
        """Show the progress of `what`, from `start` on, while the block runs; `count` shows whole numbers, too.

        A keyboard interrupt becomes `Interrupted` with the hint `on_interrupt`.
        """
        least, most = BAR_WIDTHS
        what = translated(what)
        rich = _Display(
            TextColumn("{task.description}"),
            BarColumn(max(least, min(most, stderr.width - cell_len(what) - BESIDE_THE_BAR))),
            TextColumn("{task.percentage:3.0f} %"),
            *([MofNCompleteColumn()] if count else []),
            TimeElapsedColumn(),
            TextColumn(translated("ETA")),
            TimeRemainingColumn(),
            console=stderr,
            disable=not (self.is_shown and can_redraw()),
            speed_estimate_period=SECONDS_OF_SPEED,
        )
        try:
            if not self.is_shown:
                yield Bar(what, total)
            elif in_notebook():
                yield NotebookBar(what, total, start)
            elif can_redraw():
                with rich:
                    NOTICE.is_drawn = True
                    yield TerminalBar(what, total, start, rich)
            else:
                yield LineBar(what, total, start, count=count)
        except KeyboardInterrupt as interruption:
            if isinstance(interruption, Interrupted):
                raise
            raise Interrupted(f"{what}: interrupted", on_interrupt) from interruption
        finally:
            NOTICE.is_drawn = False


class Bar:
    """A progress bar; this one shows nothing."""

    def __init__(self, what: str, total: float) -> None:
        self._what, self._total = what, total

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Show that `done` of the total is done, with `detail` on the same line or, on a terminal, `below` under it."""


class LineBar(Bar):
    """A bar for files and pipes: a line at once, and one every ten seconds."""

    def __init__(self, what: str, total: float, start: float, *, count: bool) -> None:
        super().__init__(what, total)
        self._count, self._start = count, start
        self._started = self._last_line = time.monotonic()
        self._ended = False
        self._write(start, "", "")

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Write a line if one is due, or everything is done."""
        now, ended = time.monotonic(), done >= self._total
        if not self._ended and (now - self._last_line >= SECONDS_BETWEEN_LINES or ended):
            self._last_line, self._ended = now, ended
            self._write(done, detail, self._eta(done, now))

    def _write(self, done: float, detail: str, eta: str) -> None:
        share = 100 * done / self._total if self._total else 100.0
        count = translated(f"{done:,.0f} of {self._total:,.0f}") if self._count else ""
        parts = [part for part in (f"{self._what} {int(share):3d} %", count, translated(detail), eta) if part]
        stderr.print("  ".join(parts), markup=False, soft_wrap=True)

    def _eta(self, done: float, now: float) -> str:
        moved = done - self._start
        if moved <= 0 or done >= self._total:
            return ""
        left = int((now - self._started) * (self._total - done) / moved)
        return f"{translated('ETA')} {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"


class _Display(RichProgress):
    """Bars, and what is shown below them."""

    below: RenderableType | None = None  # a text is shown in the language in use, when it is drawn

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if isinstance(self.below, str):
            yield Text(translated(self.below), "dim")
        elif self.below is not None:
            yield self.below
        if NOTICE.is_due:
            yield Text(translated(WORDS))


class TerminalBar(Bar):
    """A bar for terminals, with an estimate of the remaining time."""

    def __init__(self, what: str, total: float, start: float, rich: _Display) -> None:
        super().__init__(what, total)
        self._rich, self._task = rich, rich.add_task(what, total=total)
        rich.update(self._task, completed=start)

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Move the bar."""
        self._rich.below = detail or None if below is None else below
        self._rich.update(self._task, completed=done)


class NotebookBar(Bar):
    """A bar for notebooks: HTML that IPython replaces in place, without widgets."""

    def __init__(self, what: str, total: float, start: float) -> None:
        super().__init__(what, total)
        from IPython import display

        ipython: Any = display  # it has no types
        self._html = ipython.HTML
        self._last = 0.0
        self._handle: Any = ipython.display(self._html(self._element(start, "")), display_id=True)

    def update(self, done: float, detail: str = "", *, below: RenderableType | None = None) -> None:
        """Move the bar, unless it was moved a moment ago."""
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_UPDATES or done >= self._total:
            self._last = now
            self._handle.update(self._html(self._element(done, detail)))

    def _element(self, done: float, detail: str) -> str:
        share = 100 * done / self._total if self._total else 100.0
        words = html.escape(f"{self._what} {share:.0f} %  {translated(detail)}".rstrip())
        return f'<progress max="100" value="{share:.1f}"></progress> {words}'


def evaluation_words(report: "FinetuningReport", *, kind: str) -> str:
    """Return how far prediction for a task of `kind` is, in words that follow others; "" if there is none."""
    unit = "windows" if kind == "span" else "rows"
    return f"  {report.split} {report.evaluated:,} of {report.of_split:,} {unit}" if report.of_split else ""


def can_redraw() -> bool:
    """Return whether stderr is a terminal that can move its cursor; FORCE_COLOR makes rich take a pipe for one."""
    return stderr.file.isatty() and not stderr.is_dumb_terminal


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return type(get_ipython()).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter; Colab
