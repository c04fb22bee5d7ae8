"""Options that several verbs share, each written once."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clue_bench.language import translated

if TYPE_CHECKING:
    from clue_bench.cards import Key, Kind

MODEL = "Checkpoint folder, the folder of a run, or an id of the Hugging Face hub."
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


class Verb(TyperCommand):
    """A command whose help shows arguments without Python's types, and what it does in a whole sentence."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence of the help, whole: lists of commands wrap it."""
        return translated(super().get_short_help_str(limit=1_000))

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with the types of arguments hidden."""
        params = super().get_params(ctx)
        for param in params:
            if param.param_type_name == "argument":
                vars(param)["display_type_rich"] = lambda ctx: None
        return params


class Group(TyperGroup):
    """A group of commands, which lists of commands describe in the language in use."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence of the help, whole."""
        return translated(super().get_short_help_str(limit=1_000))


class _WithSettings(Verb):
    """A command that takes --set; its help ends with the keys, made from the model that decodes them."""

    keys = ""  # module:function that returns them
    title = "Settings, for --set KEY=VALUE"

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then every key with its meaning, unit and default."""
        super().format_options(ctx, formatter)
        with formatter.section(self.title):
            formatter.write_dl(
                [(key.name, key.meaning + f"  [default: {key.default}]" * bool(key.default)) for key in keys_of(self)]
            )


class RecipeVerb(_WithSettings):
    """A command whose --set changes a recipe."""

    keys = "clue_bench.pretraining.recipe:recipe_keys"
    title = "Settings, for --set KEY=VALUE; the values are those of recipes show RECIPE"


class SettingsVerb(_WithSettings):
    """A command whose --set changes the settings of fine-tuning."""

    keys = "clue_bench.finetuning.settings:setting_keys"


def keys_of(command: Any) -> "list[Key]":
    """Return the keys that a command's --set takes."""
    module, _, function = getattr(command, "keys", "").partition(":")
    found: list[Key] = getattr(import_module(module), function)() if module else []
    return found


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
