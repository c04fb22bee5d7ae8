"""Render the page: board, records and pictures in, one HTML file out, in the shell of `clue_bench.page`.

The tables and the provenance of their cells are in it once, as JSON inside a script element, and the page's own script
writes them as text. Everything else from records is escaped: by jinja2 as HTML, by the XML writer in the pictures. The
same board gives the same bytes.
"""

from collections.abc import Sequence

from clue_bench import charts
from clue_bench.doors.records import RunRecord
from clue_bench.language import kept
from clue_bench.leaderboards.leaderboard import HOW_TO_READ, Leaderboard
from clue_bench.leaderboards.measured import FLOORS_NOTE, SELECTION_NOTE
from clue_bench.leaderboards.notes import FLOOR_NOTE, MAJORITY_NOTE
from clue_bench.leaderboards.page.provenance import provenance
from clue_bench.leaderboards.page.tables import page_tables, task_names
from clue_bench.leaderboards.plots.pictures import Picture
from clue_bench.leaderboards.ranks import RANK_NOTE
from clue_bench.leaderboards.speed.tables import SpeedTable
from clue_bench.page import Page, asset, fill, markup


def render_page(
    board: Leaderboard, records: Sequence[RunRecord], pictures: Sequence[Picture], speeds: Sequence[SpeedTable]
) -> str:
    """Return the page. `records` hold the runs of the board's cells."""
    tables = page_tables(board, speeds)
    body = fill(
        asset(__package__, "template.html"),
        tasks=task_names(tables),
        num_measured=len(board.measured),
        models=_distinct_names(board, floors=False),
        floors=_distinct_names(board, floors=True),
        num_runs=sum(record.kind == "finetune" and record.status == "completed" for record in records),
        pictures=[(picture, [(column, markup(chart)) for column, chart in picture.charts]) for picture in pictures],
        unfinished=board.unfinished,
        kept=markup(kept()),
        reading=[HOW_TO_READ, FLOORS_NOTE, FLOOR_NOTE, MAJORITY_NOTE, RANK_NOTE, SELECTION_NOTE],
    )
    return Page(
        title="CLUE 排行榜 Leaderboard · clue-bench",
        body=body,
        style=charts.stylesheet() + asset(__package__, "page.css"),
        script=asset(__package__, "page.js"),
        data={"tables": [table.to_json() for table in tables], "provenance": provenance(board, records, speeds)},
    ).html


def _distinct_names(board: Leaderboard, *, floors: bool) -> int:
    return len({row.label for table in board.measured for row in table.models if row.is_floor == floors})
