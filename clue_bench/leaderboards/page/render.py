"""The page: board, records and pictures in, one HTML file out.

No request leaves it (its own policy forbids them), it opens from file://, follows the reader's light or dark setting
and fits a phone. Everything that comes from records is escaped: by jinja2 as HTML, by the XML writer in the pictures,
and as JSON inside a script element; only the page's own script may run. The same board gives the same bytes.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

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
from clue_bench.leaderboards.plots.pictures import Picture, plot_style
from clue_bench.leaderboards.speed.tables import SpeedTable


def render_page(
    board: Leaderboard,
    records: Sequence[RunRecord],
    pictures: Sequence[Picture],
    speeds: Sequence[SpeedTable],
    ranks: Sequence[Ranked],
) -> str:
    """Return the page. `records` hold the runs of the board's cells; `ranks` are those of its measured tables."""
    tables = page_tables(board, speeds, ranks)
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        tables=tables,
        tasks=task_names(tables),
        num_measured=len(board.measured),
        models=_distinct_names(board, floors=False),
        floors=_distinct_names(board, floors=True),
        num_runs=sum(record.kind == "finetune" and record.status == "completed" for record in records),
        pictures=[(picture, [(column, _markup(chart)) for column, chart in picture.charts]) for picture in pictures],
        unfinished=board.unfinished,
        provenance=provenance(board, records, speeds, ranks),
        reading=[HOW_TO_READ, FLOORS_NOTE, FLOOR_NOTE, MAJORITY_NOTE, RANK_NOTE, OPTIMISM_NOTE],
        style=_markup(_file("page.css") + plot_style()),
        script=_markup(script),
        script_hash=f"sha256-{digest}",
    )


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


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment.from_string(_file("template.html"))


def _markup(text: str) -> Markup:
    """Return text that is markup already: our own files, and what the XML writer wrote."""
    return Markup(text)  # noqa: S704


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
