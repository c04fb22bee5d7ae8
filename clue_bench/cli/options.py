"""Options that several verbs share, each written once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.api import SHIPPED
from clue_bench.cli.help import keys_of

if TYPE_CHECKING:
    from clue_bench.cards import Kind

MODEL = f"Checkpoint folder, folder of a run, {SHIPPED}, or an id of the Hugging Face hub."
TASK = "A task's name (clue-bench tasks list) or a .toml file"


def complete_task(incomplete: str) -> list[str]:
    """Return the tasks whose names begin like this, for the shell."""
    return _cards("tasks", incomplete)


def complete_recipe(incomplete: str) -> list[str]:
    """Return the recipes whose names begin like this, for the shell."""
    return _cards("pretrain", incomplete)


def complete_setting(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the keys that begin like this, with "=" and what they mean, for the shell."""
    return [(f"{key.name}=", key.meaning) for key in keys_of(ctx.command) if key.name.startswith(incomplete)]


def _cards(kind: "Kind", incomplete: str) -> list[str]:
    from clue_bench.cards import card_paths

    *before, last = incomplete.split(",")  # several tasks may be separated by commas
    return [",".join([*before, name]) for name in card_paths(kind) if name.startswith(last)]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of a table.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What tables call the model.")]
Wide = Annotated[bool, typer.Option("--wide", help="Show every column, however wide the terminal is.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting; repeatable. The keys are listed below.",
        autocompletion=complete_setting,
    ),
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Number of updates in the whole run.")]
Data = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that holds a folder or zip for each task.")]
OwnData = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="Folder that holds a folder or zip for each task; or rows of your own: a .csv, .tsv, .jsonl, .parquet or "
        ".xlsx file, or a folder with train.csv or the like.",
    ),
]
Text = Annotated[
    str | None,
    typer.Option("--text", metavar="COLUMN", help="Column of the texts, in rows of your own  [default: obvious names]"),
]
Text2 = Annotated[str | None, typer.Option("--text2", metavar="COLUMN", help="Column of the second text of each pair.")]
Label = Annotated[
    str | None,
    typer.Option("--label", metavar="COLUMN", help="Column of the labels, in rows of your own."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help=f"{TASK}; repeatable, or separated by commas  [default: every card]",
        autocompletion=complete_task,
    ),
]
Models = Annotated[list[str], typer.Option("--model", metavar="MODEL", help=f"{MODEL[:-1]}; repeatable.")]
Records = Annotated[
    Path, typer.Option("--records", metavar="FOLDER", help="Folder to search for run records, at any depth.")
]


def names(given: Sequence[str] | None) -> list[str]:
    """Return values that were given one by one or separated by commas."""
    return [name.strip() for each in given or [] for name in each.split(",") if name.strip()]


def columns(text: str | None, text2: str | None) -> list[str] | None:
    """Return the columns of texts. Raises ClueBenchError for a second without a first."""
    from clue_bench.errors import ClueBenchError

    if text2 is not None and text is None:
        raise ClueBenchError("found --text2 without --text", "give --text COLUMN, too")
    return None if text is None else [text, *([text2] if text2 is not None else [])]


def overrides(settings: list[str] | None, steps: int | None = None) -> dict[str, object]:
    """Return `--set` and `--steps` as card values. Raises ClueBenchError if both give steps."""
    from clue_bench.cards import parse_overrides

    return parse_overrides([*(settings or []), *([f"steps={steps}"] if steps else [])])
