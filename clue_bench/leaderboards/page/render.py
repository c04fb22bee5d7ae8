"""The page: board, records and pictures in, one HTML file out, in the shell of `clue_bench.page`.

Everything that comes from records is escaped: by jinja2 as HTML, by the XML writer in the pictures, and as JSON inside
a script element. The same board gives the same bytes.
"""

from collections.abc import Sequence
from typing import Any

from clue_bench import charts
from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.leaderboard import HOW_TO_READ, Leaderboard
from clue_bench.leaderboards.measured.floors import FLOOR_NOTE, FLOORS_NOTE
from clue_bench.leaderboards.measured.optimism import OPTIMISM_NOTE
from clue_bench.leaderboards.measured.ranks import RANK_NOTE
from clue_bench.leaderboards.measured.tables import MAJORITY_NOTE
from clue_bench.leaderboards.page.paper import paper_provenance, paper_view
from clue_bench.leaderboards.page.provenance import measured_provenance, quoted_provenance
from clue_bench.leaderboards.page.speeds import speed_provenance, speed_view
from clue_bench.leaderboards.page.views import PageTable, Ranked, measured_view, quoted_view, task_names
from clue_bench.leaderboards.plots.pictures import Picture
from clue_bench.leaderboards.speed.tables import SpeedTable
from clue_bench.page import Page, asset, fill, markup


def render_page(
    board: Leaderboard,
    records: Sequence[RunRecord],
    pictures: Sequence[Picture],
    speeds: Sequence[SpeedTable],
    ranks: Sequence[Ranked],
) -> str:
    """Return the page. `records` hold the runs of the board's cells; `ranks` are those of its measured tables."""
    tables = page_tables(board, speeds, ranks)
    body = fill(
        asset(__package__, "template.html"),
        tables=tables,
        tasks=task_names(tables),
        num_measured=len(board.measured),
        models=_distinct_names(board, floors=False),
        floors=_distinct_names(board, floors=True),
        num_runs=sum(record.kind == "finetune" and record.status == "completed" for record in records),
        pictures=[(picture, [(column, markup(chart)) for column, chart in picture.charts]) for picture in pictures],
        unfinished=board.unfinished,
        reading=[HOW_TO_READ, FLOORS_NOTE, FLOOR_NOTE, MAJORITY_NOTE, RANK_NOTE, OPTIMISM_NOTE],
    )
    return Page(
        title="CLUE 排行榜 Leaderboard · clue-bench",
        body=body,
        style=charts.stylesheet() + asset(__package__, "page.css"),
        script=asset(__package__, "page.js"),
        data=provenance(board, records, speeds, ranks),
    ).html


def page_tables(board: Leaderboard, speeds: Sequence[SpeedTable], ranks: Sequence[Ranked]) -> list[PageTable]:
    """Return all tables, measured ones first, then speeds."""
    datasets = [table.dataset for table in board.measured]
    measured = [
        measured_view(table, of_table, is_only=datasets.count(table.dataset) == 1)
        for table, of_table in zip(board.measured, ranks, strict=True)
    ]
    return [*measured, *paper_view(board.paper), *map(speed_view, speeds), *map(quoted_view, board.published)]


def provenance(
    board: Leaderboard, records: Sequence[RunRecord], speeds: Sequence[SpeedTable], ranks: Sequence[Ranked]
) -> dict[str, Any]:
    """Return address → what stands behind the cell, for the whole board."""
    by_id = {record.run_id: record for record in records}
    found: dict[str, Any] = paper_provenance(board.paper)
    for table, of_table in zip(board.measured, ranks, strict=True):
        found |= measured_provenance(table, by_id, of_table)
    for table_of_speeds in speeds:
        found |= speed_provenance(table_of_speeds)
    for quoted in board.published:
        found |= quoted_provenance(quoted)
    return found


def _distinct_names(board: Leaderboard, *, floors: bool) -> int:
    return len({row.label for table in board.measured for row in table.models if row.is_floor == floors})
