"""`clue-bench doctor`: whether a checkpoint is what it claims to be."""

from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json


def doctor(
    model: Annotated[str, typer.Argument(help="Checkpoint folder, run folder, or Hugging Face id.")],
    text: Annotated[
        list[str] | None, typer.Option(help="A sentence with [MASK], or for GPT2 one to continue; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether a checkpoint is what it claims to be: names, shapes, vocabulary, answers (检查模型文件).

    Exit code 0 if nothing is wrong, 1 if something is.
    """
    from clue_bench.diagnosis.examine import examine

    report = examine(model, texts=text or [])
    if json:
        terminal.print_json(report.as_json())
    else:
        typer.echo(report.verdict)
        for table in report.tables:
            typer.echo("")
            rows = [[cell.text for cell in row.cells] for row in table.rows]
            terminal.print_table([column.name for column in table.columns], rows)
    if not report.healthy:
        raise typer.Exit(1)
