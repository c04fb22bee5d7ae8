"""Options that several verbs share, each written once."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of a table.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be given several times."),
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Short for --set steps=N.")]


def overrides(settings: list[str] | None, steps: int | None = None) -> dict[str, object]:
    """Return `--set` and `--steps` as card values. Raises ClueBenchError if both give steps."""
    from clue_bench.cards import parse_overrides

    return parse_overrides([*(settings or []), *([f"steps={steps}"] if steps else [])])
