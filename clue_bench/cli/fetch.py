"""`clue-bench data fetch`: task data from mirrors and the hub. `cli/data.py` registers it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.tasks.fetch import Fetched
    from clue_bench.tasks.task import Task

AGAIN = "type the same command again: tasks that are complete are not fetched twice"


def fetch(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; all cards that name a source if none is.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Folder that holds the zips, or a URL with {file} in it, asked first; may be given several times.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Fetch task data that are missing, read every row, and keep only what is whole (下载任务数据).

    Sources are the card's mirrors of the official zip, in order, then the Hugging Face hub. What is there and can be
    read is kept. A proxy is taken from HTTPS_PROXY, another hub from HF_ENDPOINT.
    """
    from clue_bench.cards import card_paths
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.fetch import mirror_url
    from clue_bench.tasks.task import load_task

    for url in mirror or []:
        mirror_url(url, "")  # a bad one is refused before anything is fetched
    cards = [load_task(name) for name in tasks or card_paths("tasks")]
    fetched: dict[str, Fetched] = {}
    failed: dict[str, ClueBenchError] = {}
    try:
        for task in cards:
            if not tasks and task.archive is None:
                terminal.say(f"{task.name}: passed over, its card names no source")
                continue
            try:
                fetched[task.name] = _fetched(task, data, mirror or [])
            except ClueBenchError as error:
                if isinstance(error.__cause__, KeyboardInterrupt):  # the bar has made it an error
                    raise
                failed[task.name] = error
    except KeyboardInterrupt as interruption:
        raise ClueBenchError("interrupted; nothing half fetched is left", AGAIN) from interruption
    _print(fetched, failed, as_json=json)
    if failed:
        hints = list(dict.fromkeys(error.hint for error in failed.values()))
        raise ClueBenchError("\n".join(error.message for error in failed.values()), hints[0])


def _fetched(task: "Task", data: Path, mirrors: list[str]) -> "Fetched":
    from clue_bench.tasks.download import Patience
    from clue_bench.tasks.fetch import fetch_task
    from clue_bench.tasks.hub import load_from_hub

    with ExitStack() as stack:
        watch = _Watch(stack)
        return fetch_task(task, data, mirrors=mirrors, patience=Patience(), load_hub=load_from_hub, watch=watch)


class _Watch:
    """Notes as lines on stderr, and one bar per source."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._bar: terminal.Bar | None = None
        self._what = ""

    def note(self, text: str) -> None:
        self._close()
        terminal.say(text)

    def progress(self, what: str, done: int, total: int | None, unit: str) -> None:
        if not total:  # a server that does not say how much there is
            return
        if self._bar is None or what != self._what:
            self._close()
            self._bar, self._what = self._stack.enter_context(terminal.bar(what, total, on_interrupt=AGAIN)), what
        shown = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if unit == "bytes" else f"{done:,} of {total:,} rows"
        self._bar.update(done, shown)

    def _close(self) -> None:
        self._stack.close()
        self._bar = None


def _print(fetched: "dict[str, Fetched]", failed: dict[str, Any], *, as_json: bool) -> None:
    """Print one line, or one key of the JSON object, per task; failures have an "error" instead of a source."""
    if as_json:
        values: dict[str, Any] = {
            name: {
                "source": one.source,
                "path": str(one.path),
                "archive_md5": one.archive_md5,
                "revision": one.data.revision,
                "files": {split: file.model_dump() for split, file in one.data.files.items()},
                "passed_over": dict(one.passed_over),
            }
            for name, one in fetched.items()
        }
        terminal.print_json(values | {name: {"error": error.message} for name, error in failed.items()})
        return
    rows = [
        (
            name,
            " / ".join(f"{file.rows:,}" for file in one.data.files.values()),
            one.data.revision,
            one.source,
            one.path,
        )
        for name, one in fetched.items()
    ]
    if rows:
        terminal.print_table(["task", "rows", "revision", "from", "lies in"], rows)
