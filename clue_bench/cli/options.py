"""Options that several verbs share, each written once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

MODEL = "Checkpoint folder, the folder of a run, or an id of the Hugging Face hub."
TASK = "A task's name (clue-bench tasks list) or a .toml file"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of a table.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable."),
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Number of updates in the whole run.")]
Data = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that holds a folder or zip for each task.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="TASK", help=f"{TASK}; repeatable, or separated by commas  [default: every card]"),
]
Models = Annotated[list[str], typer.Option("--model", metavar="MODEL", help=f"{MODEL[:-1]}; repeatable.")]
Records = Annotated[
    Path, typer.Option("--records", metavar="FOLDER", help="Folder to search for run records, at any depth.")
]


class Verb(TyperCommand):
    """A command whose help shows arguments without Python's types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with the types of arguments hidden."""
        params = super().get_params(ctx)
        for param in params:
            if param.param_type_name == "argument":
                vars(param)["display_type_rich"] = lambda ctx: None
        return params


def names(given: Sequence[str] | None) -> list[str]:
    """Return values that were given one by one or separated by commas."""
    return [name.strip() for each in given or [] for name in each.split(",") if name.strip()]


def overrides(settings: list[str] | None, steps: int | None = None) -> dict[str, object]:
    """Return `--set` and `--steps` as card values. Raises ClueBenchError if both give steps."""
    from clue_bench.cards import parse_overrides

    return parse_overrides([*(settings or []), *([f"steps={steps}"] if steps else [])])
