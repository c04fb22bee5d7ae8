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
    from clue_bench.cards import builtin_folder
    from clue_bench.doors.records import read_records
    from clue_bench.errors import ClueBenchError
    from clue_bench.leaderboards.files import board_files, differing_files

    if check and out is None:
        raise ClueBenchError("--check needs the folder to check", "add --out FOLDER")
    if out is not None and not out.is_dir() and (out.exists() or out.suffix == ".md"):
        raise ClueBenchError(f"{out}: --out is a folder, with the Markdown in its README.md", f"--out {out.stem}")
    if out is not None and not check:
        _check_ours(out)
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
    """Write the files of a board; those of an earlier one that the records no longer give are removed.

    Raises ClueBenchError for a folder with such files that no board wrote.
    """
    from clue_bench import files
    from clue_bench.leaderboards.files import FILES, JSON

    _check_ours(folder)
    for name in sorted(texts, key=lambda each: each != JSON):  # first what tells that the folder is a board's
        files.write_text(folder / name, texts[name])
    for name in FILES:
        if name not in texts:
            (folder / name).unlink(missing_ok=True)


def _check_ours(folder: Path) -> None:
    """Raise ClueBenchError if `folder` has files called like a board's without a board's JSON beside them."""
    import json

    from clue_bench.errors import ClueBenchError
    from clue_bench.leaderboards.files import FILES, JSON

    try:
        values = json.loads((folder / JSON).read_bytes())
    except (OSError, ValueError):
        values = None
    if isinstance(values, dict) and {"measured", "published"} <= values.keys():
        return
    if foreign := [name for name in FILES if (folder / name).exists()]:
        raise ClueBenchError(
            f"{folder}: has {', '.join(foreign)}, and no board wrote it: nothing is overwritten",
            f"move it away, or give a folder of its own, e.g. --out {folder / 'leaderboard'}",
        )
