"""`clue-bench data`: task data on disk."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

app = typer.Typer(help="Check task data. 检查任务数据。", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keep `verify` a subcommand, although it is the only one yet."""


@app.command(epilog="Example: clue-bench data verify afqmc tnews --data clue")
def verify(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; all cards if none is named.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    json: Json = False,
) -> None:
    """Read every row and compare row counts and md5 with the cards: official data, or another revision."""
    from clue_bench.catalog import card_paths
    from clue_bench.finetune.data import available_splits, describe, read_split
    from clue_bench.finetune.task import load_task

    found = {}
    for name in tasks or card_paths("tasks"):
        task = load_task(name)
        files = {split: read_split(task, split, data).facts for split in available_splits(task, data)}
        found[name] = describe(data, files)
    if json:
        terminal.print_json({name: facts.model_dump() for name, facts in found.items()})
        return
    rows = [
        (
            name,
            split,
            f"{file.rows:,}",
            "official"
            if file.is_official
            else f"differs: card has {file.expected_rows:,} rows, md5 {file.expected_md5}",
            file.md5,
        )
        for name, facts in found.items()
        for split, file in facts.files.items()
    ]
    terminal.print_table(["task", "split", "rows", "revision", "md5 found"], rows)
