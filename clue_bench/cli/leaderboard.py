"""`clue-bench leaderboard`: records to tables."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json


def leaderboard(
    records: Annotated[Path, typer.Option(help="Folder that is searched for run records, at any depth.")] = Path(
        "runs"
    ),
    out: Annotated[Path | None, typer.Option(help="Also write the Markdown to this file.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if --out differs from what the records give.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the measured tables and, apart from them, the published ones, as Markdown.

    Example: clue-bench leaderboard --records runs --out leaderboard.md
    """
    from clue_bench import atomic
    from clue_bench.board.leaderboard import build_leaderboard
    from clue_bench.catalog import builtin_folder
    from clue_bench.errors import ClueBenchError
    from clue_bench.records import read_records

    built = build_leaderboard(list(read_records(records)), builtin_folder("leaderboards/published"))
    if check:
        if out is None:
            raise ClueBenchError("--check needs the file to check", "add --out FILE")
        found = out.read_text(encoding="utf-8") if out.is_file() else ""
        if found != built.markdown:
            raise ClueBenchError(
                f"{out} differs from what the records in {records} give",
                f"clue-bench leaderboard --records {records} --out {out}",
            )
    elif out is not None:
        atomic.write_text(out, built.markdown)
    if json:
        terminal.print_json(built.as_json())
    elif not check:
        typer.echo(built.markdown, nl=False)
