"""Cells held against the floor of their column.

Input: a measured table. Output: by how much a cell is over the best floor, exactly and as text. A floor is a simple
model without any pretraining, on the same task, data revision and dev rows; to beat it is to be strictly better.
"""

from fractions import Fraction

from clue_bench.leaderboards.measured.cells import Cell, MeasuredTable
from clue_bench.leaderboards.scores import half_up

FLOOR_MARK = "▽"
FLOOR_NOTE = (
    f"{FLOOR_MARK} The model does not beat the floor: on the same rows, a simple model without any pretraining "
    "is at least as good."
)
FLOORS_NOTE = (
    "Rows in *italics* are floors, simple models without any pretraining: the majority class of train, and a linear "
    "model on TF-IDF of character n-grams. Their parameters are the coefficients that each task needs."
)
NO_FLOOR = "no floor run"
IS_FLOOR = "floor"


def over_floor(cell: Cell, table: MeasuredTable) -> Fraction | None:
    """Return by what share of 1 a model is over the best floor; None for a floor, or where none was run."""
    floor = table.floor_of(cell.column.name)
    return None if cell.is_floor or floor is None else cell.accuracy - floor.cells[cell.column.name].accuracy


def misses_floor(cell: Cell, table: MeasuredTable) -> bool:
    """Whether a floor was run on the cell's column, and the model is no better than it."""
    over = over_floor(cell, table)
    return over is not None and over <= 0


def over_floor_text(cell: Cell, table: MeasuredTable) -> str:
    """Return `+3.42 (TF-IDF + 线性)`: percentage points, and over which floor."""
    floor, over = table.floor_of(cell.column.name), over_floor(cell, table)
    if floor is None:
        return NO_FLOOR
    if over is None:
        return IS_FLOOR
    return f"{half_up(over * 100):+}{FLOOR_MARK if over <= 0 else ''} ({floor.label})"
