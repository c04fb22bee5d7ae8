"""Where measured models stand: what a picture needs of a table.

Input: a measured table and all records. Output: per column, points of models with their score in percent, its binomial
error (1 sigma), parameters and pretraining tokens; and the Pareto front of points with speeds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clue_bench.doors.records import RunRecord
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.addresses import cell_address, measured_address
from clue_bench.leaderboards.measured.cells import MeasuredModel, MeasuredTable
from clue_bench.leaderboards.sampling import error_of_mean
from clue_bench.leaderboards.scores import SCORE, SCORE_COLUMNS, score_of

Any_ = TypeVar("Any_")


@dataclass(frozen=True)
class ScoredPoint:
    """A model in one column. `percent` and `error` are in percentage points, `tokens` None where nothing says."""

    label: str
    sha256: str
    parameters: int
    tokens: int | None
    percent: float
    error: float
    address: str


@dataclass(frozen=True)
class ColumnPoints:
    """The models of one column, and the best floor on it: (name, percent), None if none was run."""

    column: str
    condition: str
    points: tuple[ScoredPoint, ...]
    floor: tuple[str, float] | None


def column_points(table: MeasuredTable, tokens: dict[str, int]) -> list[ColumnPoints]:
    """Return the points of Score, if a model has one, and of every column; floors are no points."""
    columns = []
    models = [model for model in table.models if not model.is_floor]
    scored = [model for model in models if score_of(model.percents) is not None]
    if scored:
        points = tuple(_point(model, SCORE, table, tokens) for model in scored)
        columns.append(ColumnPoints(SCORE, f"mean of {', '.join(SCORE_COLUMNS)}", points, _score_floor(table)))
    for column in table.columns:
        floor = table.floor_of(column.name)
        columns.append(
            ColumnPoints(
                column.name,
                f"{column.revision}, {column.dev_rows:,} dev rows",
                tuple(_point(model, column.name, table, tokens) for model in models if column.name in model.cells),
                None if floor is None else (floor.label, float(floor.cells[column.name].percent)),
            )
        )
    return columns


def pretraining_tokens(records: Iterable[RunRecord]) -> dict[str, int]:
    """Return sha256 of weights → tokens that they were pretrained on, where any record says so.

    A pretraining record says it of the checkpoint that it wrote, a fine-tuning record of the one that it started from.
    Raises ClueBenchError naming two runs that contradict each other.
    """
    found: dict[str, tuple[int, str]] = {}
    for record in sorted(records, key=lambda record: record.run_id):
        tokens, sha256 = record.model.pretraining_tokens, record.model.sha256
        if tokens is None or not sha256:
            continue
        earlier = found.setdefault(sha256, (tokens, record.run_id))
        if earlier[0] != tokens:
            raise ClueBenchError(
                f"runs '{earlier[1]}' and '{record.run_id}': the same weights, {sha256[:8]}, "
                f"pretrained on {earlier[0]:,} and on {tokens:,} tokens",
                "move the wrong record away",
            )
    return {sha256: tokens for sha256, (tokens, _) in found.items()}


def pareto_front(
    points: Iterable[Any_], *, speed: Callable[[Any_], float], score: Callable[[Any_], float]
) -> list[Any_]:
    """Return the points that no other one is at least as fast and as good as, and better in one; fastest first."""
    front: list[Any_] = []
    for point in sorted(points, key=lambda each: (-speed(each), -score(each))):
        if not front or score(point) > score(front[-1]):
            front.append(point)
        elif (speed(point), score(point)) == (speed(front[-1]), score(front[-1])):
            front.append(point)  # two of one speed and score: neither is better
    return front


def staircase(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the line under which everything is beaten: the best score at each speed or a higher one."""
    line: list[tuple[float, float]] = []
    for speed, score in front:
        if line:
            line.append((speed, line[-1][1]))
        line.append((speed, score))
    return line


def _point(model: MeasuredModel, column: str, table: MeasuredTable, tokens: dict[str, int]) -> ScoredPoint:
    score = score_of(model.percents)
    if column == SCORE:
        assert score is not None
        percent, error = score, error_of_mean([model.cells[name].sampling_error for name in SCORE_COLUMNS])
    else:
        cell = model.cells[column]
        percent, error = cell.percent, cell.sampling_error
    return ScoredPoint(
        label=model.label,
        sha256=model.sha256,
        parameters=max(model.parameters),
        tokens=tokens.get(model.sha256),
        percent=float(percent),
        error=float(error or 0),
        address=cell_address(measured_address(table), model.label, column),
    )


def _score_floor(table: MeasuredTable) -> tuple[str, float] | None:
    floors = [(model.label, score) for model in table.models if model.is_floor and (score := score_of(model.percents))]
    best = max(floors, key=lambda each: each[1], default=None)
    return None if best is None else (best[0], float(best[1]))
