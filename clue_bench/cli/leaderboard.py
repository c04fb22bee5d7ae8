"""`clue-bench leaderboard`: records to tables, pictures and a page."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json


def leaderboard(
    records: Annotated[Path, typer.Option(help="Folder that is searched for run records, at any depth.")] = Path(
        "runs"
    ),
    out: Annotated[
        Path | None,
        typer.Option(help="Also write this folder: README.md, speed.md, index.html, leaderboard.csv, .json, plots/."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file of --out differs from what the records give.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the measured tables and, apart from them, the published ones, as Markdown; write the board to a folder.

    Example: clue-bench leaderboard --records runs --out leaderboard
    """
    from clue_bench.board.files import board_files, differing_files
    from clue_bench.catalog import builtin_folder
    from clue_bench.errors import ClueBenchError
    from clue_bench.records import read_records

    if check and out is None:
        raise ClueBenchError("--check needs the folder to check", "add --out FOLDER")
    if out is not None and not out.is_dir() and (out.exists() or out.suffix == ".md"):
        raise ClueBenchError(f"{out}: --out is a folder, with the Markdown in its README.md", f"--out {out.stem}")
    built = board_files(list(read_records(records)), builtin_folder("leaderboards/published"))
    if check and out is not None:
        if differing := differing_files(out, built.texts):
            raise ClueBenchError(
                f"{out} differs from what the records in {records} give: {', '.join(differing)}",
                f"clue-bench leaderboard --records {records} --out {out}",
            )
    elif out is not None:
        write_board(out, built.texts)
    if json:
        terminal.print_json(built.values)
    elif not check:
        typer.echo(built.markdown, nl=False)


def write_board(folder: Path, texts: dict[str, str]) -> None:
    """Write the files of a board; those of an earlier one that the records no longer give are removed."""
    from clue_bench import atomic
    from clue_bench.board.files import FILES

    for name, text in texts.items():
        atomic.write_text(folder / name, text)
    for name in FILES:
        if name not in texts:
            (folder / name).unlink(missing_ok=True)
