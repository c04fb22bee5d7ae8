"""Measured cells as CSV: a line per cell, with everything that qualifies its number.

Input: measured tables. Output: CSV text (RFC 4180, LF). Published scores are not in it: they have CSV files of their
own, and no column holds both. Text that a spreadsheet would take for a formula gets an apostrophe in front.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from clue_bench.leaderboards.measured.cells import Cell, MeasuredModel, MeasuredTable
from clue_bench.leaderboards.measured.floors import misses_floor, over_floor
from clue_bench.leaderboards.scores import SPLIT, half_up, percentage

HEADER = (
    "data",
    "table",
    "split",
    "model",
    "model_sha256",
    "is_floor",
    "parameters",
    "column",
    "task",
    "data_revision",
    "dev_rows",
    "accuracy_percent",
    "sd_points",
    "sampling_error_points",
    "macro_f1_percent",
    "majority_share_percent",
    "points_over_floor",
    "misses_floor",
    "seeds",
    "num_settings",
    "settings",
    "runs",
    "commits",
    "flags",
)
"""Several values in one place are separated by blanks; yes and no are true and false."""


def measured_csv(tables: Iterable[MeasuredTable]) -> str:
    """Return a line per cell, in the order of tables, models and columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for table in tables:
        for model in table.models:
            for column in table.columns:
                if column.name in model.cells:
                    writer.writerow(map(_text, _line(model, model.cells[column.name], table)))
    return text.getvalue()


def _line(model: MeasuredModel, cell: Cell, table: MeasuredTable) -> Sequence[object]:
    over = over_floor(cell, table)
    return (
        table.dataset,
        table.number,
        SPLIT,
        model.name,
        model.sha256,
        _truth(model.is_floor),
        cell.parameters,
        cell.column.name,
        cell.column.task,
        cell.column.revision,
        cell.column.dev_rows,
        cell.percent,
        "" if cell.deviation is None else cell.deviation,
        cell.sampling_error,
        percentage(cell.macro_f1),
        " ".join(str(percentage(share)) for share in cell.majority_shares),
        "" if over is None else half_up(over * 100),
        _truth(misses_floor(cell, table)),
        " ".join(map(str, cell.seeds)),
        cell.num_settings,
        cell.settings,
        " ".join(cell.runs),
        " ".join(filter(None, cell.commits)),
        " ".join(flag for flag, _ in cell.flags),
    )


def _text(value: object) -> object:
    """Return text that no spreadsheet runs; numbers as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _truth(value: bool) -> str:
    return "true" if value else "false"
