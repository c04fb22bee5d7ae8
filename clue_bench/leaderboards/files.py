"""The files of a board: everything that `clue-bench leaderboard --out FOLDER` writes and `--check` compares.

Input: run records and the folder of published scores. Output: path relative to the folder → text. The same records
give the same bytes. It reads the published folder and writes nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.leaderboard import Leaderboard, build
from clue_bench.leaderboards.measured import cell_table
from clue_bench.leaderboards.page.render import render_page
from clue_bench.leaderboards.plots.pictures import FOLDER, PICTURES, Picture, draw_pictures
from clue_bench.leaderboards.plots.points import session_speeds
from clue_bench.leaderboards.speed.tables import speed_json, speed_section, speed_tables

README, CSV, JSON, SPEED, PAGE = "README.md", "leaderboard.csv", "leaderboard.json", "speed.md", "index.html"
FILES = (README, CSV, JSON, SPEED, PAGE, *(f"{FOLDER}/{name}.svg" for name in PICTURES))
"""Every file that a board may have. Files that the records do not give must not be in the folder."""


@dataclass(frozen=True)
class BoardFiles:
    """A board, its Markdown and plain values, and its files: path relative to the folder → text."""

    board: Leaderboard
    markdown: str
    values: dict[str, Any]
    texts: dict[str, str]


def board_files(records: Sequence[RunRecord], published_folder: Path) -> BoardFiles:
    """Return the board and its files.

    Raises ClueBenchError as `build` does, and for an invalid curve or speed record.
    """
    board = build(records, published_folder)
    markdown, values = board.markdown, board.to_json()
    pictures = draw_pictures(records, board.measured, session_speeds(records))
    texts = {
        README: _readme(markdown, pictures),
        CSV: cell_table(board.measured).to_csv(),
        JSON: json.dumps({**values, "speed": speed_json(records)}, ensure_ascii=False, indent=2) + "\n",
        SPEED: f"# Speed\n\n{speed_section(records).strip()}\n",
        PAGE: render_page(board, records, pictures, speed_tables(records)),
        **{picture.path: picture.file for picture in pictures if picture.file},
    }
    assert set(texts) <= set(FILES)
    return BoardFiles(board, markdown, values, texts)


def differing_files(folder: Path, texts: dict[str, str]) -> list[str]:
    """Return which files of `folder` are not, byte for byte, `texts`: `README.md differs`, `index.html is missing`."""
    found = []
    for name in FILES:
        path = folder / name
        if name not in texts:
            found += [f"{name} is left over"] if path.exists() else []
        elif not path.is_file():
            found.append(f"{name} is missing")
        elif path.read_bytes() != texts[name].encode():
            found.append(f"{name} differs")
    return found


def _readme(markdown: str, pictures: Sequence[Picture]) -> str:
    """Return the Markdown, with links to the other files at its end."""
    parts = [
        markdown.rstrip("\n"),
        "## Pictures and other forms",
        f"[{PAGE}]({PAGE}) is the same board to sort and filter, with the provenance of every number; it opens from "
        f"the disk. [{CSV}]({CSV}) has the measured cells, [{JSON}]({JSON}) everything, [{SPEED}]({SPEED}) the speeds.",
    ]
    for picture in pictures:
        heading = f"### {picture.title} {picture.english}"
        if picture.left_out:
            parts += [heading, picture.left_out]
        else:
            parts += [heading, f"![{picture.english}]({picture.path})", picture.caption]
    return "\n\n".join(parts) + "\n"
