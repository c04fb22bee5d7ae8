"""`clue-bench data`: task data, fetched and examined."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.audit import audit
from clue_bench.cli.fetch import fetch
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.doors.records import FileFacts

app = typer.Typer(
    help="Fetch, check and examine task data. 下载、检查、审查任务数据。", no_args_is_help=True, rich_markup_mode=None
)


app.command(epilog="Example: clue-bench data fetch afqmc tnews --data clue")(fetch)
app.command(epilog="Example: clue-bench data audit afqmc tnews --data clue --vocab vocab.txt")(audit)


@app.command(epilog="Example: clue-bench data verify afqmc tnews --data clue")
def verify(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; all cards if none is named.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    json: Json = False,
) -> None:
    """Read every row and compare row counts and md5 with the cards: official data, or another revision."""
    from clue_bench.cards import card_paths
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.files import available_splits, describe
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    found, rows = {}, []
    for name in tasks or card_paths("tasks"):
        task = load_task(name)
        try:
            present = available_splits(task, data)
        except ClueBenchError as error:
            if tasks:
                raise
            rows.append((name, "", "", error.message, ""))
            continue
        files = {split: read_split(task, split, data).facts for split in present}
        found[name] = describe(task, data, files)
        rows += [(name, split, f"{file.rows:,}", _compared(file), file.md5) for split, file in files.items()]
        rows += [(name, split, "", "missing", "") for split in task.splits if split not in present]
    if json:
        terminal.print_json({name: facts.model_dump() for name, facts in found.items()})
    else:
        terminal.print_table(["task", "split", "rows", "compared with the card", "md5 found"], rows)


def _compared(file: "FileFacts") -> str:
    """Return in words how a file differs from its card, and what the card does not say."""
    if file.is_official:
        return "official"
    differing = []
    if file.expected_rows is not None and file.rows != file.expected_rows:
        differing.append(f"{file.expected_rows:,} rows")
    if file.expected_md5 is not None and file.md5 != file.expected_md5:
        differing.append(f"md5 {file.expected_md5}")
    absent = [key for key, value in (("rows", file.expected_rows), ("md5", file.expected_md5)) if value is None]
    parts = [f"differs: the card has {', '.join(differing)}"] if differing else []
    parts += [f"the card has no {' and no '.join(absent)}"] if absent else []
    return "; ".join(parts)
