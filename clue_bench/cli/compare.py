"""`clue-bench compare`: whether one run, or one setting over several seeds, is better than another."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

AGAINST = "--against"
# "--against" stands between two lists, which no option of click's can; it is left among the arguments, in its place.
CONTEXT = {"ignore_unknown_options": True}


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help=f"Folders of two runs, A and B; or several seeds of A, {AGAINST}, those of B."
        ),
    ],
    split: Annotated[str, typer.Option(help="A split with gold labels.")] = "dev",
    json: Json = False,
) -> None:
    """Compare two runs, or two settings over several seeds, on the same rows: McNemar or Welch, and paired bootstrap.

    Several runs on a side are seeds of one setting; then --against stands between the sides.

    Example: clue-bench compare runs/tiny-s1 runs/tiny-s2 --against runs/base-s1 runs/base-s2
    """
    from clue_bench.analysis.comparison import compare_runs

    comparison = compare_runs(*sides_of(runs), split=split)
    if json:
        terminal.print_json(comparison.as_json())
        return
    typer.echo(str(comparison))


def sides_of(arguments: list[str]) -> tuple[list[Path], list[Path]]:
    """Return the folders of A and of B. Raises typer.BadParameter if they are not two sides."""
    unknown = [argument for argument in arguments if argument.startswith("-") and argument != AGAINST]
    if unknown:
        raise typer.BadParameter(f"No such option: {unknown[0]}")
    if AGAINST not in arguments:
        if len(arguments) != 2:
            raise typer.BadParameter(f"{len(arguments)} runs: give two, or put {AGAINST} between the two sides")
        return [Path(arguments[0])], [Path(arguments[1])]
    place = arguments.index(AGAINST)
    a, b = arguments[:place], arguments[place + 1 :]
    if not a or not b or AGAINST in b:
        raise typer.BadParameter(f"{AGAINST} stands once, with runs before and after it")
    return [Path(each) for each in a], [Path(each) for each in b]
