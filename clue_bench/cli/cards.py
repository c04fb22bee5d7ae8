"""`clue-bench tasks` and `clue-bench recipes`: the cards."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.cards import Card, Kind

Reference = Annotated[str, typer.Argument(help="A card's name, or a path ending in .toml.")]


def _cards(kind: "Kind", noun: str, load: Callable[[str], "Card"], chinese: str) -> typer.Typer:
    """Return the four verbs over one kind of card."""
    app = typer.Typer(
        help=f"List, show, copy and check {noun} cards. {chinese}", no_args_is_help=True, rich_markup_mode=None
    )

    @app.command("list")
    def list_cards(json: Json = False) -> None:
        """List every card that is found; a broken one is listed with its error."""
        from clue_bench.cards import card_paths
        from clue_bench.errors import ClueBenchError

        rows = []
        for name, paths in card_paths(kind).items():
            try:
                title = getattr(load(name), "title", "")
                rows.append({"name": name, "title": title, "path": str(paths[0]), "error": None})
            except ClueBenchError as error:
                rows.append({"name": name, "title": "", "path": str(paths[0]), "error": error.message})
        if json:
            terminal.print_json({kind: rows})
        else:
            terminal.print_table(["name", "title"], ((row["name"], row["error"] or row["title"]) for row in rows))

    @app.command()
    def show(reference: Reference, json: Json = False) -> None:
        """Print every key of a card with its value."""
        card = load(reference)
        values = card.model_dump(mode="json")
        if json:
            terminal.print_json(values)
        else:
            terminal.print_table(["key", "value"], values.items())

    @app.command()
    def copy(
        reference: Reference,
        to: Annotated[Path, typer.Argument(help="File to write, ending in .toml.")],
        json: Json = False,
    ) -> None:
        """Copy a card to a file of your own, to change it there."""
        from clue_bench import files
        from clue_bench.cards import find_card
        from clue_bench.errors import ClueBenchError

        source = find_card(kind, reference)
        if to.suffix != ".toml" or to.exists():
            problem = "exists already" if to.exists() else "does not end in .toml"
            raise ClueBenchError(f"{to} {problem}", "give a new file name ending in .toml")
        files.write_text(to, source.read_text(encoding="utf-8"))
        if json:
            terminal.print_json({"from": str(source), "to": str(to)})
        else:
            terminal.print_table(["copied", "to"], [(source, to)])

    @app.command()
    def check(
        references: Annotated[list[str] | None, typer.Argument(help="Cards; all of them if none is named.")] = None,
        json: Json = False,
    ) -> None:
        """Decode cards strictly; the first mistake is an error naming file and key."""
        from clue_bench.cards import card_paths

        names = references or list(card_paths(kind))
        for name in names:
            load(name)
        if json:
            terminal.print_json({"checked": names})
        else:
            terminal.print_table(["checked"], ((name,) for name in names))

    return app


def _load_task(reference: str) -> "Card":
    from clue_bench.tasks.task import load_task

    return load_task(reference)


def _load_recipe(reference: str) -> "Card":
    from clue_bench.pretraining.recipe import load_recipe

    return load_recipe(reference, {})


tasks = _cards("tasks", "task", _load_task, "任务卡片。")
recipes = _cards("pretrain", "recipe", _load_recipe, "预训练配方。")
